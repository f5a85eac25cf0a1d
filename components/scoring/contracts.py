"""What scoring is made of: extractors turn clips into features, metrics turn features into scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from registry.errors import RunError

BLOCK = 256  # clips that a metric reads at once, whatever the batches they were measured in


class Extractor(Protocol):
    """What turns clips into features; the parts of the slot `detector` are such.

    `layer` names what the features are (`logits`, `pooled`), `rows_per_clip` is 1, or "frames" where every frame has
    a feature vector of its own.
    """

    label: str
    layer: str
    rows_per_clip: int | str
    dimensions: int
    minimum_frames: int

    def features(self, videos: Tensor) -> Tensor:
        """Features float32 (N, D), or (N, F, D) where every frame has its own, of uint8 videos (N, F, H, W, 3)."""

    def fingerprint(self) -> str:
        """SHA-256 hex digits of the weights and the preprocessing."""


class Features:
    """The features of one side of a score, float32 (clips, rows, D), on disk or in memory, clip by clip.

    Args:
        source: a .npy file of that shape, read in blocks and never held as a whole, or an array.
        only: the numbers of the clips that count, in order; all if left out.
        videos: the number of the video that each clip of the source was cut from; if left out, one a clip.
        captions: what each clip of the source shows, or was asked to show, in words; if left out, nobody says.

    Raises:
        RunError: another shape or type.
    """

    def __init__(
        self,
        source: Path | NDArray[np.float32],
        only: Sequence[int] | NDArray[np.int64] | None = None,
        videos: Sequence[int] | NDArray[np.int64] | None = None,
        captions: Sequence[str] | None = None,
    ) -> None:
        self._source = source
        self._only = None if only is None else np.asarray(only, dtype=np.int64)
        array = self._open()
        if array.ndim != 3 or array.dtype != np.float32:
            raise RunError(f"features must be float32 (clips, rows, D), not {array.dtype} {array.shape}")
        self.clips = len(array) if only is None else len(only)
        self._videos = np.arange(len(array)) if videos is None else np.asarray(videos, dtype=np.int64)
        self._captions = [""] * len(array) if captions is None else list(captions)
        self.rows_per_clip, self.dimensions = array.shape[1:]

    def subset(self, clips: Sequence[int]) -> "Features":
        """The features of some of the clips, by their numbers here."""
        wanted = np.asarray(clips, dtype=np.int64)
        return Features(
            self._source, wanted if self._only is None else self._only[wanted], self._videos, self._captions
        )

    @property
    def videos(self) -> NDArray[np.int64]:
        """The number of each clip's video: clips of one video are not independent."""
        return self._videos if self._only is None else self._videos[self._only]

    @property
    def captions(self) -> list[str]:
        """What each clip shows, or was asked to show, in words; "" where nobody says."""
        return self._captions if self._only is None else [self._captions[clip] for clip in self._only]

    def _open(self) -> NDArray[np.float32]:
        if isinstance(self._source, Path):
            mapped: NDArray[np.float32] = np.load(self._source, mmap_mode="r", allow_pickle=False)
            return mapped
        return self._source

    def of(self, clips: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """The rows (n, D) of those clips, in that order."""
        wanted = np.asarray(clips, dtype=np.int64)
        picked: NDArray[np.float32] = self._open()[wanted if self._only is None else self._only[wanted]]
        return np.ascontiguousarray(picked).reshape(-1, self.dimensions)

    def blocks(self, clips: Sequence[int] | NDArray[np.int64] | None = None) -> Iterator[NDArray[np.float32]]:
        """The rows of those clips (all if left out), `BLOCK` clips at a time."""
        wanted = np.arange(self.clips) if clips is None else np.asarray(clips, dtype=np.int64)
        for first in range(0, len(wanted), BLOCK):
            yield self.of(wanted[first : first + BLOCK])


@dataclass(frozen=True)
class CurvePoint:
    """A score at fewer clips: the share of either side's clips, and the mean and spread over disjoint subsets."""

    share: float
    n_fake: int
    n_real: int
    value: float
    sd: float | None  # over the disjoint subsets of this size; None for one


@dataclass(frozen=True)
class Score:
    """One number with what is needed to trust it.

    `interval` is a 95 % interval over the draw of clips (not over training seeds), None where it is not defined;
    `details` are further plain values (subset spread, slope of the extrapolation).
    """

    value: float
    interval: tuple[float, float] | None = None
    curve: tuple[CurvePoint, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


class Metric(Protocol):
    """The parts of the slot `metric`, constructed with (detector, *, parameters).

    Class literals: `scores`, the base names of what it gives (`("fvd", "fvd_extrapolated")`), `by_detector`, whether
    it measures with the protocol's detector (then names end in the detector's `score_suffix`) or with an extractor
    of its own, `needs_reference`, `higher_is_better`, and `biased`, those of its scores that are too high by something
    that goes as 1/n_fake + 1/n_real. One that has `needs_held_out` is also given the features of real clips of the test
    split, as a third argument of `score`; no floors are made of it.
    """

    scores: tuple[str, ...]
    by_detector: bool
    needs_reference: bool
    higher_is_better: bool
    biased: tuple[str, ...]
    extractor: Extractor

    def names(self) -> tuple[str, ...]:
        """The full names of its scores, in the order of `scores`."""

    def estimator(self) -> dict[str, Any]:
        """What the number depends on besides clips and extractor, as plain values: the estimator and its settings."""

    def score(self, fake: Features, real: Features | None) -> dict[str, Score]:
        """Full name -> score.

        Raises:
            RunError: too few clips, features of different kinds, or features that are not finite.
        """
