"""The Fréchet distance between two sets of features, and the FVD made of it.

Moments are streamed in float64, one clip's features after another, so that memory is constant and the result does
not depend on how the clips were batched.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from registry.catalogue import part
from registry.errors import RunError
from registry.parameter_types import PositiveInt

# Clips that a detector sees at once. It is fixed, because float32 convolutions may round differently at another
# batch size; the size of the batches that come in has therefore no influence on a score.
CLIPS_AT_ONCE = 8

Array = NDArray[np.float64]


class Detector(Protocol):
    """What turns clips into features; the parts of the slot `detector` are such."""

    label: str
    score_suffix: str
    dimensions: int
    minimum_frames: int

    def features(self, videos: Tensor) -> Tensor:
        """Features float32 (N, D) of uint8 videos (N, F, H, W, 3)."""

    def fingerprint(self) -> str:
        """A hash of the weights and the preprocessing."""


class Moments:
    """Count, sum and sum of outer products of feature vectors, float64.

    Args:
        dimensions: the length D of a feature vector.
        origin: what was measured with what; moments of different origins are not merged or compared.
    """

    def __init__(self, dimensions: int, origin: str = "") -> None:
        self.origin = origin
        self.count = 0
        self.sum: Array = np.zeros(dimensions)
        self.outer: Array = np.zeros((dimensions, dimensions))

    @property
    def dimensions(self) -> int:
        return int(self.sum.size)

    def update(self, features: Tensor | NDArray[Any]) -> None:
        """Add features (N, D), rounded to float32 first as in the published tools.

        Raises:
            RunError: another number of dimensions, or a value that is not finite.
        """
        rows = np.asarray(features.detach().cpu() if isinstance(features, Tensor) else features, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.dimensions:
            raise RunError(f"features of shape {rows.shape} where (N, {self.dimensions}) is expected")
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if bad.size:
            raise RunError(
                f"the features of {bad.size} of {len(rows)} clips are not finite "
                f"(first: clip {self.count + bad[0]}); look at the samples"
            )
        for row in rows.astype(np.float64):  # one by one: the same sums for every batching
            self.count += 1
            self.sum += row
            self.outer += np.outer(row, row)

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both sets together.

        Raises:
            RunError: the two have different dimensions or origins.
        """
        _refuse_different(self, other)
        both = Moments(self.dimensions, self.origin)
        both.count = self.count + other.count
        both.sum = self.sum + other.sum
        both.outer = self.outer + other.outer
        return both

    def mean(self) -> Array:
        """The mean (D,)."""
        return self.sum / self.count

    def covariance(self, *, unbiased: bool = False) -> Array:
        """The covariance (D, D): of the population (divided by n), or `unbiased` (by n - 1)."""
        mean = self.mean()
        population = self.outer / self.count - np.outer(mean, mean)
        return population * (self.count / (self.count - 1)) if unbiased else population

    def save(self, path: str | Path) -> None:
        """Write the moments to an .npz file."""
        with Path(path).open("wb") as file:
            np.savez(file, count=self.count, sum=self.sum, outer=self.outer, origin=self.origin)

    @classmethod
    def load(cls, path: str | Path) -> "Moments":
        """Read moments that `save` wrote.

        Raises:
            RunError: the file is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                moments = cls(stored["sum"].size, str(stored["origin"]))
                moments.count = int(stored["count"])
                moments.sum, moments.outer = stored["sum"], stored["outer"]
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{path}: no moments can be read from it ({error}); delete it to have it made anew"
            ) from error
        return moments


def frechet_distance(a: Moments, b: Moments, *, unbiased: bool = False) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), float64.

    The trace of the root is the sum of the roots of the eigenvalues of S1^(1/2) S2 S1^(1/2), with the negative ones,
    which are rounding, cut to 0; unlike a general matrix root this stays exact for fewer clips than dimensions.
    Sets of equal moments may come out at about -1e-13.

    Raises:
        RunError: a set has fewer than two members, or the two cannot be compared.
    """
    _refuse_different(a, b)
    for moments in (a, b):
        if moments.count < 2:
            raise RunError(f"a Fréchet distance needs at least 2 clips on either side, not {moments.count}")
    first, second = a.covariance(unbiased=unbiased), b.covariance(unbiased=unbiased)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product = root @ second @ root
    trace_of_root = np.sqrt(np.clip(np.linalg.eigvalsh((product + product.T) / 2), 0, None)).sum()
    difference = a.mean() - b.mean()
    return float(difference @ difference + np.trace(first) + np.trace(second) - 2 * trace_of_root)


@part("metric", "fvd")
class FVD:
    """Fréchet video distance: how far the features of sampled clips are from those of real clips; lower is better.

    The score is named `fvd` with the published I3D network and `fvd[<detector>]` with any other. The first
    `max_clips` clips of either side are used. Population covariance and float64, as in StyleGAN-V's `fvd2048_16f`.

    Source: paper section 4.1 (evaluation by FVD, after StyleGAN-V); Unterthiner et al. 2018, arXiv 1812.01717
    Official code: yes, in tools/ (StyleGAN-V's metric); ours takes the matrix root by eigenvalues
    """

    score_name = "fvd"

    def __init__(self, detector: Detector, *, max_clips: PositiveInt = 2048) -> None:
        self.detector = detector
        self.max_clips = max_clips

    @property
    def name(self) -> str:
        """The key of the score."""
        return self.score_name + self.detector.score_suffix

    def reference(self, clips: Iterable[Tensor]) -> Moments:
        """The moments of the real side, from batches of uint8 clips (n, F, H, W, 3).

        Raises:
            RunError: clips of different sizes or too few frames, no clips, or features that are not finite.
        """
        moments: Moments | None = None
        for block in _blocks(clips, self.max_clips):
            if moments is None:
                moments = Moments(self.detector.dimensions, self._origin(block))
            with _plain_float32(block.device):
                moments.update(self.detector.features(block))
        if moments is None:
            raise RunError(f"{self.name}: there are no clips to score")
        return moments

    def score(self, clips: Iterable[Tensor], reference: Moments) -> dict[str, float]:
        """The distance of these clips, given like those of `reference`, from the reference.

        Raises:
            RunError: as for `reference`; also where the reference has other clip sizes or another detector.
        """
        return {self.name: frechet_distance(self.reference(clips), reference)}

    def _origin(self, clips: Tensor) -> str:
        _, frames, height, width, _ = clips.shape
        if frames < self.detector.minimum_frames:
            raise RunError(
                f"{self.name}: clips of {frames} frames; {self.detector.label} needs at least "
                f"{self.detector.minimum_frames} (sample longer clips or choose another detector)"
            )
        return f"{self.detector.label} {self.detector.fingerprint()}, clips of {frames} frames of {height}x{width}"


@contextmanager
def _plain_float32(device: torch.device) -> Iterator[None]:
    """No gradients, no autocast, no TF32, no choice of algorithms by trial: features are measured the same always."""
    with (
        torch.inference_mode(),
        torch.autocast(device.type, enabled=False),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        yield


def _blocks(batches: Iterable[Tensor], most: int) -> Iterator[Tensor]:
    """The first `most` clips in blocks of `CLIPS_AT_ONCE`, however they were batched; the last may be smaller."""
    waiting: list[Tensor] = []
    left, shape = most, None
    for batch in batches:
        if batch.ndim != 5 or batch.shape[-1] != 3 or batch.dtype != torch.uint8:
            raise RunError(f"clips must be uint8 (n, F, H, W, 3), not {batch.dtype} {tuple(batch.shape)}")
        shape = shape or batch.shape[1:]
        if batch.shape[1:] != shape:
            raise RunError(
                f"clips of different sizes: (F, H, W, 3) = {tuple(shape)} and {tuple(batch.shape[1:])}; "
                "all clips of a score must have one size"
            )
        for clip in batch[:left]:
            waiting.append(clip)
            if len(waiting) == CLIPS_AT_ONCE:
                yield torch.stack(waiting)
                waiting = []
        left -= min(left, len(batch))
        if left == 0:
            break
    if waiting:
        yield torch.stack(waiting)


def _refuse_different(a: Moments, b: Moments) -> None:
    if a.dimensions != b.dimensions or a.origin != b.origin:
        raise RunError(
            f"features of different kinds cannot be compared: {a.dimensions} dimensions ({a.origin or 'unnamed'}) "
            f"and {b.dimensions} ({b.origin or 'unnamed'})"
        )
