"""What arms differ by, as tables to look at: one arm against another, axes one by one and two by two, score and cost.

These are for exploring. Each p-value is of one test by itself, unadjusted: what a claim of the experiment is judged by
is `analysis.verdicts.judging`, which counts how many there are. Each table has the score as the name of its columns,
which is shown in the corner.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results.results_frame import paired_scores, refuse_mixed, scores_by_arm
from analysis.statistics.t_tests import PairedTest, paired_test, t_interval

Axes = Mapping[str, Mapping[str, str]]  # arm -> axis -> the label of its value
Cell = tuple[tuple[str, str], ...]  # (axis, label) of the axes that are held


@dataclass(frozen=True)
class Paired:
    """One arm against another, paired by seed.

    Args:
        arm: the one.
        against: the other.
        metric: the score, in whose unit all numbers are.
        by_seed: a row a seed that both arms have, with the columns of the two arms' names and `difference`.
        test: Student's t of the differences against zero, two-sided.
    """

    arm: str
    against: str
    metric: str
    by_seed: pd.DataFrame
    test: PairedTest

    @property
    def mean(self) -> float | None:
        """The mean difference, the arm less the other; None without a seed that both have."""
        return self.test.mean

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's interval of the mean difference; None below two seeds."""
        return self.test.interval

    def __repr__(self) -> str:
        return f"{self.arm} less {self.against} in {self.metric}: {_said(self.test)}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(str(self))}</p>{self.by_seed.to_html()}"


def paired(frame: pd.DataFrame, metric: str, arm: str, against: str, alpha: float = 0.05) -> Paired:
    """Compare one arm with another, seed by seed.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
        metric: full name of the score.
        arm: the one.
        against: the other.
        alpha: the interval covers `1 - alpha`.

    Raises:
        RunError: the score was measured on different data or by different protocols.
    """
    refuse_mixed(frame, [arm, against], metric)
    scores = scores_by_arm(frame, [arm, against], metric)
    table = pd.DataFrame(scores).rename_axis(index="seed", columns=metric).dropna().sort_index()
    table["difference"] = table[arm] - table[against]
    size = float(table[[arm, against]].abs().to_numpy().max(initial=0.0))
    return Paired(arm, against, metric, table, paired_test(table["difference"], alpha=alpha, size=size))


def main_effects(frame: pd.DataFrame, metric: str, axes: Axes, alpha: float = 0.05) -> pd.DataFrame:
    """Return what each value of each axis changes against the baseline's value, a row for each.

    Per seed, differences between two arms that differ on this axis alone are averaged over all such pairs: over the
    other axes of a grid, or the one pair of an ablation.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
        metric: full name of the score.
        axes: of every arm, the baseline first.
        alpha: the intervals cover `1 - alpha`.

    Returns:
        The columns `axis`, `value`, `against` (the baseline's value), `effect` (mean difference, in the score's unit),
        `low` and `high` (Student's interval), `p`, `n` (seeds), `points` (pairs of arms that were averaged over).

    Raises:
        RunError: the score was measured on different data or by different protocols.
    """
    base = next(iter(axes.values()), {})
    rows = []
    for axis, against in base.items():
        cells = _cells(axes, (axis,))
        for value in _values(axes, axis, against):
            pairs = [(by[(value,)], by[(against,)]) for by in cells.values() if {(value,), (against,)} <= by.keys()]
            if pairs:
                test = _contrast(frame, metric, pairs, (1.0, -1.0), alpha)
                rows.append({"axis": axis, "value": value, "against": against, **_row(test), "points": len(pairs)})
    return pd.DataFrame(rows, columns=["axis", "value", "against", *_ROW, "points"]).rename_axis(columns=metric)


def interactions(frame: pd.DataFrame, metric: str, axes: Axes, alpha: float = 0.05) -> pd.DataFrame:
    """Return by how much the effect on one axis is another at another value of a second axis, for axes of a grid.

    Per seed, (value, other) - (base, other) - (value, base) + (base, base), averaged over the further axes: zero where
    the two effects add up.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
        metric: full name of the score.
        axes: of every arm, the baseline first.
        alpha: the intervals cover `1 - alpha`.

    Returns:
        The columns `axis`, `value`, `other_axis`, `other_value`, `effect`, `low`, `high`, `p`, `n`, `points`; no row
        where no two axes are varied together.

    Raises:
        RunError: the score was measured on different data or by different protocols.
    """
    base = next(iter(axes.values()), {})
    rows = []
    for one, two in combinations(base, 2):
        cells = _cells(axes, (one, two))
        for value in _values(axes, one, base[one]):
            for other in _values(axes, two, base[two]):
                wanted = [(value, other), (base[one], other), (value, base[two]), (base[one], base[two])]
                squares = [tuple(by[key] for key in wanted) for by in cells.values() if set(wanted) <= by.keys()]
                if squares:
                    test = _contrast(frame, metric, squares, (1.0, -1.0, -1.0, 1.0), alpha)
                    named = {"axis": one, "value": value, "other_axis": two, "other_value": other}
                    rows.append({**named, **_row(test), "points": len(squares)})
    columns = ["axis", "value", "other_axis", "other_value", *_ROW, "points"]
    return pd.DataFrame(rows, columns=columns).rename_axis(columns=metric)


def pareto(
    frame: pd.DataFrame, metric: str, cost: pd.Series, direction: Literal["min", "max"], alpha: float = 0.05
) -> pd.DataFrame:
    """Return what each arm scores and costs, the cheapest first, and whether no other arm is better at no more cost.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
        metric: full name of the score.
        cost: by arm, smaller is cheaper.
        direction: which way the score is better.
        alpha: the intervals cover `1 - alpha`.

    Returns:
        A row for each arm that has a score, with the columns `arm`, the cost's name, `mean`, `low` and `high`
        (Student's interval of the mean), `n` (seeds), and `on_front`. The front is of means: it says nothing of chance.

    Raises:
        RunError: the score was measured on different data or by different protocols.
    """
    arms = list(dict.fromkeys(frame["arm"]))
    refuse_mixed(frame, arms, metric)
    name, rows = str(cost.name), []
    for arm, scores in scores_by_arm(frame, arms, metric).items():
        values = scores.dropna()
        if len(values) and arm in cost.index and np.isfinite(cost[arm]):
            low, high = t_interval(values, alpha=alpha) or (np.nan, np.nan)
            mean, n = values.mean(), len(values)
            rows.append({"arm": arm, name: cost[arm], "mean": mean, "low": low, "high": high, "n": n})
    table = pd.DataFrame(rows, columns=["arm", name, "mean", "low", "high", "n"])
    better = table["mean"] if direction == "min" else -table["mean"]
    table["on_front"] = [not _dominated(place, table[name], better) for place in range(len(table))]
    return table.sort_values([name, "mean"], ignore_index=True).rename_axis(columns=metric)


def _dominated(place: int, cost: pd.Series, score: pd.Series) -> bool:
    """Whether another arm costs no more and scores no worse (lower is better), and one of the two is less."""
    no_worse = (cost <= cost.iloc[place]) & (score <= score.iloc[place])
    less = (cost < cost.iloc[place]) | (score < score.iloc[place])
    return bool((no_worse & less).any())


_ROW = ("effect", "low", "high", "p", "n")


def _row(test: PairedTest) -> dict[str, float | int]:
    low, high = test.interval or (np.nan, np.nan)
    mean, p = (np.nan if value is None else value for value in (test.mean, test.p))
    return {"effect": mean, "low": low, "high": high, "p": p, "n": test.n}


def _said(test: PairedTest) -> str:
    if test.mean is None:
        return "no seed that both arms have"
    between = f" ({test.interval[0]:.3g} to {test.interval[1]:.3g})" if test.interval else ""
    p = f", p = {test.p:.2g} unadjusted" if test.p is not None else ""
    return f"{test.mean:+.3g}{between}, n = {test.n}{p}"


def _values(axes: Axes, axis: str, base: str) -> list[str]:
    """The values that arms have on an axis, without the baseline's, in the order of the arms."""
    return [label for label in dict.fromkeys(own[axis] for own in axes.values() if axis in own) if label != base]


def _cells(axes: Axes, varied: tuple[str, ...]) -> dict[Cell, dict[tuple[str, ...], str]]:
    """The values on all other axes -> the values on the varied ones -> the arm."""
    cells: dict[Cell, dict[tuple[str, ...], str]] = {}
    for arm, own in axes.items():
        if all(axis in own for axis in varied):
            held = tuple((axis, label) for axis, label in own.items() if axis not in varied)
            cells.setdefault(held, {}).setdefault(tuple(own[axis] for axis in varied), arm)
    return cells


def _contrast(
    frame: pd.DataFrame,
    metric: str,
    groups: Sequence[tuple[str, ...]],
    weights: tuple[float, ...],
    alpha: float,
) -> PairedTest:
    """Test, over seeds, the weighted sum of the arms of each group, averaged over the groups."""
    arms = list(dict.fromkeys(arm for group in groups for arm in group))
    refuse_mixed(frame, arms, metric)
    by_arm = scores_by_arm(frame, arms, metric)
    scores: NDArray[np.float64] = paired_scores([by_arm[arm] for arm in arms])  # (seeds, arms)
    place = {arm: number for number, arm in enumerate(arms)}
    total = np.zeros(len(scores))
    for group in groups:
        for arm, weight in zip(group, weights, strict=True):
            total += weight * scores[:, place[arm]] / len(groups)
    return paired_test(total, alpha=alpha, size=float(np.abs(scores).max(initial=0.0)))
