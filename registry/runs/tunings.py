"""What the tuning of an experiment's arms has chosen: `<experiment>-tuning/chosen/<key>.json`, a file an arm.

A choice is written once, before any replicate that counts is made with it, and never changed: what is chosen belongs to
the arm's identity. The key is a hash of what was tried, so that another list, budget or metric is another tuning.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry.runs.files import write_atomically
from registry.runs.records import Record, read_record, sealed

SUFFIX = "-tuning"  # behind the experiment's name: that of its tuning
FOLDER = "chosen"  # in that of the tuning
DIGITS = 10  # of a key


class Tried(Record):
    """A candidate of an arm.

    Args:
        values: by key of the spec.
        identity: of the short training's spec.
        score: the mean over the seeds of the tuning; None: its loss did not stay finite.
    """

    values: dict[str, Any]
    identity: str
    score: float | None = None


class TunedArm(Record):
    """What an arm's tuning has chosen, and from what.

    Args:
        arm: its name when it was tuned.
        values: by key of the spec: those that were chosen.
        identity: of the short training that tried them.
        metric: that candidates were compared by; the least is best, of equals the first.
        raw: whether it was that of the weights themselves and not of their average.
        steps: of each short training.
        seeds: of the short trainings.
        tried: every candidate, in the order of the file.
    """

    arm: str
    values: dict[str, Any]
    identity: str
    metric: str
    raw: bool
    steps: int
    seeds: tuple[int, ...]
    tried: list[Tried]

    @property
    def at_edge(self) -> list[str]:
        """The keys whose chosen value is the least or the greatest number of their list."""
        found = []
        for key, value in self.values.items():
            numbers = [one.values[key] for one in self.tried if _is_number(one.values[key])]
            if _is_number(value) and value in (min(numbers), max(numbers)):
                found.append(key)
        return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def tuning_key(identities: Sequence[str], metric: str, seeds: Sequence[int]) -> str:
    """Return what names the choice of an arm.

    Args:
        identities: of its candidates' short trainings, in the order of the file.
        metric: that they are compared by.
        seeds: of the short trainings.
    """
    about = json.dumps({"candidates": list(identities), "metric": metric, "seeds": list(seeds)})
    return hashlib.sha256(about.encode()).hexdigest()[:DIGITS]


def read_tuned(tuning: Path, key: str) -> TunedArm | None:
    """Return what was chosen, None where nothing was.

    Args:
        tuning: the tuning's folder.
        key: of the arm's candidates.

    Raises:
        DamagedError: the file does not hold what was written.
    """
    return read_record(tuning / FOLDER / f"{key}.json", TunedArm)


def write_tuned(tuning: Path, key: str, chosen: TunedArm) -> None:
    """Write down what was chosen; the arguments are those of `read_tuned`."""
    path = tuning / FOLDER / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(sealed(chosen.model_dump(mode="json")), indent=1) + "\n")
