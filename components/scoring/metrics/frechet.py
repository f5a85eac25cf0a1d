"""The Fréchet distance between two sets of features, from moments that are streamed in float64."""

import math
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

    While there are no more vectors than dimensions they are kept themselves, in no more memory than the products take
    (which may come beside them): a distance through them takes a fraction of the time.

    Args:
        dimensions: the length D of a feature vector.
    """

    def __init__(self, dimensions: int) -> None:
        self.count = 0
        self.sum: Array = np.zeros(dimensions)
        self._rows: list[Array] | None = []  # None: there are more than dimensions
        self._outer: Array | None = None  # None: nobody has asked for it yet

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
        if self._rows is not None and self.count + len(exact) <= self.dimensions:
            self._rows, self._outer = [*self._rows, exact], None
        else:
            self._rows, self._outer = None, self.outer + exact.T @ exact
        self.count += len(exact)
        self.sum += exact.sum(axis=0)

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both sets together.

        Raises:
            RunError: the two have different dimensions.
        """
        _refuse_different(self, other)
        both = Moments(self.dimensions)
        both.count = self.count + other.count
        both.sum = self.sum + other.sum
        if self._rows is not None and other._rows is not None and both.count <= both.dimensions:
            both._rows = [*self._rows, *other._rows]
        else:
            both._rows, both._outer = None, self.outer + other.outer
        return both

    @property
    def outer(self) -> Array:
        """Return the sum of outer products (D, D)."""
        if self._outer is None:
            self._outer = np.zeros((self.dimensions, self.dimensions))
            for block in self._rows or ():
                self._outer += block.T @ block
        return self._outer

    def centred(self) -> Array | None:
        """Return the vectors (count, D) without their mean; None where there are more than dimensions."""
        return None if self._rows is None else np.concatenate(self._rows) - self.mean()

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

    Sets of equal moments may come out at about -1e-13.

    Raises:
        RunError: a set has fewer than two members, or the two have different dimensions.
    """
    _refuse_different(a, b)
    for moments in (a, b):
        if moments.count < 2:
            raise RunError(f"a Fréchet distance needs at least 2 feature vectors on either side, not {moments.count}")
    difference = a.mean() - b.mean()
    traces = sum(_trace(moments, unbiased) for moments in (a, b))
    return float(difference @ difference + traces - 2 * _trace_of_root(a, b, unbiased))


def _trace(moments: Moments, unbiased: bool) -> float:
    factor = _factor(moments, unbiased)
    return float(np.trace(moments.covariance(unbiased=unbiased)) if factor is None else np.square(factor).sum())


def _factor(moments: Moments, unbiased: bool) -> Array | None:
    """Return X (count, D) of the covariance X'X; None where there are more vectors than dimensions."""
    centred = moments.centred()
    return None if centred is None else centred / math.sqrt(moments.count - unbiased)


def _trace_of_root(a: Moments, b: Moments, unbiased: bool) -> float:
    """Return tr (S1 S2)^(1/2): the sum of the roots of the eigenvalues of S1 S2, or of a cyclic product of it.

    With S1 = X'X and S2 = Y'Y they are the squares of the singular values of XY'; else the eigenvalues of X S2 X', with
    the symmetric root of S1 as X if its vectors are many. Negative ones are rounding, cut to 0. The covariance of n has
    rank n - 1 at most, so that all but n - 1 are 0 but for rounding, whose roots would not be small: they are left out.
    """
    first, second = _factor(a, unbiased), _factor(b, unbiased)
    if first is not None and second is not None:
        return float(np.linalg.svd(first @ second.T, compute_uv=False).sum())
    if second is not None:
        return _trace_of_root(b, a, unbiased)
    left = _root(a.covariance(unbiased=unbiased)) if first is None else first
    product = left @ b.covariance(unbiased=unbiased) @ left.T
    values = np.linalg.eigvalsh((product + product.T) / 2)[-(min(a.count, b.count) - 1) :]
    return float(np.sqrt(np.clip(values, 0, None)).sum())


def _root(covariance: Array) -> Array:
    """Return the symmetric root (D, D) of a covariance (D, D)."""
    values, vectors = np.linalg.eigh(covariance)
    root: Array = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


def _refuse_different(a: Moments, b: Moments) -> None:
    if a.dimensions != b.dimensions:
        raise RunError(f"features of {a.dimensions} and of {b.dimensions} dimensions cannot be compared")
