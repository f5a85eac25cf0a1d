"""Claims -> arms and a score, checked against the axes even where an arm's spec is wrong."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from registry.catalogue import Catalogue
from registry.claim_forms import FORMS, Claim, Margin
from registry.differences import differing
from registry.drafts import Draft
from registry.errors import SpecError, did_you_mean
from registry.experiment import ExperimentFile
from registry.protocol import Protocol, with_preset
from registry.spec import Spec
from registry.written import part_choice

MAX_LABELS = 50  # of one claim; an equivalence of so many is 1,225 claims
VALIDATION_LOSS = "validation_loss"
Direction = Literal["min", "max"]


@dataclass(frozen=True)
class ResolvedClaim:
    """A claim about arms of an experiment and one score.

    `labels` are the values on the axis and `arms` the arms that stand for them: the better and the worse (order), the
    first and the second (equivalence, with its `margin`), or from worst to best (trend).
    """

    kind: Literal["order", "equivalence", "trend"]
    axis: str
    labels: tuple[str, ...]
    arms: tuple[str, ...]
    metric: str
    direction: Direction
    margin: Margin | None = None

    @property
    def text(self) -> str:
        """The claim in words, without axis and metric."""
        if self.kind == "order":
            return f"{self.labels[0]} better than {self.labels[1]}"
        if self.kind == "equivalence":
            return f"{self.labels[0]} equivalent to {self.labels[1]} within {self.margin}"
        return f"improving from {' to '.join(self.labels)}"


def resolve_claims(file: ExperimentFile, drafts: Sequence[Draft]) -> tuple[list[ResolvedClaim], list[str]]:
    """The experiment's claims about its drafts, and a line for everything in them that is wrong."""
    claims: list[ResolvedClaim] = []
    lines: list[str] = []
    for index, claim in enumerate(file.experiment.claim):
        found, wrong = _resolve_claim(claim, drafts, file.parts)
        claims += found
        for key, text in wrong:
            path = [key] if key else []
            lines.append(f"{file.place(('claim', str(index), *path))}: {'.'.join(['claim', *path])}: {text}")
    return claims, lines


def _resolve_claim(
    claim: Claim, drafts: Sequence[Draft], parts: Catalogue
) -> tuple[list[ResolvedClaim], list[tuple[str, str]]]:
    by_axis = _values(drafts)
    wrong = list(_misshapen(claim))
    values: Mapping[str, Draft] = by_axis.get(claim.axis, {})
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
    first = values.get(named[0][1], drafts[0]) if named else drafts[0]
    scores = scores_of(first.raw, parts)
    if scores and claim.metric not in scores:
        wrong.append(("metric", f"no metric {claim.metric!r}; {did_you_mean(claim.metric, scores)}"))
    if wrong:
        return [], wrong
    full, own_direction = scores.get(claim.metric, (claim.metric, "min"))
    direction = claim.direction or own_direction

    def about(kind: Literal["order", "equivalence", "trend"], labels: tuple[str, ...]) -> ResolvedClaim:
        arms = tuple(values[label].name for label in labels)
        return ResolvedClaim(kind, claim.axis, labels, arms, full, direction, claim.margin)

    if claim.improving is not None:
        return [about("trend", claim.improving)], []
    if claim.equivalent is not None:
        return [about("equivalence", pair) for pair in combinations(claim.equivalent, 2)], []
    assert claim.better is not None
    others = [claim.worse] if claim.worse is not None else [label for label in values if label != claim.better]
    return [about("order", (claim.better, worse)) for worse in others], []


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


def unjudgeable(claim: ResolvedClaim, specs: Sequence[Spec]) -> str:
    """Why a claim can never be judged, or nothing where it can.

    Args:
        claim: with the arms that are kept for its labels.
        specs: of these arms, in the same order.
    """
    for (label, arm), (other_label, other) in combinations(zip(claim.labels, claim.arms, strict=True), 2):
        if arm == other:
            return f"{label!r} and {other_label!r} are the same arm, {arm!r}"
    return incomparable(claim, specs)


def incomparable(claim: ResolvedClaim, specs: Sequence[Spec]) -> str:
    """Why the scores of a claim's arms can never be compared, or nothing where they can."""
    for label, spec in zip(claim.labels[1:], specs[1:], strict=True):
        if keys := unshared(claim.metric, specs[0], spec):
            open_keys = [key for key in keys if _follows_from_training(key)]
            hint = f"; set {', '.join(open_keys)} in the base" if open_keys else ""
            both = f"{claim.metric} of {claim.labels[0]} and {label}"
            return f"{both} cannot be compared: they differ in {', '.join(keys)}{hint}"
    return ""


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


def scores_of(raw: Mapping[str, Any], parts: Catalogue) -> dict[str, tuple[str, Direction]]:
    """What a claim may call a score -> its full name, and which way it is better."""
    written = raw.get("scoring")
    scoring = with_preset(written if isinstance(written, Mapping) else {})
    defaults = {name: Protocol.model_fields[name].default for name in ("detector", "metrics")}
    metrics, detector = (scoring.get(name, defaults[name]) for name in ("metrics", "detector"))
    found: dict[str, tuple[str, Direction]] = {VALIDATION_LOSS: (VALIDATION_LOSS, "min")}
    try:
        suffix = parts.find("detector", _name(detector)).facts.get("score_suffix", f"[{_name(detector)}]")
        for metric in metrics if isinstance(metrics, tuple | list) else [metrics]:
            facts = parts.find("metric", _name(metric)).facts
            for base in facts.get("scores", (_name(metric),)):
                full = base + (suffix if facts.get("by_detector", True) else "")
                found[base] = found[full] = (full, "max" if facts.get("higher_is_better", False) else "min")
    except SpecError:
        return {}
    return found


def _name(part: Any) -> str:
    if isinstance(part, str):
        return str(part_choice(part)["name"])
    return str(part.get("name") if isinstance(part, Mapping) else getattr(part, "name", part))
