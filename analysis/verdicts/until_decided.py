"""Seeds that are added until claims are decided: where each claim stands, and which arms get more.

The looks share the level (`analysis.verdicts.looks`), and a claim whose chance is small is given up, which makes no
false verdict (`analysis.verdicts.futility`). `analysis.studies.look_simulations` simulates the same rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from analysis.results.results_frame import scores_by_arm
from analysis.verdicts.course import DECIDED, Course
from analysis.verdicts.evidence import Evidence
from analysis.verdicts.futility import HOPELESS, chance_of
from analysis.verdicts.looks import History, Paid, key_of
from analysis.verdicts.readiness import waits_for
from analysis.verdicts.verdict import Verdict
from registry.runs.given_seeds import GIVEN_UP, ClaimThen


def with_courses(
    answers: Sequence[Verdict],
    frames: Sequence[pd.DataFrame],
    weighed: Sequence[Evidence],
    alpha: float,
    history: History,
) -> list[Verdict]:
    """Return answers that say where their claims stand.

    Args:
        answers: to claims that are judged together.
        frames: the rows that each was judged by.
        weighed: the evidence of each.
        alpha: the level of all of them.
        history: with the design.
    """
    left = max(1, sum(answer.verdict not in DECIDED for answer in answers))
    found = []
    for answer, frame, evidence in zip(answers, frames, weighed, strict=True):
        course = _course(answer, frame, evidence, alpha / left, history)
        found.append(replace(answer, course=course, reason=f"{answer.reason}; {course.told}", seeds_needed=None))
    return found


def _course(answer: Verdict, frame: pd.DataFrame, evidence: Evidence, alpha: float, history: History) -> Course:
    """Return where a claim stands that has the level `alpha` over all looks, as Holm's method leaves it."""
    assert history.design is not None
    design, paid, key, seeds = history.design, answer.paid, key_of(frame, answer.claim), frame["seed"].nunique()
    if paid is None and not _agree(answer, frame, evidence):
        return Course(design, key, "waits", seeds)
    if paid is not None and answer.verdict in DECIDED:
        return Course(design, key, "decided", _decided_with(paid))
    if seeds >= design.most:
        return Course(design, key, "ended", seeds)
    chance = 0.0
    if paid is not None and not evidence.agreement:
        chance = chance_of(evidence, design.most, history.level_at_last(paid, alpha))
    if chance < HOPELESS or key in history.given_up:
        return Course(design, key, GIVEN_UP, min(seeds, history.given_up.get(key, seeds)), chance)
    return Course(design, key, "open", seeds, chance)


def _agree(answer: Verdict, frame: pd.DataFrame, evidence: Evidence) -> bool:
    """Return whether a claim has no test because its arms' scores agree, on all seeds that it is judged by.

    Scores that agree are what an equivalence claims: where it has no test, it is for another reason.
    """
    claim = answer.claim
    if not evidence.agreement or answer.verdict == "refused" or claim.kind == "equivalence":
        return False
    return not waits_for(frame, claim, scores_by_arm(frame, claim.arms, claim.metric))


def _decided_with(paid: Paid) -> int:
    """Return the seeds of the look that decided a claim: the first whose verdict said so, else the present one."""
    return next((look.n for look in paid.looks if look.verdict in DECIDED), paid.looks[-1].n)


def seeds_wanted(answers: Sequence[Verdict]) -> Mapping[str, int]:
    """Return with how many seeds each arm of an open claim is judged next, by name."""
    found: dict[str, int] = {}
    for answer in answers:
        if answer.course is not None and (then := answer.course.next) is not None:
            found |= {arm: max(found.get(arm, 0), then) for arm in answer.claim.arms}
    return found


def claim_then(answer: Verdict, identities: Mapping[str, str]) -> ClaimThen:
    """Return where a claim stands, to be written down.

    Args:
        answer: to the claim.
        identities: of the arms, by name.
    """
    course, claim = answer.course, answer.claim
    assert course is not None
    return ClaimThen(
        claim=course.claim,
        says=f"{claim.text} in {claim.metric}",
        arms=tuple(dict.fromkeys(identities[arm] for arm in claim.arms)),
        seeds=course.seeds,
        stage=course.stage,
        chance=course.chance,
        told={"decided": f"{answer.verdict}, {course.told}", "waits": answer.reason}.get(course.stage, course.told),
    )
