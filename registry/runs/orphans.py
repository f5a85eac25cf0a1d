"""Runs that no arm of an experiment's file owns any more."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from registry import strict_yaml
from registry.errors import SpecError
from registry.experiment.arm import Arm
from registry.runs.places import DESIRED, folder_name
from registry.runs.records import (
    Desired,
    read_json,
)
from registry.runs.stored import readable
from registry.schema.differences import differing
from registry.schema.search import is_trial
from registry.schema.spec import Spec, only_with_effect


@dataclass(frozen=True)
class Orphan:
    """A run of the experiment that no arm of the file owns any more, and what sets it apart."""

    folder: Path
    arm: str
    differences: list[str]


def orphans(experiment: str, arms: Iterable[Arm], runs: Path) -> list[Orphan]:
    """Return what earlier versions of the file, of a default, or of the workbench have left; it is never removed.

    A changed default changes the identity, so old results cannot be taken for new ones; `differences` says which
    keys differ from the arm that has the same name now.
    """
    arms = list(arms)
    owned, by_name = {folder_name(arm.name, arm.identity) for arm in arms}, {arm.name: arm for arm in arms}
    found: dict[Path, Orphan] = {}
    for place in sorted((runs / experiment).glob("*/seed-*")):
        folder = place.parent
        if folder.name in owned or folder in found:
            continue
        desired = readable(place / DESIRED / f"{experiment}.json", Desired)
        earlier = read_json(place / "replicate.json")
        if desired is None and earlier is None:
            continue
        name = desired.arm if desired else str((earlier or {}).get("arm", folder.name))
        if is_trial(name):
            continue  # of the experiment's search, which is no arm of any version of the file
        differences = ["written by an earlier version of the workbench, with other run folders"] if earlier else []
        if desired is not None and name in by_name:
            differences = _differences(place, by_name[name].spec)
        found[folder] = Orphan(folder, name, differences)
    return list(found.values())


def _differences(place: Path, spec: Spec) -> list[str]:
    try:
        stored = strict_yaml.load(place / "spec.yaml").value
    except SpecError as error:
        return list(error.problems)
    now = spec.science()
    then = {section: stored.get(section, {}) for section in now} if isinstance(stored, dict) else {}
    return [f"{key}: {old} then, {new} now" for key, old, new in differing(only_with_effect(then), now)]
