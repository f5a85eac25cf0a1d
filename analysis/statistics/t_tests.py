"""What a few seeds can and cannot show: difference, equivalence and trend by Student's t, and Holm over a family.

Every test here answers "not testable" (None) where the data cannot carry a test: fewer than two seeds, or
differences without any spread, for which Student's t would claim certainty.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

# A spread below this share of the scores' size is rounding, not a sample of what other seeds would give.
ROUNDING = 1e-12


@dataclass(frozen=True)
class PairedTest:
    """What one number per seed (a paired difference, a slope) shows over n seeds.

    `mean`, `sd` (n - 1) and `interval` are in the score's unit; `p` is two-sided, `p_greater` one-sided for a
    mean above zero. All but n are None where they are not defined; all but n and mean also where there is no spread.
    """

    n: int
    mean: float | None
    sd: float | None
    interval: tuple[float, float] | None
    p: float | None
    p_greater: float | None


def paired_test(differences: ArrayLike, *, alpha: float = 0.05, size: float = 0.0) -> PairedTest:
    """Student's t-test of the mean of paired differences (or slopes) against zero.

    Args:
        differences: finite numbers, one per seed.
        alpha: the interval covers `1 - alpha`.
        size: the magnitude of the scores that were subtracted; a spread that is only their rounding counts as none.
    """
    values = np.asarray(differences, dtype=np.float64)
    n = values.size
    if n == 0:
        return PairedTest(0, None, None, None, None, None)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values.mean())
    if not math.isfinite(mean):
        return PairedTest(n, None, None, None, None, None)
    interval = t_interval(values, alpha=alpha, size=size)
    if interval is None:
        return PairedTest(n, mean, None, None, None, None)
    sd = float(values.std(ddof=1))
    t = mean / (sd / math.sqrt(n))
    return PairedTest(
        n, mean, sd, interval, p=float(2 * special.stdtr(n - 1, -abs(t))), p_greater=float(special.stdtr(n - 1, -t))
    )


def t_interval(values: ArrayLike, *, alpha: float = 0.05, size: float = 0.0) -> tuple[float, float] | None:
    """Student's interval for the mean, or None for fewer than two values or values without spread."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.size < 2:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        mean, sd = float(sample.mean()), float(sample.std(ddof=1))
    if not math.isfinite(sd) or sd <= ROUNDING * max(abs(mean), float(np.abs(sample).max()), size):
        return None
    half = float(special.stdtrit(sample.size - 1, 1 - alpha / 2)) * sd / math.sqrt(sample.size)
    return mean - half, mean + half


def welch_interval(first: ArrayLike, second: ArrayLike, *, alpha: float = 0.05) -> tuple[float, float] | None:
    """Welch's interval for the difference of two means, second less first, of values that are not paired.

    Degrees of freedom are those of Welch and Satterthwaite.

    Args:
        first, second: finite numbers.
        alpha: the interval covers `1 - alpha`.

    Returns:
        None for fewer than two values on a side, or values without spread on both.
    """
    sides = [np.asarray(values, dtype=np.float64) for values in (first, second)]
    if min(side.size for side in sides) < 2:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        squares = [float(side.var(ddof=1)) / side.size for side in sides]
        mean = float(sides[1].mean() - sides[0].mean())
    error, size = math.sqrt(sum(squares)), max(float(np.abs(side).max()) for side in sides)
    if not math.isfinite(error) or error <= ROUNDING * size:
        return None
    freedom = sum(squares) ** 2 / sum(own**2 / (side.size - 1) for own, side in zip(squares, sides, strict=True))
    half = float(special.stdtrit(freedom, 1 - alpha / 2)) * error
    return mean - half, mean + half


@dataclass(frozen=True)
class EquivalenceTest:
    """What paired scores show of a difference and a margin: two one-sided tests, one at either edge of the margin.

    `difference` tests the difference against zero; `above` tests difference + margin, and `below` margin - difference,
    each of which is above zero where the difference lies within the margin.
    """

    difference: PairedTest
    above: PairedTest
    below: PairedTest

    @property
    def p_within(self) -> float | None:
        """The p-value of "the difference lies within the margin" (TOST): the larger of the two one-sided ones."""
        if self.difference.p is None or self.above.p_greater is None or self.below.p_greater is None:
            return None
        return max(self.above.p_greater, self.below.p_greater)

    @property
    def p_beyond(self) -> float | None:
        """The two-sided p-value of "the difference exceeds the margin, on one side or the other"."""
        if self.difference.p is None or self.above.p_greater is None or self.below.p_greater is None:
            return None
        return min(1.0, 2 * min(1 - self.above.p_greater, 1 - self.below.p_greater))


def equivalence_test(
    first: ArrayLike, second: ArrayLike, *, margin: float = 0.0, share: float = 0.0, alpha: float = 0.05
) -> EquivalenceTest:
    """Two one-sided t-tests (TOST) of the paired difference `second - first` against -margin and +margin.

    A margin that is a share of the first's score is itself uncertain. It goes into the tests seed by seed, so that
    they test `second - (1 - share) first > 0` and `(1 + share) first - second > 0` and keep their error rate.

    Args:
        first, second: finite scores (seeds,), paired.
        margin: in the score's unit.
        share: of the first's score, added to `margin`.
        alpha: the intervals cover `1 - alpha`.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    size = max((float(np.abs(values).max()) for values in (one, other) if values.size), default=0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        difference, slack = other - one, margin + share * one
        tested = (difference, slack + difference, slack - difference)
    return EquivalenceTest(*(paired_test(values, alpha=alpha, size=size) for values in tested))


def slopes_on_rank(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(…, arms) -> (…): per seed the least-squares slope of its scores on the arms' rank 0, 1, 2, …"""
    ranks = np.arange(scores.shape[-1]) - (scores.shape[-1] - 1) / 2
    slopes: NDArray[np.float64] = scores @ (ranks / (ranks @ ranks))
    return slopes


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment over a family.

    A hypothesis that could not be tested (None) stays None and counts as p = 1, so that the others are not judged
    more leniently because it is missing, and can only gain when it arrives.
    """
    order = sorted(range(len(p_values)), key=lambda i: _or_one(p_values[i]))
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * _or_one(p_values[i])))
        adjusted[i] = None if p_values[i] is None else largest
    return adjusted


def _or_one(p: float | None) -> float:
    return 1.0 if p is None else p
