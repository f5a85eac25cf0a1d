"""The floors that were measured for an experiment, and whose they are."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from registry.runs.places import FLOORS_FILE
from registry.runs.records import (
    Floor,
    read_json,
)
from registry.runs.replicate import Replicate


def read_floors(experiment: Path) -> list[Floor]:
    """Return the floors that were measured for an experiment, by its folder; what cannot be read is left out."""
    content = read_json(experiment / FLOORS_FILE) or {}
    listed = content.get("floors")
    found = []
    for value in listed if isinstance(listed, list) else []:
        try:
            found.append(Floor.model_validate(value))
        except ValueError:
            continue
    return found


def own_floors(experiment: Path, owners: Iterable[str]) -> list[dict[str, Any]]:
    """Return the floors of an experiment as plain values, without those resampled from what is not one of its own.

    Args:
        experiment: the experiment's folder.
        owners: its replicates, each as `owner_of` names it.
    """
    own = set(owners)
    floors = (floor for floor in read_floors(experiment) if floor.floor != "resampled" or floor.of in own)
    return [floor.model_dump(mode="json") for floor in floors]


def owner_of(replicate: Replicate) -> str:
    """Return how a floor names the replicate that was resampled: by its science, whatever its arm is called."""
    return f"{replicate.identity}/seed-{replicate.seed}"
