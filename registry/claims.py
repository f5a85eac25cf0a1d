"""Claims -> pairs of arms and a score, checked against the axes even where an arm's spec is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.catalogue import Catalogue
from registry.differences import differing
from registry.drafts import Draft
from registry.errors import SpecError, did_you_mean
from registry.experiment import Claim, ExperimentFile
from registry.protocol import Protocol
from registry.spec import Spec

VALIDATION_LOSS = "validation_loss"


@dataclass(frozen=True)
class ResolvedClaim:
    """A claim between two arms of an experiment."""

    axis: str
    better: str
    worse: str
    better_arm: str
    worse_arm: str
    metric: str
    direction: str


def resolve_claims(file: ExperimentFile, drafts: Sequence[Draft]) -> tuple[list[ResolvedClaim], list[str]]:
    """The experiment's claims, each between two of its drafts, and a line for each that names what does not exist."""
    claims: list[ResolvedClaim] = []
    lines: list[str] = []
    for index, claim in enumerate(file.experiment.claim):
        found, wrong = _resolve_claim(claim, drafts, file.parts)
        claims += found
        lines += [f"{file.place(('claim', str(index), key))}: claim.{key}: {text}" for key, text in wrong]
    return claims, lines


def _resolve_claim(
    claim: Claim, drafts: Sequence[Draft], parts: Catalogue
) -> tuple[list[ResolvedClaim], list[tuple[str, str]]]:
    by_axis = _values(drafts)
    wrong = []
    values: Mapping[str, Draft] = by_axis.get(claim.axis, {})
    if not values:
        hint = did_you_mean(claim.axis, by_axis) if by_axis else "the experiment varies nothing"
        wrong.append(("axis", f"no axis {claim.axis!r}; {hint}"))
    for key, label in (("better", claim.better), ("worse", claim.worse)):
        if values and label is not None and label not in values:
            wrong.append((key, f"axis {claim.axis} has no value {label!r}; {did_you_mean(label, values)}"))
    if claim.better == claim.worse:
        wrong.append(("worse", f"better and worse are both {claim.better!r}"))
    metrics = metric_names(values[claim.better].raw if claim.better in values else drafts[0].raw, parts)
    if metrics and claim.metric not in metrics:
        wrong.append(("metric", f"no metric {claim.metric!r}; {did_you_mean(claim.metric, metrics)}"))
    if wrong:
        return [], wrong
    others = [claim.worse] if claim.worse is not None else [label for label in values if label != claim.better]
    return [
        ResolvedClaim(claim.axis, claim.better, worse, values[claim.better].name, values[worse].name,
                      metrics.get(claim.metric, claim.metric), claim.direction)
        for worse in others
    ], []  # fmt: skip


# What two scores must share to be compared: the score of sampled clips, and the loss on fixed clips.
SHARED_BY_SCORES = (
    *(f"data.{key}" for key in ("dataset", "resolution", "frames", "picking", "transform", "antialias")),
    "scoring",
    "sampling.clips",
)
SHARED_BY_LOSSES = ("data", "diffusion")


def incomparable(claim: ResolvedClaim, better: Spec, worse: Spec) -> str:
    """Why the scores of two arms can never be compared, or nothing where they can."""
    shared = SHARED_BY_LOSSES if claim.metric == VALIDATION_LOSS else SHARED_BY_SCORES
    keys = [
        key
        for key, _, _ in differing(better.science(), worse.science())
        if any(key == prefix or key.startswith(prefix + ".") for prefix in shared)
    ]
    if not keys:
        return ""
    hint = "; set scoring.interval in the base" if "scoring.interval" in keys else ""
    return (
        f"{claim.metric} of {claim.better} and {claim.worse} cannot be compared: they differ in {', '.join(keys)}{hint}"
    )


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
    """What a claim may call a score -> the score's full name in results; empty where metric or detector is unknown.

    Args:
        raw: an arm's sections as written.
        parts: the catalogue.
    """
    metric, detector = (_choice(raw, name) for name in ("metric", "detector"))
    try:
        facts = parts.find("detector", detector).facts
        parts.find("metric", metric)
    except SpecError:
        return {}
    full = metric + facts.get("score_suffix", f"[{detector}]")
    return {metric: full, full: full, VALIDATION_LOSS: VALIDATION_LOSS}


def _choice(raw: Mapping[str, Any], name: str) -> str:
    scoring = raw.get("scoring")
    written = scoring.get(name) if isinstance(scoring, Mapping) else None
    if isinstance(written, Mapping):
        written = written.get("name")
    return str(written) if written is not None else Protocol.model_fields[name].default.name
