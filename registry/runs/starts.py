"""The training that a replicate starts from, among the runs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from registry.errors import RunError
from registry.parts.start_files import checkpoints_in, step_of
from registry.runs.places import EARLIER, training_name
from registry.runs.replicate import Replicate
from registry.runs.stored import trained


def trainings_by_identity(folder: Path) -> Mapping[str, Sequence[str]]:
    """Return the names of the trainings in a folder by identity, without those that were set aside."""
    found: dict[str, list[str]] = {}
    for path in folder.glob("*") if folder.is_dir() else ():
        if EARLIER not in path.name:
            found.setdefault(path.name.split("-")[0], []).append(path.name)
    return found


def start_of(
    replicate: Replicate, listed: Callable[[Path], Mapping[str, Sequence[str]]] = trainings_by_identity
) -> Path | None:
    """Return the training that a replicate starts from, or its checkpoint of a step; None where it starts from none.

    Args:
        replicate: the one that starts.
        listed: lists the trainings of a folder by identity; for many replicates, one that does so once.

    Raises:
        RunError: that training has not come so far here, its checkpoint is gone, or several have, of other videos.
    """
    values = replicate.spec.learning.initialisation.parameters
    if not (identity := values.get("training")):
        return None
    seed = replicate.seed if values.get("seed") is None else values["seed"]
    trainings = replicate.training.parent.parent
    places = [trainings / name / f"seed-{seed}" for name in listed(trainings).get(identity, ())]
    step = values.get("step")
    if step is None:
        places = [place for place in places if trained(place) is not None]
    else:
        places = [path for place in places for path in checkpoints_in(place) if step_of(path) == step]
    mark = training_name(replicate.spec).removeprefix(replicate.spec.training)
    places = [place for place in places if identity + mark in place.parts] or places
    if len(places) == 1:
        return places[0]
    what = f"{values['experiment']}, arm {values['arm']}, seed {seed} (training {identity})"
    if places:
        raise RunError(f"learning.initialisation: several trainings of other videos are {what}: name one by its path")
    if step is not None:
        raise RunError(
            f"learning.initialisation: {what} has no checkpoint of step {step} here: launch this experiment's file, "
            "which makes it first; where that step was evaluated before anybody started from it, its checkpoint was "
            "not kept: remove that evaluation's folder before"
        )
    raise RunError(f"learning.initialisation: {what} is not trained here yet: launch that experiment first")
