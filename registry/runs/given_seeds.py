"""Which seeds the arms of an experiment were given until its claims were decided: `seeds/0001.json`, …, none removed.

Whoever wants to know which seeds are expected of an arm now reads it here. The next number goes to one process only, as
with attempts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import Field

from registry.runs.attempts import numbered, take
from registry.runs.records import Record
from registry.runs.stored import readable
from registry.schema.seeds import UntilDecided

FOLDER = "seeds"  # in that of the experiment
GIVEN_UP: Final = "given up"  # the stage of a claim that is hopeless
UNSETTLED = ("open", "waits")  # the stages of a claim whose arms may be given more seeds


class ClaimThen(Record):
    """Where a claim stood when seeds were given.

    Args:
        claim: digest of what is claimed of which arms (`analysis.verdicts.looks.key_of`).
        says: the claim in words, with its score.
        arms: the identities of those that it is about.
        seeds: that it was judged with.
        stage: `decided`, `open`, `given up`, `ended` or `waits` (`analysis.verdicts.until_decided`).
        chance: that it, or its contrary, is shown at the last look, at most; None where nothing was estimated.
        told: all this in words.
    """

    claim: str
    says: str
    arms: tuple[str, ...] = ()
    seeds: int
    stage: str
    chance: float | None = None
    told: str = ""


class GivenSeeds(Record):
    """A decision, of which the newest says all.

    Args:
        number: counted from 1.
        time: in seconds since 1970.
        design: how seeds are added.
        given: arm's identity -> how many seeds it has from now on.
        claims: all of the experiment.
    """

    number: int = 0
    time: float = 0.0
    design: UntilDecided
    given: dict[str, int] = Field(default_factory=dict)
    claims: tuple[ClaimThen, ...] = ()

    def may_grow(self, identity: str, claims: int) -> bool:
        """Return whether an arm may be given more seeds, which so many claims are about."""
        own = [claim for claim in self.claims if identity in claim.arms]
        return len(own) < claims or any(claim.stage in UNSETTLED for claim in own)


def read_given(experiment: Path) -> list[GivenSeeds]:
    """Return the decisions of an experiment, oldest first; one that is damaged follows again from the results."""
    found = (readable(path, GivenSeeds) for path in numbered(experiment / FOLDER))
    return [one for one in found if one is not None]


def write_given(experiment: Path, made: GivenSeeds) -> None:
    """Write a decision down behind those that there are.

    Raises:
        FileExistsError: another process was quicker.
        OSError: the folder cannot be written.
    """
    number = max((int(path.stem) for path in numbered(experiment / FOLDER)), default=0) + 1
    take(experiment / FOLDER, number, made.model_dump(mode="json", exclude={"number"}))


def given_up(experiment: Path) -> dict[str, int]:
    """Return with how many seeds each claim was given up that was, by its digest."""
    then = (one for made in reversed(read_given(experiment)) for one in made.claims)
    return {one.claim: one.seeds for one in then if one.stage == GIVEN_UP}


def seeds_by_identity(
    design: UntilDecided, identities: Sequence[str], decisions: Sequence[GivenSeeds]
) -> Mapping[str, tuple[int, ...]]:
    """Return the seeds that are expected of each arm now: the first ones of the design, or those that it was given."""
    number = dict.fromkeys(identities, design.first)
    for made in decisions:
        number |= {own: max(number[own], count) for own, count in made.given.items() if own in number}
    return {own: design.seeds[:count] for own, count in number.items()}
