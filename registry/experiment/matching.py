"""Arms brought near the baseline in parameters or multiply-accumulates by changing depth, in one way or in several."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from registry.errors import SpecError
from registry.experiment.arm import Arm
from registry.experiment.claims import ResolvedClaim
from registry.experiment.expand import Draft
from registry.experiment.experiment_file import MATCHED_AXIS, ExperimentFile, dotted, merge
from registry.experiment.resolve import Problem
from registry.schema.spec import Spec
from registry.strict_yaml import Key

Count = Callable[[Spec], dict[str, float]]  # spec -> the count of its network by each name that `Match` has
Resolve = Callable[[ExperimentFile, Mapping[str, Any]], tuple[Spec | None, list[Problem]]]


@dataclass
class Candidate:
    """An arm as far as it is right.

    Args:
        draft: as written.
        arm: with defaults where what was written is wrong.
        unknown: the keys of these.
        way: what it is to be matched in; None: the only way of the experiment, if it has one.
        uncountable: its network cannot be assembled.
    """

    draft: Draft
    arm: Arm
    unknown: list[Key]
    way: str | None = None
    uncountable: bool = False


def ways_of(file: ExperimentFile) -> dict[str, float | None]:
    """Return what the experiment matches its arms in, with tolerances; none where it does not match them."""
    return file.experiment.match.ways if file.experiment.match is not None else {}


def in_each_way(file: ExperimentFile, found: Sequence[Candidate], baseline: Draft) -> list[Candidate]:
    """Return each candidate once for every way of matching, with the way among its axes; the baseline once.

    The first way's arms keep their names, so that the arms of an experiment that is matched in more ways than before
    are still called what they were.
    """
    ways = list(ways_of(file))
    if len(ways) < 2:
        return list(found)
    made = []
    for one in found:
        for way in ways[:1] if one.draft is baseline else ways:
            axes = {**one.arm.axes, MATCHED_AXIS: way}
            name = _name(one.arm.name, way, ways)
            made.append(replace(one, way=way, arm=Arm(name, axes, one.arm.spec)))
    return made


def claims_in_each_way(file: ExperimentFile, claims: Sequence[ResolvedClaim], baseline: Draft) -> list[ResolvedClaim]:
    """Return each claim once for every way of matching, about the arms that are matched so."""
    ways = list(ways_of(file))
    if len(ways) < 2:
        return list(claims)
    return [
        replace(
            claim,
            matched=(way,),
            arms=tuple(name if name == baseline.name else _name(name, way, ways) for name in claim.arms),
        )
        for claim in claims
        for way in ways
    ]


def told_once(claims: Sequence[ResolvedClaim]) -> list[ResolvedClaim]:
    """Return claims with those in one that are about the same arms in several ways of matching."""
    kept: dict[ResolvedClaim, tuple[str, ...]] = {}
    for claim in claims:
        alike = replace(claim, matched=())
        kept[alike] = kept.get(alike, ()) + claim.matched
    return [replace(claim, matched=ways) for claim, ways in kept.items()]


def _name(arm: str, way: str, ways: Sequence[str]) -> str:
    return arm if way == ways[0] else f"{arm},{MATCHED_AXIS}={way}"


def all_matched(file: ExperimentFile, found: list[Candidate], count: Count, resolve: Resolve) -> list[str]:
    """Bring arms to the depth that `match` asks for; a line for each problem.

    Args:
        file: the experiment.
        found: the first is what the others are matched to; their arms are changed in place.
        count: counts parameters and MACs.
        resolve: makes a spec of what is written.
    """
    lines: list[str] = []
    refused: dict[str, list[str]] = {}
    ways = ways_of(file)
    for one in found:
        try:
            way = one.way or next(iter(ways))
            if one is found[0] or found[0].uncountable or ways[way] is None:
                count(one.arm.spec)
                continue
            spec, wrong = matched(file, one.draft, one.arm, found[0].arm.spec, Matching(way, count, resolve))
            one.arm = replace(one.arm, spec=spec)
            lines += wrong
        except SpecError as error:  # shapes that do not go together, found while counting
            one.uncountable = True
            for text in error.problems:
                refused.setdefault(text, []).append(one.arm.name)
    return lines + [file.line(text, names, len(found)) for text, names in refused.items()]


@dataclass(frozen=True)
class Matching:
    """How an arm is matched.

    Args:
        way: what is brought near the baseline's.
        count: counts parameters and MACs.
        resolve: makes a spec of what is written.
    """

    way: str
    count: Count
    resolve: Resolve


def matched(file: ExperimentFile, draft: Draft, arm: Arm, baseline: Spec, matching: Matching) -> tuple[Spec, list[str]]:
    """The arm's spec at the depth that brings it nearest to the baseline, if that is within the tolerance."""
    spec, what, count = arm.spec, matching.way, matching.count
    tolerance = ways_of(file)[what] or 0.0
    step = file.parts.find("blocks", spec.model.blocks.name).fact("depth_multiple")
    target = count(baseline)[what]

    def off(depth: int) -> float:
        """How far the arm is from the baseline at that depth; what else it is made of stays."""
        model = spec.model.model_copy(update={"depth": depth})
        return count(spec.model_copy(update={"model": model}))[what] / target - 1

    # Parameters and MACs are affine in depth, so two depths give the line and the nearest whole depth.
    first, second = step, 2 * step
    slope = (off(second) - off(first)) / step
    wished = first - off(first) / slope
    nearest = sorted({max(step, int(wished // step) * step + k * step) for k in (0, 1)})
    candidates = sorted(nearest, key=lambda depth: abs(off(depth)))
    if abs(off(candidates[0])) > tolerance:
        tried = "; ".join(f"depth {depth} is {off(depth):+.1%}" for depth in candidates)
        return spec, [
            f"{file.place(draft.place)}: arm {arm.name}: no depth brings its {what} within {tolerance:.1%} of the "
            f"baseline's ({tried}); widen match, or change the width"
        ]
    deeper = {**draft.raw, "model": copy.deepcopy(draft.raw.get("model", {}))}
    merge(deeper, ("model", "depth"), candidates[0])
    found, problems = matching.resolve(file, deeper)
    lines = [f"{file.place(draft.place)}: arm {arm.name}: {dotted(key)}: {text}" for key, text in problems]
    return found or spec, lines
