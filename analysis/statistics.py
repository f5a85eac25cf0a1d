"""What a few seeds can and cannot show: paired differences, Student-t, Holm, and the seeds that would be needed.

Every test here answers "not testable" (None) where the data cannot carry a test: fewer than two pairs, or
differences without any spread, for which Student's t would claim certainty.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats

# A spread below this share of the scores' size is rounding, not a sample of what other seeds would give.
ROUNDING = 1e-12
MOST_SEEDS = 1000


@dataclass(frozen=True)
class PairedTest:
    """What the paired differences of n seeds show.

    `mean`, `sd` (n - 1) and `interval` are in the score's unit; `p` is two-sided, `p_greater` one-sided for a
    mean above zero. All but n are None where they are not defined; all but n and mean also where there is no spread.
    """

    n: int
    mean: float | None
    sd: float | None
    interval: tuple[float, float] | None
    p: float | None
    p_greater: float | None


def paired_differences(minuend: pd.Series, subtrahend: pd.Series) -> pd.Series:
    """`minuend - subtrahend` for the seeds that have a finite score in both, indexed by seed."""
    both = pd.concat([minuend, subtrahend], axis=1, join="inner", keys=["minuend", "subtrahend"]).sort_index()
    difference = both["minuend"] - both["subtrahend"]
    return difference[np.isfinite(difference)]


def paired_test(differences: Sequence[float] | pd.Series, *, alpha: float = 0.05, size: float = 0.0) -> PairedTest:
    """Student's t-test of paired differences against zero.

    Args:
        differences: finite differences, one per seed.
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


def t_interval(
    values: Sequence[float] | np.ndarray | pd.Series, *, alpha: float = 0.05, size: float = 0.0
) -> tuple[float, float] | None:
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


def seeds_needed(mean: float, sd: float, *, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """An estimate of the paired seeds that a two-sided t-test would need, were the true effect the one observed.

    Returns:
        The smallest n with that power, or None where more than `MOST_SEEDS` would be needed.
    """
    if sd <= 0 or not math.isfinite(mean / sd):
        return None
    standardised = min(abs(mean) / sd, 20.0)  # beyond this two or three seeds do, and the tails lose digits

    def enough(n: int) -> bool:
        critical = special.stdtrit(n - 1, 1 - alpha / 2)
        return bool(stats.nct.sf(critical, n - 1, standardised * math.sqrt(n)) >= power)

    few, many = 1, MOST_SEEDS  # the power grows with n: bisect
    if not enough(many):
        return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many


def _or_one(p: float | None) -> float:
    return 1.0 if p is None else p
