"""How many paired seeds a test would need, were the true effect and spread the ones observed.

The power of Student's t follows from its noncentral distribution. From a few seeds the spread is barely known, so
these are estimates, and rough ones (docs/statistics.md shows how rough).
"""

import math
from collections.abc import Callable, Sequence

from scipy import special

from analysis.statistics.t_tests import EquivalenceTest, PairedTest

POWER = 0.8
MOST_SEEDS = 1000


def seeds_to_differ(mean: float, sd: float, *, alpha: float = 0.05, power: float = POWER) -> int | None:
    """The fewest seeds with which a two-sided test would show a mean that is not zero, None beyond `MOST_SEEDS`."""
    if sd <= 0 or not math.isfinite(mean / sd):
        return None
    return _fewest(lambda n: one_sided_power(abs(mean) / sd, n, alpha / 2), power)


def seeds_to_be_within(test: EquivalenceTest, *, alpha: float = 0.05, power: float = POWER) -> int | None:
    """The fewest seeds with which both one-sided tests would show a difference within the margin, or None.

    The power of both together is taken as at least the sum of the two less one, whatever their correlation.
    """
    sides = [_standardised(side) for side in (test.above, test.below)]
    if any(size is None or size <= 0 for size in sides):
        return None
    return _fewest(lambda n: sum(one_sided_power(size or 0.0, n, alpha) for size in sides) - 1, power)


def seeds_to_be_beyond(test: EquivalenceTest, *, alpha: float = 0.05, power: float = POWER) -> int | None:
    """The fewest seeds with which a difference as large as this would be shown to exceed the margin, or None."""
    sizes = [size for side in (test.above, test.below) if (size := _standardised(side)) is not None]
    if not sizes or min(sizes) >= 0:
        return None
    return _fewest(lambda n: one_sided_power(-min(sizes), n, alpha / 2), power)


def seeds_to_improve(steps: Sequence[PairedTest], *, alpha: float = 0.05, power: float = POWER) -> int | None:
    """The fewest seeds with which every step of a trend would be shown to improve, or None where one does not.

    The power of all together is taken as at least what is left when each step's own lack of power is taken away.
    """
    sizes = [_standardised(step) for step in steps]
    if any(size is None or size <= 0 for size in sizes):
        return None
    return _fewest(lambda n: 1 - sum(1 - one_sided_power(size or 0.0, n, alpha / 2) for size in sizes), power)


def one_sided_power(size: float, n: int, alpha: float) -> float:
    """The power of a one-sided t-test of n seeds at `alpha`, where the mean is `size` standard deviations from zero."""
    critical = float(special.stdtrit(n - 1, 1 - alpha))
    # Beyond a shift of 35.8 the distribution's density underflows and scipy gives NaN; the power is no less than there.
    shift = min(size * math.sqrt(n), 35.0)
    return 1.0 - float(special.nctdtr(n - 1, shift, critical))


def _standardised(test: PairedTest) -> float | None:
    return None if test.mean is None or not test.sd else test.mean / test.sd


def _fewest(power_of: Callable[[int], float], power: float) -> int | None:
    """The smallest n >= 2 whose power suffices; the power grows with n, so bisection finds it."""
    few, many = 1, MOST_SEEDS
    if not power_of(many) >= power:
        return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if power_of(middle) >= power else (middle, many)
    return many
