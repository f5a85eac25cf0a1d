"""What looks at growing data cost: the level of each look, so that all of them together are wrong at most `alpha`.

An alpha-spending design (K. K. G. Lan and D. L. DeMets, Biometrika 70, 1983): each look spends a stated share of
`alpha`, and the level of its test follows by the recursion of P. Armitage, C. K. McPherson and B. C. Rowe (J. R. Stat.
Soc. A 132, 1969) over a Brownian motion. These levels are then those of Student's t (the significance-level approach,
C. Jennison and B. W. Turnbull, Group Sequential Methods, 2000, section 4.4). With a clock of seeds that is wrong up to
8 % more often than stated: tests of a few seeds, each with a spread of its own, depend less on each other. The clock
here is (seeds - 1) to the power of 1.5, which makes them depend less; docs/statistics.md shows what comes of it.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

CLOCK = 1.5  # power of the seeds less one
APART = 1e4  # between the times of looks at different data
EXACT = 1e-9  # of shares
GRID = 240  # points of the density between two looks
LOWEST, POINTS = 1e-7, 33  # of the overall levels at which the recursion is solved; between them it is interpolated
Floats = NDArray[np.float64]


def spent_by(n: int, most: int) -> float:
    """Return the share of `alpha` that is spent by n seeds of a design that ends at `most`.

    The square of n / most (K. Kim and D. L. DeMets, Biometrika 74, 1987) leaves most to looks that have seeds enough.
    """
    return min(1.0, (n / most) ** 2)


def adjusted_by_look(p_values: Sequence[float], seeds: Sequence[int], shares: Sequence[float]) -> list[float]:
    """Return for each look the lowest overall level at which it would have shown its claim; the least is that of all.

    Args:
        p_values: of each look alone, two-sided, oldest first.
        seeds: of each look.
        shares: of the overall level that each of them spends, at most 1 together.
    """
    overall, nominal = levels(tuple(seeds), tuple(shares))
    return [float(overall_of(p, overall, own)) for p, own in zip(p_values, nominal, strict=True)]


def overall_of(p: ArrayLike, overall: Floats, nominal: Floats) -> Floats:
    """Return the overall level whose nominal one at a look is p; 1 where that look has nothing to spend."""
    values = np.asarray(p, dtype=np.float64)
    if nominal[-1] <= 0:
        return np.ones_like(values)
    with np.errstate(divide="ignore"):
        between = np.exp(np.interp(np.log(values), np.log(nominal), np.log(overall)))
    small = np.where(values <= nominal[0], values * overall[0] / nominal[0], between)
    return np.where(values >= nominal[-1], 1.0, small)


def levels_at(alpha: float, seeds: tuple[int, ...], shares: tuple[float, ...]) -> list[float]:
    """Return the nominal two-sided level of each look, of an overall level."""
    overall, nominal = levels(seeds, shares)
    return [
        float(np.exp(np.interp(np.log(alpha), np.log(overall), np.log(own)))) if own[-1] > 0 else 0.0 for own in nominal
    ]


@cache
def levels(seeds: tuple[int, ...], shares: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Return overall levels (A,), and for each of them the nominal two-sided level of every look (looks, A)."""
    overall = np.geomspace(LOWEST, 1.0, POINTS)
    clock = _clock(seeds)
    nominal = np.zeros((len(seeds), POINTS))
    path: tuple[Floats, Floats, float] | None = None  # values (A, G), weights (A, G) that went on, clock
    for look, (now, share) in enumerate(zip(clock, shares, strict=True)):
        if share <= EXACT:
            continue
        one_sided = share * overall / 2
        if path is None:
            z = -special.ndtri(one_sided)
            values = _grid(z * np.sqrt(now))
            weights = _weights(values) * _normal(values, now)
        else:
            before, weight, then = path
            passed = max(now - then, EXACT)
            bound = _bound(before, weight, passed, one_sided, np.sqrt(now))
            z = bound / np.sqrt(now)
            values = _grid(bound)
            density = np.einsum("ag,agh->ah", weight, _normal(values[:, None, :] - before[:, :, None], passed))
            weights = _weights(values) * density
        nominal[look] = 2 * special.ndtr(-z)
        path = values, weights, float(now)
    return overall, nominal


def _clock(seeds: Sequence[int]) -> list[float]:
    """Return the time of each look; where seeds did not grow, data were made anew, and looks share next to nothing."""
    times: list[float] = []
    for n in seeds:
        own = float(max(n - 1, 1)) ** CLOCK
        times.append(own if not times or own > times[-1] else APART * times[-1])
    return times


def _grid(bound: Floats) -> Floats:
    """Return (A, G): values of the motion from far below to the bound of each level."""
    span = np.linspace(0.0, 1.0, GRID)
    low = np.minimum(-8.0 * np.sqrt(np.maximum(1.0, bound**2 / 30)), bound - 8.0)
    return low[:, None] + (bound - low)[:, None] * span


def _weights(values: Floats) -> Floats:
    """Return the trapezoid rule's weights of evenly spaced values."""
    step = (values[:, 1] - values[:, 0])[:, None]
    weights = np.repeat(step, values.shape[1], axis=1)
    weights[:, [0, -1]] /= 2
    return weights


def _normal(values: Floats, variance: float) -> Floats:
    density: Floats = np.exp(-(values**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    return density


def _bound(before: Floats, weight: Floats, passed: float, wanted: Floats, scale: float) -> Floats:
    """Return the bounds (A,) that the motion crosses with the wanted chances, by bisection."""
    low, high = np.full(len(wanted), -2.0 * scale), np.full(len(wanted), 9.0 * scale)
    for _ in range(50):
        middle = (low + high) / 2
        crossed = np.einsum("ag,ag->a", weight, special.ndtr((before - middle[:, None]) / np.sqrt(passed)))
        low, high = np.where(crossed > wanted, middle, low), np.where(crossed > wanted, high, middle)
    return (low + high) / 2
