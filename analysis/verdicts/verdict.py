"""The answer to one claim, and as plain values; `analysis.verdicts.judging` finds it."""

from dataclasses import asdict, dataclass
from typing import Any

from analysis.results.mixed_code import MixedCode
from analysis.verdicts.course import Course
from analysis.verdicts.effects_over import EffectAt, Growth
from analysis.verdicts.evidence import Answer, PointEffect, Step
from analysis.verdicts.looks import Paid
from registry.experiment.claims import ResolvedClaim


@dataclass(frozen=True)
class Verdict:
    """The answer to one claim.

    `effect` is the mean paired difference that supports the claim (order), second less first (equivalence), the mean
    improvement per step (trend), the mean over values (an order that holds over an axis), or how much greater the
    second effect is than the first (interaction, change); `interval` is its Student-t interval at `1 - alpha`, both
    are in the score's unit;
    `effect_in_floors` is in units of the mean score of real halves, None where that floor was not measured; `n` counts
    the paired seeds; `p` is adjusted by Holm, None where no test was made; `margin` (equivalence) is in the score's
    unit, `steps` (trend) are the differences between neighbours, `points` (a main effect over a grid) the effects at
    each of its points; `reason` says in plain words why; `warnings` say what makes the verdict weaker than it looks;
    `mixed_code` says where the arms were made by different code, and `harmless` why that is no obstacle, if it is none;
    `seeds_needed` estimates how many would decide it, None where it is decided, or nothing can be estimated; `paid` has
    the looks at this claim so far, which `p` is adjusted for as well, None where there is no test, or one is planned;
    `course` says where the claim stands whose seeds are added until it is decided, None where they are listed.
    """

    claim: ResolvedClaim
    verdict: Answer
    effect: float | None
    interval: tuple[float, float] | None
    n: int
    p: float | None
    reason: str
    effect_in_floors: float | None
    protocol: str | None
    margin: float | None = None
    steps: tuple[Step, ...] = ()
    points: tuple[PointEffect, ...] = ()
    values: tuple[EffectAt, ...] = ()
    growth: Growth | None = None
    warnings: tuple[str, ...] = ()
    mixed_code: tuple[MixedCode, ...] = ()
    harmless: str = ""
    seeds_needed: int | None = None
    paid: Paid | None = None
    course: Course | None = None

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain JSON values: the claim as written, and the answer."""
        claim = self.claim
        forms: dict[str, dict[str, Any]] = {
            "order": dict(zip(("better", "worse"), claim.labels, strict=False)),
            "equivalence": {"equivalent": list(claim.labels), "margin": str(claim.margin)},
            "trend": {"improving": list(claim.labels)},
            "holds_over": {**dict(zip(("better", "worse"), claim.labels, strict=False)), "holds_over": claim.over},
            "interaction": {"effect_of": list(claim.labels), "interacts_with": claim.over},
            "change": {"effect_of": list(claim.labels), "at_steps": list(claim.steps)},
        }
        found: dict[str, Any] = {
            "axis": claim.axis,
            **forms[claim.kind],
            "metric": claim.metric,
            "verdict": self.verdict,
            "effect": self.effect,
            "interval": list(self.interval) if self.interval else None,
            "n": self.n,
            "p": self.p,
            "reason": self.reason,
            "kind": claim.kind,
            "protocol": self.protocol,
            "effect_in_floors": self.effect_in_floors,
        }
        if claim.kind == "equivalence":
            found["margin_in_score"] = self.margin
        if claim.kind == "trend":
            found["steps"] = [asdict(step) for step in self.steps]
        if self.values:
            unsaid = () if claim.kind == "holds_over" else ("shown",)  # no claim is made about each by itself
            found["values"] = [{k: v for k, v in asdict(own).items() if k not in unsaid} for own in self.values]
        if self.growth:
            found["growth"] = asdict(self.growth)
        if claim.step is not None and claim.since is None:
            found["step"] = claim.step
        if claim.matched:
            found["matched"] = list(claim.matched)
        if claim.points != ((),):
            found["averaged_over"] = {axis: list(labels) for axis, labels in claim.averaged.items()}
            found["at"] = claim.at
            found["points"] = [asdict(point) for point in self.points]
        if self.warnings:
            found["warnings"] = list(self.warnings)
        if self.paid:
            found["level"] = self.paid.level
            found["looks"] = [look.model_dump(include={"n", "p", "share"}) for look in self.paid.looks]
        if self.course:
            found["until_decided"] = self.course.as_json()
        if self.mixed_code:
            differences = [mixed.as_json() for mixed in self.mixed_code]
            found["mixed_code"] = {"differences": differences, "harmless": self.harmless or None}
        return found
