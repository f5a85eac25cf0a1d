"""Seeds that are added until claims are decided: where each claim stands, and which arms get more.

The looks share the level (`analysis.looks`), and a claim whose chance is small is given up (`analysis.futility`), which
makes no false verdict. `analysis.look_simulations` simulates the same rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from analysis.evidence import Evidence
from analysis.futility import HOPELESS, chance_of
from analysis.looks import History, Paid, key_of
from registry.runs.given_seeds import GIVEN_UP, ClaimThen
from registry.schema.seeds import UntilDecided

if TYPE_CHECKING:
    from analysis.verdicts import Verdict

DECIDED = ("supported", "contradicted")
Stage = Literal["decided", "open", "given up", "ended", "waits"]


@dataclass(frozen=True)
class Course:
    """Where a claim of a design "until decided" stands.

    Args:
        design: how seeds are added.
        claim: digest of what is claimed (`analysis.looks.key_of`).
        stage: `open` where more seeds are to be added; `ended` where it is undecided with the most that there may be;
            `waits` where it cannot be judged: replicates are not done, or the verdict is refused.
        seeds: that it is judged with; of a claim that is decided, those that decided it.
        chance: that it, or its contrary, is shown at the last look, at most; None where nothing was estimated.
    """

    design: UntilDecided
    claim: str
    stage: Stage
    seeds: int
    chance: float | None = None

    @property
    def next(self) -> int | None:
        """With how many seeds it is judged next; None where it is not open."""
        return self.design.look_after(self.seeds) if self.stage == "open" else None

    @property
    def told(self) -> str:
        """In words: `decided at look 2 of 10`."""
        look, last = f"look {self.design.told_look(self.seeds)}", f"the last look, with {self.design.most} seeds"
        if self.stage == "decided":
            return f"decided at {look}"
        if self.stage == "open":
            return f"open: chance at most {self.chance:.0%} that {last}, shows anything; judged next with {self.next}"
        if self.stage == GIVEN_UP:
            return f"given up at {look}: chance below {HOPELESS:.0%} that {last}, shows anything"
        if self.stage == "ended":
            return f"undecided at {last}"
        return f"{look} waits, and no seeds are added for it"

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"stage": self.stage, "seeds": self.seeds, "chance": self.chance, "next": self.next}


def with_courses(
    answers: Sequence["Verdict"],
    frames: Sequence[pd.DataFrame],
    weighed: Sequence[Evidence],
    alpha: float,
    history: History,
) -> list["Verdict"]:
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


def _course(answer: "Verdict", frame: pd.DataFrame, evidence: Evidence, alpha: float, history: History) -> Course:
    """Return where a claim stands that has the level `alpha` over all looks, as Holm's method leaves it."""
    assert history.design is not None
    design, paid, key, seeds = history.design, answer.paid, key_of(frame, answer.claim), frame["seed"].nunique()
    if paid is None:
        return Course(design, key, "waits", seeds)
    if answer.verdict in DECIDED:
        return Course(design, key, "decided", _decided_with(paid))
    if seeds >= design.most:
        return Course(design, key, "ended", seeds)
    chance = 0.0 if evidence.agreement else chance_of(evidence, design.most, history.level_at_last(paid, alpha))
    if chance < HOPELESS or key in history.given_up:
        return Course(design, key, GIVEN_UP, min(seeds, history.given_up.get(key, seeds)), chance)
    return Course(design, key, "open", seeds, chance)


def _decided_with(paid: Paid) -> int:
    """Return the seeds of the look that decided a claim: the first whose verdict said so, else the present one."""
    return next((look.n for look in paid.looks if look.verdict in DECIDED), paid.looks[-1].n)


def seeds_wanted(answers: Sequence["Verdict"]) -> Mapping[str, int]:
    """Return with how many seeds each arm of an open claim is judged next, by name."""
    found: dict[str, int] = {}
    for answer in answers:
        if answer.course is not None and (then := answer.course.next) is not None:
            found |= {arm: max(found.get(arm, 0), then) for arm in answer.claim.arms}
    return found


def claim_then(answer: "Verdict", identities: Mapping[str, str]) -> ClaimThen:
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
