"""What effects show that are compared: over the values of another axis of a grid, or between two steps.

Per seed, an order's effect (or a trend's slope) at each value is the mean over the further axes of the grid. Whether an
order holds over all values is an intersection-union test (R. L. Berger, Technometrics 24, 1982): each effect is tested
by itself, and the least sure decides. That it does not hold is shown by any one effect, for which each pays with the
number of values (Bonferroni). Whether two effects differ is Student's t of the paired difference of differences.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results.results_frame import DONE
from analysis.statistics.t_tests import PairedTest, paired_test
from registry.experiment.claims import ResolvedClaim

Scale = Literal["parameters", "value", "rank"]
LEAST_GROWTH = 1.1  # of the parameters from the smallest value to the largest, for these to be a scale


class Part:
    """A part of a claim with an effect and a two-sided p-value of its own, such as a step of a trend."""

    effect: float | None
    p: float | None

    @property
    def p_better(self) -> float:
        """The p-value of "its effect is above zero": 1 where its mean is not, or its spread is unknown."""
        return self.p if self.p is not None and (self.effect or 0.0) > 0 else 1.0


@dataclass(frozen=True)
class EffectAt(Part):
    """The mean effect at one value of the other axis, by itself; positive supports the order.

    `p` is two-sided and of this value alone; `shown` is set where the effect is shown at the level of its claim.
    """

    value: str
    effect: float | None
    interval: tuple[float, float] | None
    p: float | None = None
    shown: bool = False


@dataclass(frozen=True)
class Growth:
    """How an effect changes along the values of the other axis, by each seed's least-squares line.

    `slope` is per doubling of the parameters or of the value, or per rank; `at` is the next value on the scale, as far
    beyond the last one as the values are apart on average, and `beyond` what the line says there. Nothing was measured
    there, and the interval takes the line for true.
    """

    scale: Scale
    slope: PairedTest
    at: float
    beyond: PairedTest


def effects_by_value(claim: ResolvedClaim, effects: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (seeds, points) -> (seeds, values): the effect at each value of the axis that is compared over."""
    of_point = np.array([dict(point)[claim.over] for point in claim.points])
    columns = [effects[:, of_point == value].mean(axis=1) for value in claim.compared]
    return np.stack(columns, axis=1)


def tests_of_each(effects: NDArray[np.float64], size: float, alpha: float) -> tuple[PairedTest, ...]:
    """Return a test of each part's effect by itself, from effects (seeds, parts): values, or steps of a trend."""
    return tuple(paired_test(own, alpha=alpha, size=size) for own in effects.T)


def p_fails(tests: Sequence[PairedTest]) -> float:
    """Return the p-value of "at one value at least the order is the other way round", adjusted for their number."""
    contrary = [test.p for test in tests if test.p is not None and (test.mean or 0.0) < 0]
    return min(1.0, len(tests) * min(contrary, default=1.0))


def growth(
    frame: pd.DataFrame, claim: ResolvedClaim, by_value: NDArray[np.float64], size: float, alpha: float
) -> Growth | None:
    """Return how the effect changes along the values, None without seeds.

    The scale is the logarithm of the parameters where these grow along the values, else of the values where they are
    numbers above zero, else their rank.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
        claim: whose values.
        by_value: effects (seeds, values).
        size: the magnitude of the scores.
        alpha: the intervals cover `1 - alpha`.
    """
    if not len(by_value):
        return None
    scale, places = _scale(frame, claim)
    apart = (places.max() - places.min()) / (len(places) - 1)
    beyond = float(places.max() + apart)
    centred = places - places.mean()
    slopes = by_value @ (centred / (centred @ centred))
    with np.errstate(over="ignore", invalid="ignore"):
        reached = by_value.mean(axis=1) + slopes * (beyond - places.mean())
        tests = [paired_test(values, alpha=alpha, size=size) for values in (slopes, reached)]
    return Growth(scale, tests[0], beyond + 1 if scale == "rank" else 2.0**beyond, tests[1])


def _scale(frame: pd.DataFrame, claim: ResolvedClaim) -> tuple[Scale, NDArray[np.float64]]:
    """Return what the values are placed by, and the place of each: in doublings, or by rank."""
    parameters = _parameters(frame, claim)
    if parameters.min() > 0 and parameters.max() >= LEAST_GROWTH * parameters.min():
        return "parameters", np.log2(parameters)
    values = np.array([_number(value) for value in claim.compared])
    if (values > 0).all() and len(set(values)) > 1:
        return "value", np.log2(values)
    return "rank", np.arange(len(values), dtype=np.float64)


def _parameters(frame: pd.DataFrame, claim: ResolvedClaim) -> NDArray[np.float64]:
    """Return the parameters of the networks at each value, the geometric mean over arms; 0 where they are not known."""
    columns = (frame[name].tolist() for name in ("arm", "state", "parameters"))
    by_arm = {arm: count for arm, state, count in zip(*columns, strict=True) if state == DONE}
    of_value: dict[str, list[float]] = {value: [] for value in claim.compared}
    for point, cell in zip(claim.points, claim.cells, strict=True):
        of_value[dict(point)[claim.over]] += [float(by_arm.get(arm, 0.0)) for arm in cell]
    means = [math.exp(np.log(own).mean()) if min(own) > 0 else 0.0 for own in of_value.values()]
    return np.array(means)


def _number(label: str) -> float:
    """Return a label as a number above zero, 0 where it is none."""
    try:
        number = float(label)
    except ValueError:
        return 0.0
    return number if 0 < number < math.inf else 0.0
