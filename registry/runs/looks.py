"""The looks that were taken at an experiment's claims: `looks/0001.json`, …, one where data had grown, none removed.

A look is what `verdict`, a report or a notebook shows. Testing again as data grow makes false verdicts, so each look is
written down and paid for (`analysis.verdicts.looks`). The next number goes to one process only, as with attempts.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from registry.runs.attempts import numbered, take
from registry.runs.records import DamagedError, Record, read_record

FOLDER = "looks"  # in that of the experiment


class Looked(Record):
    """A claim as it was seen.

    Args:
        claim: digest of what is claimed of which arms (`analysis.verdicts.looks.key_of`).
        says: the claim in words.
        metric: the score's full name.
        protocol: fingerprint of how it was measured.
        data: digest of the paired scores; equal for equal scores of equal seeds.
        n: paired seeds.
        p: of this look alone, not adjusted for anything.
        leaning: the answer that the data lean to.
        share: of the level that this look spent.
        verdict: that was given, over all claims and looks.
        effect: in the score's unit.
    """

    claim: str
    says: str = ""
    metric: str = ""
    protocol: str | None = None
    data: str
    n: int
    p: float
    leaning: str
    share: float
    verdict: str = ""
    effect: float | None = None


class Look(Record):
    """A look at claims whose data had grown since the last one.

    Args:
        number: counted from 1.
        time: in seconds since 1970.
        seeds: of the experiment as it was planned then.
        commits: that made the replicates.
        claims: those with new data.
    """

    number: int = 0
    time: float = 0.0
    seeds: tuple[int, ...] = ()
    commits: tuple[str, ...] = ()
    claims: tuple[Looked, ...] = ()


def read_looks(experiment: Path) -> tuple[list[Look], list[str]]:
    """Return the looks of an experiment, oldest first, and a line for each that cannot be read."""
    found, lost = [], []
    for path in numbered(experiment / FOLDER):
        try:
            look = read_record(path, Look)
        except (DamagedError, ValidationError, OSError):
            lost.append(
                f"{path}: this look cannot be read, and what it saw is unknown: it counts as one at every claim; put "
                "the file back from a copy, if there is one"
            )
            continue
        if look is not None:
            found.append(look)
    return found, lost


def record_look(experiment: Path, look: Look, known: Sequence[Path]) -> Path:
    """Write a look down behind those that are known.

    Raises:
        FileExistsError: another process was quicker; read its look first.
        OSError: the folder cannot be written.
    """
    number = max((int(path.stem) for path in known), default=0) + 1
    return take(experiment / FOLDER, number, look.model_dump(mode="json", exclude={"number"}))


def look_files(experiment: Path) -> list[Path]:
    """Return the files of an experiment's looks, oldest first."""
    return numbered(experiment / FOLDER)
