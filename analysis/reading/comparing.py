"""Two experiments, or two sites of one experiment, arm by arm: the scores on either side, and how far they are apart.

The runs of two sites are not paired, whatever their seeds: another machine or another commit draws anew. So Welch's
interval is that of the difference of two means (B. L. Welch, Biometrika 34, 1947). It is left out where both sides have
the same runs, or runs of the same trainings. Scores of different data or by different protocols are refused.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import pandas as pd

from analysis.reading.experiment_results import ExperimentResults
from analysis.reading.shared_runs import SAME, shared_runs, sharing_notes
from analysis.results.mixed_code import lines, mixed_code_of
from analysis.results.results_frame import (
    is_loss,
    loss_protocols,
    protocol_of,
    refuse_mixed_data,
    score_names,
    scores_by_arm,
)
from analysis.statistics.t_tests import welch_interval
from analysis.tables import score_table
from registry.errors import RunError, did_you_mean
from registry.schema.differences import differing

MOST_KEYS = 6  # of an arm whose specs differ, in a note


@dataclass(frozen=True)
class ArmScores:
    """A score of one arm on either side; `difference` is right less left, None where it is not defined.

    Args:
        arm: its name.
        metric: full name of the score.
        left: mean, sd (n - 1) and n; numbers that are not defined are None.
        right: likewise.
        difference: of the means.
        interval: Welch's, at 95 %; None where the two sides are not independent.
        runs: `SAME` where both sides are the same runs, `OF_SAME` where they share trainings, else empty.
    """

    arm: str
    metric: str
    left: tuple[float | None, float | None, int]
    right: tuple[float | None, float | None, int]
    difference: float | None
    interval: tuple[float, float] | None
    runs: str = ""

    def cells(self) -> list[str]:
        """Return the row as texts."""
        sides = [
            f"{score_table.with_spread(_or_nan(mean), _or_nan(sd))} (n = {n})"
            for mean, sd, n in (self.left, self.right)
        ]
        shown = (self.runs or score_table.NOTHING) if self.difference is None else f"{self.difference:+.3g}"
        interval = f"{self.interval[0]:+.3g} to {self.interval[1]:+.3g}" if self.interval else score_table.NOTHING
        return [self.arm, self.metric, *sides, shown, interval]


@dataclass(frozen=True)
class Comparison:
    """Two experiments side by side.

    Args:
        left, right: what to call them.
        rows: every score of every arm that both have.
        protocols: metric -> the fingerprint that both sides share; `METRIC of ARM` where arms have several.
        notes: arms on one side alone, specs that differ, runs that both sides share, mixed code.
    """

    left: str
    right: str
    rows: Sequence[ArmScores]
    protocols: dict[str, str | None]
    notes: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def compare(left: ExperimentResults, right: ExperimentResults, metrics: Sequence[str] = ()) -> Comparison:
    """Return the scores of the arms that two experiments share by name.

    Args:
        left, right: the experiments.
        metrics: only these scores, in short (then by each detector) or in full; none: all that both have but those of
            single noise bands.

    Raises:
        RunError: both are one, no arm or no score is in both, or a score was measured on different data or by
            different protocols.
    """
    if (left.source.place, left.resolved.digest) == (right.source.place, right.resolved.digest):
        raise RunError(f"{left.source.place}: both are the same experiment in the same folder; name another one")
    names = (left.name, right.name) if left.name != right.name else (left.source.place, right.source.place)
    shared = [arm for arm in left.arms if arm in right.arms]
    if not shared:
        raise RunError(
            f"no arm is in both: {names[0]} has {', '.join(left.arms)}; {names[1]} has {', '.join(right.arms)}"
        )
    sides = [side.frame[side.frame["arm"].isin(shared)] for side in (left, right)]
    frame = pd.concat([own.assign(arm=f"{name}: " + own["arm"]) for name, own in zip(names, sides, strict=True)])
    found: list[ArmScores] = []
    protocols: dict[str, str | None] = {}
    runs = shared_runs(left.source, right.source, shared)
    notes = [*_notes(left, right, names), *sharing_notes(runs)]
    for metric in _metrics(left, sides, metrics):
        unlike = _unlike(frame, metric, shared, names)
        if not is_loss(metric):
            protocols |= _protocols(frame, metric, shared, names)
        ours, theirs = (scores_by_arm(side, shared, metric) for side in sides)
        rows = [_row(arm, metric, ours[arm].dropna(), theirs[arm].dropna(), runs[arm]) for arm in shared]
        found += [replace(row, difference=None, interval=None) if row.arm in unlike else row for row in rows]
        if unlike:
            notes.append(f"{metric} of different data or diffusion is not compared: {', '.join(unlike)}")
    return Comparison(*names, found, protocols, [*notes, *lines(mixed_code_of(frame))])


def _protocols(frame: pd.DataFrame, metric: str, arms: Sequence[str], names: tuple[str, str]) -> dict[str, str | None]:
    """The protocol of a score, by its name; where arms have several among themselves, by `SCORE of ARM`.

    Raises:
        RunError: the two sides of an arm have different ones, or different data.
    """
    found = {arm: protocol_of(frame, [f"{name}: {arm}" for name in names], metric) for arm in arms}
    known = {arm: protocol for arm, protocol in found.items() if protocol is not None}  # of those that are done
    if len(set(known.values())) <= 1:
        return {metric: next(iter(known.values()), None)}
    return {f"{metric} of {arm}": protocol for arm, protocol in known.items()}


def _unlike(frame: pd.DataFrame, metric: str, arms: Sequence[str], names: tuple[str, str]) -> list[str]:
    """The arms whose validation losses on the two sides cannot be compared; none of any other score.

    Raises:
        RunError: the losses are of different prepared data.
    """
    if not is_loss(metric):
        return []
    every = list(dict.fromkeys(frame["arm"]))
    refuse_mixed_data(frame, every, metric)
    known = loss_protocols(frame, every, metric)
    pairs = {arm: [known.get(f"{name}: {arm}") for name in names] for arm in arms}
    return [arm for arm, (one, other) in pairs.items() if one is not None and other is not None and one != other]


def _metrics(left: ExperimentResults, sides: Sequence[pd.DataFrame], asked: Sequence[str]) -> list[str]:
    known = [name for name in score_names(sides[0]) if name in score_names(sides[1]) and "_band_" not in name]
    if not known:
        raise RunError("no score is in both: one of the two has no finished replicate, or they measure other things")
    names = list(dict.fromkeys(name for metric in asked for name in left.score_names(metric)))
    for name in names:
        if name not in known:
            raise RunError(f"no score {name!r} in both; {did_you_mean(name, known)}")
    return names or known


def _row(arm: str, metric: str, ours: pd.Series, theirs: pd.Series, runs: str) -> ArmScores:
    sides = [(_known(own.mean()), _known(own.std(ddof=1)), len(own)) for own in (ours, theirs)]
    difference = None if runs == SAME else _known(theirs.mean() - ours.mean())
    interval = None if runs else welch_interval(ours.to_numpy(), theirs.to_numpy())
    return ArmScores(arm, metric, sides[0], sides[1], difference, interval, runs)


def _notes(left: ExperimentResults, right: ExperimentResults, names: tuple[str, str]) -> list[str]:
    told = []
    for name, own, other in ((names[0], left, right), (names[1], right, left)):
        if alone := [arm for arm in own.arms if arm not in other.arms]:
            told.append(f"only in {name}: {', '.join(alone)}")
    for arm in left.arms:
        if arm in right.arms and left.resolved.arms[arm].identity != right.resolved.arms[arm].identity:
            told.append(f"{arm}: is not the same spec on both sides{_keys(arm, left, right)}")
    return told


def _keys(arm: str, left: ExperimentResults, right: ExperimentResults) -> str:
    specs = [side.specs.get(arm) for side in (left, right)]
    if specs[0] is None or specs[1] is None:
        return ""
    keys = differing(specs[0].science(), specs[1].science())
    shown = [f"{key} {one} / {other}" for key, one, other in islice(keys, MOST_KEYS)]
    return f": {', '.join(shown)}" + (" and more" if next(keys, None) else "")


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
