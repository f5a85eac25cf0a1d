"""Where a claim stands whose seeds are added until it is decided; `analysis.verdicts.until_decided` finds it."""

from dataclasses import dataclass
from typing import Any, Literal

from analysis.verdicts.futility import HOPELESS
from registry.runs.given_seeds import GIVEN_UP
from registry.schema.seeds import UntilDecided

DECIDED = ("supported", "contradicted")
Stage = Literal["decided", "open", "given up", "ended", "waits"]


@dataclass(frozen=True)
class Course:
    """Where a claim of a design "until decided" stands.

    Args:
        design: how seeds are added.
        claim: digest of what is claimed (`analysis.verdicts.looks.key_of`).
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
