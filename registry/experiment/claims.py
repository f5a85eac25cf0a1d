"""Claims -> arms and a score, checked against the axes even where an arm's spec is wrong."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from registry.errors import SpecError, did_you_mean
from registry.experiment.claim_forms import misshapen
from registry.experiment.claims_over import Cells, axis_named, interactions_of, key_of_over, wrong_over
from registry.experiment.expand import Draft, axis_names
from registry.experiment.experiment_file import BASELINE, ExperimentFile
from registry.experiment.grid_cells import Point, apart, cells_for, grid_cells
from registry.experiment.written import part_choice
from registry.parts.catalogue import Catalogue
from registry.schema.claim import Claim, Margin
from registry.schema.protocol import Protocol, with_preset

VALIDATION_LOSS = "validation_loss"
Direction = Literal["min", "max"]
Kind = Literal["order", "equivalence", "trend", "holds_over", "interaction", "change"]


@dataclass(frozen=True)
class ResolvedClaim:
    """A claim about arms of an experiment and one score.

    `labels` are the values on the axis and `arms` the arms that stand for them: the better and the worse (order), the
    first and the second (equivalence, with its `margin`), or from worst to best (trend). A claim about an axis of a
    grid is about its main effect: `points` has the places on the grid's other axes, and `arms` as many arms for each
    of them, one after the other. Any other claim has one point, which is empty.

    Three kinds compare effects, that of the first label against the second (or along the labels, of a trend's change):
    at each value of the axis `over` of the grid (an order that `holds_over` it), between two of its values, the
    reference first (interaction), and between the steps `since` and `step` (change).
    """

    kind: Kind
    axis: str
    labels: tuple[str, ...]
    arms: tuple[str, ...]
    metric: str
    direction: Direction
    margin: Margin | None = None
    points: tuple[Point, ...] = ((),)
    step: int | None = None  # whose evaluations are judged; None: the one that arms are compared at
    matched: tuple[str, ...] = ()  # the ways in which its arms are matched, where the experiment has several
    together: tuple[str, ...] = ()  # the scores of a claim that is judged in several; empty where it is one
    over: str = ""  # the axis of the grid that effects are compared over
    since: int | None = None  # the step whose effect is compared with that at `step`

    @property
    def statement(self) -> str:
        """The claim in words, without axis, metric and where it is judged."""
        if self.kind == "order":
            return f"{self.labels[0]} better than {self.labels[1]}"
        if self.kind == "equivalence":
            return f"{self.labels[0]} equivalent to {self.labels[1]} within {self.margin}"
        if self.kind == "trend":
            return f"improving from {' to '.join(self.labels)}"
        if self.kind == "holds_over":
            return f"{self.labels[0]} better than {self.labels[1]} at every {self.over} of {', '.join(self.compared)}"
        effect = f"the effect of {self.labels[0]} against {self.labels[1]}"
        if len(self.labels) > 2:
            effect = f"the improvement from {' to '.join(self.labels)}"
        if self.kind == "change":
            return f"{effect} differs between steps {self.since} and {self.step}"
        return f"{effect} differs between {self.over} {' and '.join(self.compared)}"

    @property
    def where(self) -> str:
        """Where it is judged, as far as it is said: `, at step 1000, frames=16, averaged over patch in 2, 4`."""
        step = [f"step {self.step}"] if self.step is not None and self.since is None else []
        at = ", ".join([*step, *(f"{axis}={label}" for axis, label in self.at.items())])
        over = " and ".join(f"{axis} in {', '.join(labels)}" for axis, labels in self.averaged.items())
        matched = " and ".join(part for part in (", ".join(self.matched[:-1]), *self.matched[-1:]) if part)
        parts = (f", matched by {matched}" if matched else "", f", at {at}" if at else "")
        return "".join(parts) + (f", averaged over {over}" if over else "")

    @property
    def text(self) -> str:
        """The claim in words, without axis and metric."""
        return self.statement + self.where

    @property
    def cells(self) -> list[tuple[str, ...]]:
        """The arms of each point, one for each label."""
        size = len(self.labels)
        return [self.arms[start : start + size] for start in range(0, len(self.arms), size)]

    @property
    def compared(self) -> tuple[str, ...]:
        """The values of the axis `over` that effects are compared at, the reference of an interaction first."""
        return tuple(dict.fromkeys(dict(point)[self.over] for point in self.points)) if self.over else ()

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps whose evaluations it is judged by, where it names any."""
        return tuple(step for step in (self.since, self.step) if step is not None)

    @property
    def averaged(self) -> dict[str, tuple[str, ...]]:
        """The other axes of the grid that the effect is averaged over, with their values."""
        return {axis: labels for axis, labels in self._others().items() if len(labels) > 1}

    @property
    def at(self) -> dict[str, str]:
        """The other axes of the grid on which all arms stand at one value, with this value."""
        return {axis: labels[0] for axis, labels in self._others().items() if len(labels) == 1}

    def _others(self) -> dict[str, tuple[str, ...]]:
        axes = [axis for axis, _ in self.points[0] if axis != self.over]
        return {axis: tuple(dict.fromkeys(dict(point)[axis] for point in self.points)) for axis in axes}


def resolve_claims(file: ExperimentFile, drafts: Sequence[Draft]) -> tuple[list[ResolvedClaim], list[str]]:
    """The experiment's claims about its drafts, and a line for everything in them that is wrong."""
    claims: list[ResolvedClaim] = []
    lines: list[str] = []
    for index, claim in enumerate(file.experiment.claim):
        found, wrong = _resolve_claim(claim, drafts, file)
        claims += found
        for key, text in wrong:
            path = [key] if key else []
            lines.append(f"{file.place(('claim', str(index), *path))}: {'.'.join(['claim', *path])}: {text}")
    return claims, lines


def _resolve_claim(
    claim: Claim, drafts: Sequence[Draft], file: ExperimentFile
) -> tuple[list[ResolvedClaim], list[tuple[str, str]]]:
    claim = _with_axes(claim, file)
    by_axis, grid = _values(drafts), grid_cells(claim.axis, drafts, file)
    wrong = list(misshapen(claim, file.experiment))
    alone: Mapping[str, Draft] = by_axis.get(claim.axis, {})
    values = dict.fromkeys([*alone, *(label for cell in grid.values() for label in cell)])
    if not values:
        hint = did_you_mean(claim.axis, by_axis) if by_axis else "the experiment varies nothing"
        wrong.append(("axis", f"no axis {claim.axis!r}; {hint}"))
    named = [(key, label) for key in ("better", "worse") if (label := getattr(claim, key)) is not None]
    named += [(key, label) for key in ("equivalent", "improving") for label in getattr(claim, key) or ()]
    wrong += [
        (key, f"axis {claim.axis} has no value {label!r}; {did_you_mean(label, values)}")
        for key, label in named
        if values and label not in values
    ]
    wrong += wrong_over(claim, grid, list(by_axis))
    scores = scores_of(_any_of(named, alone, grid, drafts).raw, file.parts)
    wrong += [("metric", text) for text in (*_no_scores(claim.metric, scores), *_no_direction(claim, scores))]
    if wrong:
        return [], wrong
    judged = [scores.get(metric, (metric, "min")) for metric in claim.metric]
    together = tuple(full for full, _ in judged) if len(judged) > 1 else ()
    baseline = next((draft for draft in drafts if draft.name == BASELINE), drafts[0])
    found = []
    for asked, cells in _asked(claim, alone, grid, baseline):
        if not cells:
            wrong.append(("axis", apart(claim.axis, asked.labels, {} if asked.over else alone)))
        arms = tuple(cell[label].name for cell in cells.values() for label in asked.labels)
        for full, own_direction in judged:
            direction = claim.direction or own_direction or "min"
            asks = replace(asked, arms=arms, metric=full, direction=direction, points=tuple(cells), together=together)
            found += _at_steps(asks, claim)
    return ([], wrong) if wrong else (found, [])


def _with_axes(claim: Claim, file: ExperimentFile) -> Claim:
    """Return the claim with the names of the axes that it means."""
    names = axis_names(file)
    keys = ("axis", "holds_over", "interacts_with")
    written = {key: getattr(claim, key) for key in keys}
    return claim.model_copy(update={key: axis_named(text, names) for key, text in written.items() if text is not None})


def _asked(
    claim: Claim, alone: Mapping[str, Draft], grid: Cells, baseline: Draft
) -> Iterator[tuple[ResolvedClaim, Cells]]:
    """Yield what a claim asks, yet without arms and score, and the points whose arms answer; none where it has none."""
    over = getattr(claim, key_of_over(claim) or "", None) or ""

    def asks(kind: Kind, labels: tuple[str, ...]) -> ResolvedClaim:
        return ResolvedClaim(kind, claim.axis, labels, (), "", "min", claim.margin, over=over)

    if claim.interacts_with is not None:
        yield from (
            (asks("interaction", labels), cells) for labels, cells in interactions_of(claim, grid, baseline.axes)
        )
    elif claim.improving is not None:
        yield asks("trend", claim.improving), cells_for(claim.improving, alone, grid)
    elif claim.equivalent is not None:
        yield from (
            (asks("equivalence", pair), cells_for(pair, alone, grid)) for pair in combinations(claim.equivalent, 2)
        )
    else:
        assert claim.better is not None
        alone = {} if over else alone
        values = dict.fromkeys([*alone, *(label for cell in grid.values() for label in cell)])
        others = [claim.worse] if claim.worse is not None else [label for label in values if label != claim.better]
        for labels in ((claim.better, worse) for worse in others):
            yield asks("holds_over" if over else "order", labels), cells_for(labels, alone, grid)


def _at_steps(asked: ResolvedClaim, claim: Claim) -> list[ResolvedClaim]:
    """Return a claim at each of its steps, and that its effect differs between the first and the last of several."""
    if claim.at_steps is None:
        return [replace(asked, step=claim.step)]
    first, *_, last = steps = sorted(claim.at_steps)
    change = replace(asked, kind="change", margin=None, over="", since=first, step=last)
    return [*(replace(asked, step=step) for step in steps), change]


def _no_direction(claim: Claim, scores: Mapping[str, tuple[str, Direction | None]]) -> Iterator[str]:
    """Say which scores are best at neither end, where a claim asks what is better and does not say which way."""
    if claim.direction is None and claim.equivalent is None:
        for metric in (name for name in claim.metric if name in scores and scores[name][1] is None):
            yield f"{metric} is best at neither end: claim an equivalence, or say direction: min or max"


def _no_scores(metrics: Sequence[str], scores: Mapping[str, tuple[str, Direction | None]]) -> Iterator[str]:
    """What is wrong with the scores that a claim names; nothing where the scores of its arms are not known."""
    for metric in metrics if scores else ():
        if metric not in scores:
            yield f"no metric {metric!r}; {did_you_mean(metric, scores)}"
    full = [scores[metric][0] for metric in metrics if metric in scores]
    yield from (f"names {name} twice" for name in sorted({name for name in full if full.count(name) > 1}))


def _any_of(
    named: Sequence[tuple[str, str]],
    alone: Mapping[str, Draft],
    grid: Mapping[Point, Mapping[str, Draft]],
    drafts: Sequence[Draft],
) -> Draft:
    """Return a draft of the first label that the claim names, whose scores are those of the claim."""
    label = named[0][1] if named else ""
    return next((cell[label] for cell in (alone, *grid.values()) if label in cell), drafts[0])


def _values(drafts: Sequence[Draft]) -> dict[str, dict[str, Draft]]:
    """Axis -> label -> the draft that stands for that value.

    A draft stands for its value on an axis if it differs from the first one on that axis alone; the first one stands
    for its own values.
    """
    first = drafts[0]
    by_axis: dict[str, dict[str, Draft]] = {axis: {label: first} for axis, label in first.axes.items()}
    for draft in drafts[1:]:
        differs = [axis for axis, label in draft.axes.items() if first.axes[axis] != label]
        if len(differs) == 1:
            by_axis[differs[0]].setdefault(draft.axes[differs[0]], draft)
    return by_axis


def recorded_name(score: str, recorded: Iterable[str]) -> str:
    """Return the name under which results have a score, as it is where they have none or several that it may be.

    Weights that are not the published ones give a score a name of its own, which an experiment's file cannot know:
    `fid` may be `fid[3c1f09aa]`, and `fvd` may be `fvd[i3d:3c1f09aa]`.
    """
    names = list(recorded)
    by_weights = re.compile(rf"{re.escape(score)}\[(\w+:)?[0-9a-f]{{8}}\]")
    longer = [name for name in names if by_weights.fullmatch(name)]
    return longer[0] if score not in names and len(longer) == 1 else score


def direction_of(score: str, directions: Mapping[str, Direction]) -> Direction | None:
    """Return which way a recorded score is better, None where nothing says it.

    Args:
        score: as results have it (`recorded_name`).
        directions: by the names that an experiment's file knows.
    """
    return next((way for name, way in directions.items() if recorded_name(name, [score]) == score), None)


def scores_of(raw: Mapping[str, Any], parts: Catalogue) -> dict[str, tuple[str, Direction | None]]:
    """What a claim may call a score -> its full name, and which way it is better; None where neither end is best."""
    written = raw.get("scoring")
    scoring = with_preset(written if isinstance(written, Mapping) else {})
    defaults = {name: Protocol.model_fields[name].default for name in ("detector", "second_opinions", "metrics")}
    metrics, detector, opinions = (
        scoring.get(name, defaults[name]) for name in ("metrics", "detector", "second_opinions")
    )
    found: dict[str, tuple[str, Direction | None]] = {VALIDATION_LOSS: (VALIDATION_LOSS, "min")}
    try:
        suffixes = [_suffix(one, parts) for one in (detector, *_listed(opinions))]
        for metric in _listed(metrics):
            info = parts.find("metric", _name(metric))
            way: Direction = "max" if info.fact("higher_is_better") else "min"
            for base in info.fact("scores") or (info.name,):
                for suffix in suffixes if info.fact("by_detector") else [""]:
                    score = base + suffix, None if base in info.fact("undirected") else way
                    found.setdefault(base, score)  # the short name is that of the main detector
                    found[base + suffix] = score
    except SpecError:
        return {}
    return found


def _listed(written: Any) -> Sequence[Any]:
    if written is None:
        return ()
    return written if isinstance(written, tuple | list) else [written]


def _suffix(detector: Any, parts: Catalogue) -> str:
    """What the names of scores by a detector end in, as far as that is known without its weights."""
    said = parts.find("detector", _name(detector)).fact("score_suffix")
    return f"[{_name(detector)}]" if said is None else str(said)


def _name(part: Any) -> str:
    if isinstance(part, str):
        return str(part_choice(part)["name"])
    return str(part.get("name") if isinstance(part, Mapping) else getattr(part, "name", part))
