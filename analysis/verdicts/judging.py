"""Claims -> verdicts: supported, contradicted, or, unless the seeds show it, undecided; refused over mixed code.

The rule (docs/statistics.md has its reasons and its error rates). Arms are paired by seed. No test is made before
every planned seed of every arm of the claim is done: looking again and again until a test succeeds, and leaving out
the seeds that failed, both make false verdicts. Then Student's t decides at `alpha`, adjusted by Holm over all claims
judged together, of whichever kind. Arms that were made by different code differ in more than their axes: a verdict
on them is refused, unless whoever asks says why the difference is harmless.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.results.floors import Floors
from analysis.results.mixed_code import MixedCode, lines, mixed_code_of
from analysis.results.results_frame import full_name
from analysis.statistics.power import MOST_SEEDS, POWER
from analysis.statistics.t_tests import holm
from analysis.verdicts.effects_over import EffectAt
from analysis.verdicts.evidence import Evidence, weigh
from analysis.verdicts.looks import History, Paid
from analysis.verdicts.readiness import pairs
from analysis.verdicts.reason_words import judged_parts, said_of_points, said_of_steps, said_of_values
from analysis.verdicts.stepwise import rows_of
from analysis.verdicts.until_decided import with_courses
from analysis.verdicts.verdict import Verdict
from registry.experiment.claims import ResolvedClaim

REMEDY = "`launch --again` makes anew what other code made; `--mixed-code REASON` judges all the same"


def judge(
    frame: pd.DataFrame,
    claims: Sequence[ResolvedClaim],
    alpha: float = 0.05,
    floors: Floors = (),
    harmless: str = "",
    by_step: Mapping[int, pd.DataFrame] | None = None,
    history: History | None = None,
) -> list[Verdict]:
    """One verdict per claim; the claims are one family.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
        claims: about arms of the frame.
        alpha: the chance of any false verdict among these claims.
        floors: the records of floors.json.
        harmless: why differences in the code that made the arms do not matter; empty: a verdict on them is refused.
        by_step: step -> the evaluations at that step, in the same form, for claims that name one.
        history: the looks that were taken before, which share `alpha` with this one; None: this is the one look.

    Raises:
        RunError: a claim compares scores of different data or protocols.
    """
    rows = [rows_of(frame, claim, by_step or {}) for claim in claims]
    frames = [own for own, _ in rows]
    asked = [replace(claim, metric=full_name(own, claim.metric)) for own, claim in rows]
    if history is not None:
        frames = [history.rows(own, claim) for own, claim in zip(frames, asked, strict=True)]
    weighed = [weigh(own, claim, floors, alpha) for own, claim in zip(frames, asked, strict=True)]
    mixed = [tuple(mixed_code_of(own, claim.arms, claim.metric)) for own, claim in zip(frames, asked, strict=True)]
    refused = [bool(found) and not harmless for found in mixed]
    family = _Family(alpha, len(claims), history)
    paid = [
        family.paid(own, claim, evidence) if not no else None
        for own, claim, evidence, no in zip(frames, asked, weighed, refused, strict=True)
    ]
    over_looks = [own.p if own else evidence.p for own, evidence in zip(paid, weighed, strict=True)]
    adjusted = holm([None if no else p for p, no in zip(over_looks, refused, strict=True)])
    answers = [
        _refused(claim, evidence, found)
        if no
        else replace(
            _verdict(claim, evidence, p, family, own), mixed_code=found, harmless=harmless if found else "", paid=own
        )
        for claim, evidence, p, found, no, own in zip(asked, weighed, adjusted, mixed, refused, paid, strict=True)
    ]
    if history is not None and history.design is not None:
        answers = with_courses(answers, frames, weighed, alpha, history)
    named = (replace(claim, metric=own.metric) for claim, own in zip(claims, asked, strict=True))
    return [replace(answer, claim=claim) for answer, claim in zip(answers, named, strict=True)]


@dataclass(frozen=True)
class _Family:
    """What the claims that are judged together share."""

    alpha: float
    claims: int
    history: History | None

    @property
    def level(self) -> float:
        """The level that each claim has for sure."""
        return self.alpha / self.claims

    def paid(self, frame: pd.DataFrame, claim: ResolvedClaim, evidence: Evidence) -> Paid | None:
        """Return what a claim's test is worth over the looks so far."""
        return self.history.paid(frame, claim, evidence, self.level) if self.history else None

    def level_next(self, paid: Paid | None, n: int) -> float:
        """Return the level that a claim has at a look with more seeds than the n that there are."""
        if self.history is None:
            return self.level
        return self.level * self.history.share_of_next(paid, self.history.design.most if self.history.design else n + 1)


def refusal(answers: Sequence[Verdict]) -> str:
    """Return which claims were refused a verdict and what to do, empty where none was."""
    refused = [answer.claim.text for answer in answers if answer.verdict == "refused"]
    if not refused:
        return ""
    of = f"{len(refused)} of {len(answers)} verdicts {'is' if len(refused) == 1 else 'are'} refused"
    return f"{of}, because different code made the arms: {'; '.join(refused)}; {REMEDY}"


def _refused(claim: ResolvedClaim, evidence: Evidence, mixed: tuple[MixedCode, ...]) -> Verdict:
    """Return the answer to a claim about arms that were made by different code: no number that would say anything."""
    reason = "; ".join([*lines(mixed), REMEDY])
    return Verdict(
        claim, "refused", None, None, evidence.test.n, None, reason, None, evidence.protocol,
        warnings=evidence.warnings, mixed_code=mixed,
    )  # fmt: skip


def _verdict(claim: ResolvedClaim, evidence: Evidence, p: float | None, family: _Family, paid: Paid | None) -> Verdict:
    test = evidence.test
    shown = p is not None and p <= family.alpha
    leaning = paid.leaning if paid else evidence.leaning
    in_floors = test.mean / evidence.floor if test.mean is not None and evidence.floor is not None else None
    return Verdict(
        claim=claim,
        verdict=leaning if shown else "undecided",
        effect=test.mean,
        interval=test.interval,
        n=test.n,
        p=p,
        reason=evidence.obstacle or _reason(claim, evidence, p or 0.0, family, paid),
        effect_in_floors=in_floors,
        protocol=evidence.protocol,
        margin=evidence.margin,
        steps=judged_parts(evidence.steps, evidence, paid.level if paid else family.level, shown),
        points=evidence.points,
        values=_judged_values(claim, evidence, paid.level if paid else family.level, shown),
        growth=evidence.growth,
        warnings=evidence.warnings,
        seeds_needed=_seeds_to_decide(evidence, family, paid) if not shown and p is not None else None,
    )


def _reason(claim: ResolvedClaim, evidence: Evidence, p: float, family: _Family, paid: Paid | None) -> str:
    shown, level = p <= family.alpha, paid.level if paid else family.level
    told = [pairs(evidence.test.n), _told(evidence, p, family, paid)]
    if claim.kind == "equivalence":
        place = "within" if evidence.leaning == "supported" else "beyond"
        told.insert(1, f"the mean difference is {place} the margin, ±{evidence.margin:.3g}")
    elif claim.kind == "trend":
        told += said_of_steps(judged_parts(evidence.steps, evidence, level, shown), evidence, level)
    elif claim.over:
        told += said_of_values(claim, _judged_values(claim, evidence, level, shown), evidence.growth)
    if len(evidence.points) > len(evidence.values):
        told.append(said_of_points(evidence.points))
    if not shown and not evidence.agreement and not (family.history and family.history.design):
        told.append(_more_seeds(claim, evidence, family, paid))
    if evidence.agreement:
        told.append(evidence.agreement)
    return "; ".join(told)


def _judged_values(claim: ResolvedClaim, evidence: Evidence, level: float, shown: bool) -> tuple[EffectAt, ...]:
    """Return the effects that are compared; of an order that holds over an axis, with those marked that are shown."""
    return judged_parts(evidence.values, evidence, level, shown) if claim.kind == "holds_over" else evidence.values


def _told(evidence: Evidence, p: float, family: _Family, paid: Paid | None) -> str:
    """`p = 0.03 (0.0075 alone, adjusted for 3 claims and for looks), at most 0.05; look 1, at level 0.013 of 0.017`."""
    adjusted = [f"for {family.claims} claims"] if family.claims > 1 else []
    adjusted += ["for looks"] if paid else []
    alone = f" ({evidence.p:.2g} alone, adjusted {' and '.join(adjusted)})" if adjusted else ""
    sides = f"p = {p:.2g}{alone}, {'at most' if p <= family.alpha else 'above'} {family.alpha:g}"
    if paid is None:
        return sides
    now = paid.looks[-1]
    earlier = p <= family.alpha and (now.leaning != paid.leaning or now.p > paid.level)
    return f"{sides}; {paid.told}{', and was shown at an earlier one' if earlier and len(paid.looks) > 1 else ''}"


def _seeds_to_decide(evidence: Evidence, family: _Family, paid: Paid | None) -> int | None:
    """An estimate of the seeds that would decide a claim: more than there are; None where more would show the same."""
    level = family.level_next(paid, evidence.test.n)
    needed = None if evidence.agreement or level <= 0 else evidence.seeds_needed(level)
    return None if needed is None else max(needed, evidence.test.n + 1)


def _more_seeds(claim: ResolvedClaim, evidence: Evidence, family: _Family, paid: Paid | None) -> str:
    alpha = family.level_next(paid, evidence.test.n)
    if alpha <= 0:
        return "the level is spent: more seeds of this experiment show nothing more"
    what = {
        "order": "an effect of this size",
        "trend": "steps of this size" if evidence.leaning == "supported" else "a trend of this size",
        "equivalence": f"that a difference of this size is {'within' if evidence.leaning == 'supported' else 'beyond'}"
        " the margin",
        "holds_over": f"effects of this size at every {claim.over}"
        if evidence.leaning == "supported"
        else "the contrary effect at one of them",
        "interaction": "a difference of this size",
        "change": "a change of this size",
    }[claim.kind]
    needed = evidence.seeds_needed(alpha)
    if needed is None and any((step.effect or 0.0) <= 0 for step in evidence.steps) and evidence.leaning == "supported":
        return "a step that gets worse on average is not shown to improve by more seeds"
    if needed is None:
        return f"more than {MOST_SEEDS} seeds would be needed to show {what} (estimate)"
    if needed <= evidence.test.n:
        return f"about {evidence.test.n + 1} seeds or more would be needed (estimate from {evidence.test.n} noisy ones)"
    return f"about {needed} seeds would show {what} with {POWER:.0%} power (estimate)"
