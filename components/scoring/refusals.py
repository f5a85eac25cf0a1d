"""What the metrics that compare two sides share: which features they refuse, who names them, how they are summed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from components.scoring.contracts import Extractor, Features
from registry.errors import RunError


class Detector(Extractor, Protocol):
    """An extractor of the slot `detector`; scores made with it end in its `score_suffix`."""

    score_suffix: str


def comparable(metric: str, fake: Features, real: Features | None) -> Features:
    """Return the real side where a distance can be made of both; reads either side in blocks.

    Raises:
        RunError: no real side, fewer than 2 clips on a side, features of different kinds, some that are not finite,
            or the same features for every real clip.
    """
    if real is None:
        raise RunError(f"{metric}: it compares with real clips, and there are none")
    for side, features in (("sampled", fake), ("real", real)):
        if features.clips < 2:
            raise RunError(f"{metric}: at least 2 {side} clips are needed, not {features.clips}")
    if fake.dimensions != real.dimensions:
        raise RunError(
            f"{metric}: features of different kinds cannot be compared: {fake.dimensions} dimensions on the sampled "
            f"side, {real.dimensions} on the real side"
        )
    refuse_not_finite(metric, "sampled", fake)
    refuse_not_finite(metric, "real", real)
    refuse_constant(metric, real)
    return real


def refuse_constant(metric: str, real: Features) -> None:
    """Refuse an extractor that sees nothing: samples that all look alike are a finding, real clips never do.

    Raises:
        RunError: every real clip has the same features.
    """
    first = real.of([0])
    for rows in real.blocks():
        if (rows.reshape(-1, *first.shape) != first).any():
            return
    raise RunError(
        f"{metric}: all {real.clips} real clips have the same features, so that the distance says nothing: are these "
        "the weights of the extractor that is named, and are the real clips different ones?"
    )


def refuse_not_finite(metric: str, side: str, features: Features) -> None:
    """Refuse features that are not finite.

    Raises:
        RunError: with the number of such clips and the first of them, counted from 0.
    """
    bad: list[int] = []
    seen = 0
    for rows in features.blocks():
        finite = np.asarray(np.isfinite(rows).reshape(-1, features.rows_per_clip * features.dimensions).all(axis=1))
        bad.extend((np.flatnonzero(~finite) + seen).tolist())
        seen += len(finite)
    if bad:
        raise RunError(
            f"{metric}: the features of {len(bad)} of {features.clips} {side} clips are not finite "
            f"(first: clip {bad[0]}, counted from 0); look at these clips"
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of NumPy's and SciPy's linear algebra: more of them sum in another order, and differ at 1e-12."""
    with threadpool_limits(1):
        yield
