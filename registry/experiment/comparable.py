"""Which claims can be judged: whether the scores of their arms are of one measurement, and are there at all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from registry.experiment.claims import VALIDATION_LOSS, ResolvedClaim
from registry.experiment.evaluate_at import early_steps
from registry.experiment.experiment_file import Experiment
from registry.experiment.grid_cells import Point
from registry.schema.differences import differing
from registry.schema.protocol import Protocol
from registry.schema.spec import Spec

# What two scores must share to be compared: the score of sampled clips, and the loss on fixed clips. How clips are
# read for scoring follows from the training where `scoring` leaves it open, so there those keys differ as well.
SHARED_BY_SCORES = ("data.dataset", "sampling.clips", "scoring")
SHARED_BY_LOSSES = ("data", "diffusion")


def loss_protocol(spec: Spec) -> dict[str, Any]:
    """Return what the validation loss of a spec is of: losses are comparable where these nested values are equal."""
    return spec.science(SHARED_BY_LOSSES)


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
    return _incomparable_effects(claim, specs)


def _incomparable_effects(claim: ResolvedClaim, specs: Mapping[str, Spec]) -> str:
    """Why effects can never be compared over the values of another axis, or nothing where they can."""
    first: dict[Point, tuple[str, tuple[str, ...]]] = {}  # a point of the further axes -> a value of `over`, its arms
    for point, cell in zip(claim.points, claim.cells, strict=True) if claim.over else ():
        value = dict(point)[claim.over]
        rest = tuple(place for place in point if place[0] != claim.over)
        other, arms = first.setdefault(rest, (value, cell))
        if other != value and arms == cell:
            return f"{other!r} and {value!r} of {claim.over} have the same arms, {', '.join(cell)}"
        if why := incomparable(claim.metric, (f"{claim.over} {other}", f"{claim.over} {value}"),
                               [specs[arms[0]], specs[cell[0]]]):  # fmt: skip
            return why
    return ""


def unevaluated(claim: ResolvedClaim, specs: Mapping[str, Spec], experiment: Experiment) -> str:
    """Why there is no evaluation at a step that a claim names, or nothing where there is one.

    Args:
        claim: with the arms that are kept for its labels.
        specs: of these arms, by name.
        experiment: says at which steps trainings are evaluated.
    """
    for arm in claim.arms if claim.steps else ():
        steps = [*early_steps(experiment, specs[arm]), specs[arm].step]
        for step in claim.steps:
            if step not in steps:
                there = ", ".join(map(str, steps[:12])) + (", …" if len(steps) > 12 else "")
                return f"arm {arm} is not evaluated at step {step}, but at {there}; add the step to evaluate_at"
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
