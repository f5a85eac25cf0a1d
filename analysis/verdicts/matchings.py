"""The verdicts on one claim side by side, where arms are matched in several ways (`match` of the experiment).

A way of matching is a way of being fair: at equal steps an arm may have more parameters or spend more arithmetic. Each
way has a verdict of its own, adjusted over all of them (`analysis.verdicts.judging`); nothing is tested here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.verdicts.verdict import Verdict
from registry.experiment.claims import ResolvedClaim


@dataclass(frozen=True)
class SideBySide:
    """The verdicts on one claim, one or more for each way of matching."""

    answers: tuple[Verdict, ...]

    @property
    def claim(self) -> ResolvedClaim:
        """The claim, without what its arms are matched by."""
        return replace(self.answers[0].claim, matched=())

    @property
    def by_way(self) -> dict[str, str]:
        """Way of matching -> verdict; ways that leave an arm as it is share one."""
        return {way: answer.verdict for answer in self.answers for way in answer.claim.matched}

    @property
    def text(self) -> str:
        """In words: `at equal steps and parameters supported, at equal macs undecided`."""
        verdicts = dict.fromkeys(self.by_way.values())
        ways = {verdict: [way for way, own in self.by_way.items() if own == verdict] for verdict in verdicts}
        return ", ".join(f"at equal {' and '.join(own)} {verdict}" for verdict, own in ways.items())

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"claim": self.claim.text, "axis": self.claim.axis, "metric": self.claim.metric, "verdicts": self.by_way}


def side_by_side(answers: Sequence[Verdict]) -> list[SideBySide]:
    """Return the verdicts on each claim together whose arms are matched in several ways.

    Args:
        answers: to claims, as `analysis.verdicts.judging.judge` gives them.
    """
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for answer in answers:
        claim = answer.claim
        if claim.matched:
            groups.setdefault((claim.axis, claim.metric, replace(claim, matched=()).text), []).append(answer)
    return [SideBySide(tuple(group)) for group in groups.values()]
