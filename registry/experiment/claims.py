"""Claims -> arms and a score, checked against the axes even where an arm's spec is wrong."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from registry.errors import SpecError, did_you_mean
from registry.experiment.evaluate_at import early_steps
from registry.experiment.expand import Draft
from registry.experiment.experiment_file import Experiment, ExperimentFile
from registry.experiment.grid_cells import Point, apart, cells_for, grid_cells
from registry.experiment.written import part_choice
from registry.parts.catalogue import Catalogue
from registry.schema.claim import FORMS, Claim, Margin
from registry.schema.differences import differing
from registry.schema.protocol import Protocol, with_preset
from registry.schema.spec import Spec

MAX_LABELS = 50  # of one claim; an equivalence of so many is 1,225 claims
VALIDATION_LOSS = "validation_loss"
Direction = Literal["min", "max"]


@dataclass(frozen=True)
class ResolvedClaim:
    """A claim about arms of an experiment and one score.

    `labels` are the values on the axis and `arms` the arms that stand for them: the better and the worse (order), the
    first and the second (equivalence, with its `margin`), or from worst to best (trend). A claim about an axis of a
    grid is about its main effect: `points` has the places on the grid's other axes, and `arms` as many arms for each
    of them, one after the other. Any other claim has one point, which is empty.
    """

    kind: Literal["order", "equivalence", "trend"]
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

    @property
    def statement(self) -> str:
        """The claim in words, without axis, metric and where it is judged."""
        if self.kind == "order":
            return f"{self.labels[0]} better than {self.labels[1]}"
        if self.kind == "equivalence":
            return f"{self.labels[0]} equivalent to {self.labels[1]} within {self.margin}"
        return f"improving from {' to '.join(self.labels)}"

    @property
    def where(self) -> str:
        """Where it is judged, as far as it is said: `, at step 1000, frames=16, averaged over patch in 2, 4`."""
        step = [f"step {self.step}"] if self.step is not None else []
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
    def averaged(self) -> dict[str, tuple[str, ...]]:
        """The other axes of the grid that the effect is averaged over, with their values."""
        return {axis: labels for axis, labels in self._others().items() if len(labels) > 1}

    @property
    def at(self) -> dict[str, str]:
        """The other axes of the grid on which all arms stand at one value, with this value."""
        return {axis: labels[0] for axis, labels in self._others().items() if len(labels) == 1}

    def _others(self) -> dict[str, tuple[str, ...]]:
        axes = [axis for axis, _ in self.points[0]]
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
    by_axis, grid = _values(drafts), grid_cells(claim.axis, drafts, file)
    wrong = list(_misshapen(claim))
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
    scores = scores_of(_any_of(named, alone, grid, drafts).raw, file.parts)
    wrong += [("metric", text) for text in _no_scores(claim.metric, scores)]
    if wrong:
        return [], wrong
    asked: list[tuple[Literal["order", "equivalence", "trend"], tuple[str, ...]]]
    if claim.improving is not None:
        asked = [("trend", claim.improving)]
    elif claim.equivalent is not None:
        asked = [("equivalence", pair) for pair in combinations(claim.equivalent, 2)]
    else:
        assert claim.better is not None
        others = [claim.worse] if claim.worse is not None else [label for label in values if label != claim.better]
        asked = [("order", (claim.better, worse)) for worse in others]
    judged = [scores.get(metric, (metric, "min")) for metric in claim.metric]
    together = tuple(full for full, _ in judged) if len(judged) > 1 else ()
    found = []
    for kind, labels in asked:
        cells = cells_for(labels, alone, grid)
        if not cells:
            wrong.append(("axis", apart(claim.axis, labels, alone)))
        arms = tuple(cell[label].name for cell in cells.values() for label in labels)
        for full, own_direction in judged:
            direction, points = claim.direction or own_direction, tuple(cells)
            asks = ResolvedClaim(kind, claim.axis, labels, arms, full, direction, claim.margin, points, claim.step)
            found.append(replace(asks, together=together))
    return ([], wrong) if wrong else (found, [])


def _no_scores(metrics: Sequence[str], scores: Mapping[str, tuple[str, Direction]]) -> Iterator[str]:
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


def _misshapen(claim: Claim) -> Iterator[tuple[str, str]]:
    """What is wrong with a claim's form, as (key, message)."""
    given = [key for key in FORMS if getattr(claim, key) is not None]
    if not given:
        yield "", f"give one of {', '.join(FORMS)}: what is expected to be better, equivalent or improving"
    for key in given[1:]:
        yield key, f"a claim has one of {', '.join(FORMS)}; this has {given[0]} as well: write two claims"
    for key, owner in (("worse", "better"), ("margin", "equivalent")):
        if given and getattr(claim, key) is not None and getattr(claim, owner) is None:
            yield key, f"goes with {owner}, not with {given[0]}"
    if claim.better is not None and claim.better == claim.worse:
        yield "worse", f"better and worse are both {claim.better!r}"
    if claim.equivalent is not None:
        if claim.margin is None:
            yield "equivalent", "say within what: margin: 5%, or 1 floor, or a number in the score's unit"
        if claim.direction is not None:
            yield "direction", "goes with better or improving: equivalence has no direction"
    for key, fewest, advice in (("equivalent", 2, ""), ("improving", 3, "; for two write better and worse")):
        labels = getattr(claim, key)
        if labels is not None and len(labels) < fewest:
            yield key, f"expected at least {fewest} values, got {len(labels)}{advice}"
        if labels is not None and len(labels) > MAX_LABELS:
            yield key, f"names {len(labels):,} values; {MAX_LABELS} are the most"
        if labels is not None and (twice := sorted({label for label in labels if labels.count(label) > 1})):
            yield key, f"names {', '.join(map(repr, twice))} twice"


# What two scores must share to be compared: the score of sampled clips, and the loss on fixed clips. How clips are
# read for scoring follows from the training where `scoring` leaves it open, so there those keys differ as well.
SHARED_BY_SCORES = ("data.dataset", "sampling.clips", "scoring")
SHARED_BY_LOSSES = ("data", "diffusion")


def unjudgeable(claim: ResolvedClaim, specs: Mapping[str, Spec]) -> str:
    """Why a claim can never be judged, or nothing where it can.

    Args:
        claim: with the arms that are kept for its labels.
        specs: of these arms, by name.
    """
    for point, cell in zip(claim.points, claim.cells, strict=True):
        at = f" at {', '.join(f'{axis}={label}' for axis, label in point)}" if point else ""
        for (label, arm), (other_label, other) in combinations(zip(claim.labels, cell, strict=True), 2):
            if arm == other:
                return f"{label!r} and {other_label!r} are the same arm{at}, {arm!r}"
        if why := incomparable(claim.metric, claim.labels, [specs[arm] for arm in cell]):
            return why
    return ""


def unevaluated(claim: ResolvedClaim, specs: Mapping[str, Spec], experiment: Experiment) -> str:
    """Why there is no evaluation at the step that a claim names, or nothing where there is one.

    Args:
        claim: with the arms that are kept for its labels.
        specs: of these arms, by name.
        experiment: says at which steps trainings are evaluated.
    """
    for arm in claim.arms if claim.step is not None else ():
        steps = [*early_steps(experiment, specs[arm]), specs[arm].step]
        if claim.step not in steps:
            there = ", ".join(map(str, steps[:12])) + (", …" if len(steps) > 12 else "")
            return f"arm {arm} is not evaluated at step {claim.step}, but at {there}; add the step to evaluate_at"
    return ""


def incomparable(metric: str, labels: Sequence[str], specs: Sequence[Spec]) -> str:
    """Why the scores of a point's arms, one for each label, can never be compared, or nothing where they can."""
    for label, spec in zip(labels[1:], specs[1:], strict=True):
        if keys := unshared(metric, specs[0], spec):
            open_keys = [key for key in keys if _follows_from_training(key)]
            hint = f"; set {', '.join(open_keys)} in the base" if open_keys else ""
            both = f"{metric} of {labels[0]} and {label}"
            return f"{both} cannot be compared: they differ in {', '.join(keys)}{hint}"
    return ""


def averageable(claim: ResolvedClaim, specs: Mapping[str, Spec]) -> list[ResolvedClaim]:
    """Return the claim once for each group of its points whose scores are of one measurement and can be averaged.

    A grid that also varies the data, or how a score is measured, is not averaged over that axis: there the claim is
    judged at each value by itself.

    Args:
        claim: with the arms that are kept for its labels.
        specs: of these arms, by name.
    """
    cells = claim.cells
    first_of = {cell: number for number, cell in reversed(list(enumerate(cells)))}  # the same arms are one point
    groups: list[list[int]] = []
    for cell, number in sorted(first_of.items(), key=lambda item: item[1]):
        alike = (own for own in groups if not unshared(claim.metric, specs[cells[own[0]][0]], specs[cell[0]]))
        group = next(alike, None)
        groups.append([number]) if group is None else group.append(number)
    return [
        replace(
            claim,
            arms=tuple(arm for number in group for arm in cells[number]),
            points=tuple(claim.points[number] for number in group),
        )
        for group in groups
    ]


def unshared(metric: str, left: Spec, right: Spec) -> list[str]:
    """The keys in which two specs differ although this score of theirs is only comparable where they do not."""
    shared = SHARED_BY_LOSSES if metric.startswith(VALIDATION_LOSS) else SHARED_BY_SCORES
    return [
        key
        for key, _, _ in differing(left.science(), right.science())
        if any(key == prefix or key.startswith(prefix + ".") for prefix in shared)
    ]


def _follows_from_training(key: str) -> bool:
    section, _, name = key.partition(".")
    return section == "scoring" and name in Protocol.model_fields and Protocol.model_fields[name].default is None


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


def metric_names(raw: Mapping[str, Any], parts: Catalogue) -> dict[str, str]:
    """What a claim may call a score -> the score's full name in results; empty where a metric or detector is unknown.

    Args:
        raw: an arm's sections as written.
        parts: the catalogue.
    """
    return {name: full for name, (full, _) in scores_of(raw, parts).items()}


def recorded_name(score: str, recorded: Iterable[str]) -> str:
    """Return the name under which results have a score, as it is where they have none or several that it may be.

    Weights that are not the published ones give a score a name of its own, which an experiment's file cannot know:
    `fid` may be `fid[3c1f09aa]`, and `fvd` may be `fvd[i3d:3c1f09aa]`.
    """
    names = list(recorded)
    by_weights = re.compile(rf"{re.escape(score)}\[(\w+:)?[0-9a-f]{{8}}\]")
    longer = [name for name in names if by_weights.fullmatch(name)]
    return longer[0] if score not in names and len(longer) == 1 else score


def scores_of(raw: Mapping[str, Any], parts: Catalogue) -> dict[str, tuple[str, Direction]]:
    """What a claim may call a score -> its full name, and which way it is better."""
    written = raw.get("scoring")
    scoring = with_preset(written if isinstance(written, Mapping) else {})
    defaults = {name: Protocol.model_fields[name].default for name in ("detector", "second_opinions", "metrics")}
    metrics, detector, opinions = (
        scoring.get(name, defaults[name]) for name in ("metrics", "detector", "second_opinions")
    )
    found: dict[str, tuple[str, Direction]] = {VALIDATION_LOSS: (VALIDATION_LOSS, "min")}
    try:
        suffixes = [_suffix(one, parts) for one in (detector, *_listed(opinions))]
        for metric in _listed(metrics):
            info = parts.find("metric", _name(metric))
            for base in info.fact("scores") or (info.name,):
                for suffix in suffixes if info.fact("by_detector") else [""]:
                    score: tuple[str, Direction] = (base + suffix, "max" if info.fact("higher_is_better") else "min")
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
