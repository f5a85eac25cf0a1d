"""The Fréchet distance between two sets of features, from moments that are streamed in float64."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from components.scoring.contracts import Features
from registry.errors import RunError

Array = NDArray[np.float64]


class Moments:
    """Count, sum and sum of outer products of feature vectors, float64.

    Args:
        dimensions: the length D of a feature vector.
    """

    def __init__(self, dimensions: int) -> None:
        self.count = 0
        self.sum: Array = np.zeros(dimensions)
        self.outer: Array = np.zeros((dimensions, dimensions))

    @classmethod
    def of(cls, features: Features, clips: Sequence[int] | NDArray[np.int64] | None = None) -> "Moments":
        """The moments of all rows of those clips (of all clips if left out), read in blocks.

        Raises:
            RunError: a value that is not finite.
        """
        moments = cls(features.dimensions)
        for rows in features.blocks(clips):
            moments.update(rows)
        return moments

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
                f"{bad.size} of {len(rows)} feature vectors are not finite (first: number {self.count + bad[0]})"
            )
        exact = rows.astype(np.float64)
        self.count += len(exact)
        self.sum += exact.sum(axis=0)
        self.outer += exact.T @ exact

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both sets together.

        Raises:
            RunError: the two have different dimensions.
        """
        _refuse_different(self, other)
        both = Moments(self.dimensions)
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


def frechet_distance(a: Moments, b: Moments, *, unbiased: bool = False) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), float64.

    The trace of the root is the sum of the roots of the eigenvalues of S1^(1/2) S2 S1^(1/2), with the negative ones,
    which are rounding, cut to 0. A set of n has covariance of rank n - 1 at most, so with fewer members than
    dimensions the smallest eigenvalues are 0 but for rounding, whose roots would not be small: they are left out.
    Sets of equal moments may come out at about -1e-13.

    Raises:
        RunError: a set has fewer than two members, or the two have different dimensions.
    """
    _refuse_different(a, b)
    for moments in (a, b):
        if moments.count < 2:
            raise RunError(f"a Fréchet distance needs at least 2 feature vectors on either side, not {moments.count}")
    first, second = a.covariance(unbiased=unbiased), b.covariance(unbiased=unbiased)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product = root @ second @ root
    of_product = np.linalg.eigvalsh((product + product.T) / 2)[-(min(a.count, b.count) - 1) :]
    trace_of_root = np.sqrt(np.clip(of_product, 0, None)).sum()
    difference = a.mean() - b.mean()
    return float(difference @ difference + np.trace(first) + np.trace(second) - 2 * trace_of_root)


def _refuse_different(a: Moments, b: Moments) -> None:
    if a.dimensions != b.dimensions:
        raise RunError(f"features of {a.dimensions} and of {b.dimensions} dimensions cannot be compared")
