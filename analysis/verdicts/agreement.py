"""Whether the verdicts on one claim agree that is judged in several scores, such as by two detectors.

Each score has a verdict of its own, adjusted over all of them (`analysis.verdicts.judging`); nothing is tested here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analysis.verdicts.verdict import Verdict

Word = Literal["agree", "disagree", "open"]
DECIDED = ("supported", "contradicted")


@dataclass(frozen=True)
class Agreement:
    """The verdicts on one claim, one for each of its scores."""

    answers: tuple[Verdict, ...]

    @property
    def word(self) -> Word:
        """`agree`: all are decided alike; `disagree`: two are decided differently; `open`: not all are decided."""
        decided = {answer.verdict for answer in self.answers if answer.verdict in DECIDED}
        if len(decided) > 1:
            return "disagree"
        return "agree" if decided and all(answer.verdict in DECIDED for answer in self.answers) else "open"

    @property
    def text(self) -> str:
        """In words: `scores agree: a supported, b supported`."""
        said = {"agree": "scores agree", "disagree": "scores disagree", "open": "not every score decides"}[self.word]
        verdicts = ", ".join(f"{answer.claim.metric} {answer.verdict}" for answer in self.answers)
        return f"{said}: {verdicts}{self._signs()}"

    def _signs(self) -> str:
        """Which way the effects point, where they do not all agree already."""
        effects = [answer.effect for answer in self.answers]
        if self.word != "open" or any(effect is None for effect in effects):
            return ""
        if self.answers[0].claim.kind == "equivalence":
            return ""  # its effect has no side that supports the claim
        alike = len({effect > 0 for effect in effects if effect is not None}) == 1
        return f"; the effects point {'the same way' if alike else 'different ways'}"

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        claim = self.answers[0].claim
        return {
            "claim": claim.text,
            "axis": claim.axis,
            "agreement": self.word,
            "verdicts": {answer.claim.metric: answer.verdict for answer in self.answers},
        }


def agreements(answers: Sequence[Verdict]) -> list[Agreement]:
    """Return one agreement for each claim that is judged in several scores and has several of these answers.

    Args:
        answers: to claims, as `analysis.verdicts.judging.judge` gives them.
    """
    groups: dict[tuple[object, ...], list[Verdict]] = {}
    for answer in answers:
        claim = answer.claim
        if claim.together:
            groups.setdefault((claim.axis, claim.text, claim.arms, claim.together), []).append(answer)
    return [Agreement(tuple(group)) for group in groups.values() if len(group) > 1]


def agreement_of(answer: Verdict, found: Sequence[Agreement]) -> Agreement | None:
    """Return the agreement that an answer is part of, None where its claim is judged in one score.

    Args:
        answer: to a claim.
        found: as `agreements` gives them of all answers.
    """
    return next((agreement for agreement in found if answer in agreement.answers), None)
