"""What lies in a runs folder: experiments, trainings with who refers to them, and what nothing refers to."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.record.recording import bound_codes
from experiments.record.snapshot import FOLDER as CODE
from experiments.record.states import is_active
from registry.errors import RunError
from registry.runs.code_used import code_used
from registry.runs.places import IMPORTED, TRAININGS
from registry.runs.records import State
from registry.runs.stored import evaluations_in, read_spec, training_state

BEING_MADE = 0.01  # days: a training's folder is made before anything in it says what for


@dataclass(frozen=True)
class Unreferenced:
    """Something that nothing refers to.

    Args:
        path: the folder.
        what: training, evaluation, or code.
        size: bytes.
        kept: why it stays all the same, empty where it can go.
    """

    path: Path
    what: str
    size: int
    kept: str = ""


def experiments_in(runs: Path) -> list[dict[str, Any]]:
    """Return a row for each experiment: its replicates, how many have a result, bytes of its own files, and its age."""
    found = []
    for folder in sorted(path for path in _folders(runs) if not path.name.startswith(("_", "."))):
        links = list(_links(folder))
        if not links:
            continue
        found.append({
            "experiment": folder.name,
            "arms": len({link.relative_to(folder).parts[0] for link in links}),
            "replicates": len(links),
            "done": sum((link / "result.json").exists() for link in links),
            "trainings": len({link.resolve().parent.parent for link in links}),
            "bytes": _size(folder),
            "days": _age(folder),
        })  # fmt: skip
    return found


def trainings_in(runs: Path) -> list[dict[str, Any]]:
    """Return a row for each training and seed: state, evaluations, which experiments refer to it, bytes, and age."""
    referring = _referring(runs)
    found = []
    for training in _trainings(runs):
        own = evaluations_in(training)
        by = sorted({name for evaluation in own for name in referring.get(evaluation.resolve(), ())})
        found.append({
            "training": training.parent.name,
            "seed": training.name.removeprefix("seed-"),
            "state": str(_state(training)),
            "evaluations": len(own),
            "experiments": by,
            "bytes": _size(training),
            "days": _age(training),
        })  # fmt: skip
    return found


def unreferenced(runs: Path) -> list[Unreferenced]:
    """Return the trainings, evaluations and frozen code that no experiment's folder leads to."""
    referring, found = _referring(runs), []
    for training in _trainings(runs):
        own = evaluations_in(training)
        if not own and (training / IMPORTED).exists():
            continue  # it was not made here, and may be the only copy
        without = [evaluation for evaluation in own if evaluation.resolve() not in referring]
        kept = "it runs, or waits in Slurm" if (without or not own) and is_active(training) else ""
        if not own and _age(training) < BEING_MADE:
            kept = "somebody may be making it"
        if len(without) == len(own):
            found.append(Unreferenced(training, "training", _size(training), kept))
        else:
            found += [Unreferenced(evaluation, "evaluation", _size(evaluation), kept) for evaluation in without]
    gone = {one.path for one in found if one.what == "training" and not one.kept}
    still = {name for training in _trainings(runs) if training not in gone for name in _frozen_copies(training)}
    for snapshot in _folders(runs / CODE):
        if snapshot.name not in still:
            found.append(Unreferenced(snapshot, "code", _size(snapshot)))
    return found


def prune(runs: Path, found: Sequence[Unreferenced]) -> int:
    """Remove what nothing refers to, and return how many bytes that were.

    What somebody has begun to use since it was found stays.

    Args:
        runs: the folder of all runs.
        found: what was found unreferenced there.

    Raises:
        RunError: something cannot be removed; what was removed before stays so.
    """
    freed, still = 0, {one.path for one in unreferenced(runs) if not one.kept}
    for one in found:
        if one.kept or one.path not in still:
            continue
        try:
            shutil.rmtree(one.path)
        except OSError as error:
            raise RunError(f"{error.filename or one.path}: cannot be removed: {error.strerror}") from None
        freed += one.size
        if one.what == "training" and not any(one.path.parent.iterdir()):
            one.path.parent.rmdir()
    return freed


def _referring(runs: Path) -> dict[Path, set[str]]:
    """Evaluation -> the experiments whose folders lead to it."""
    found: dict[Path, set[str]] = {}
    for folder in _folders(runs):
        if not folder.name.startswith(("_", ".")):
            for link in _links(folder):
                found.setdefault(link.resolve(), set()).add(folder.name)
    return found


def _frozen_copies(training: Path) -> set[str]:
    """The folders of frozen code that a training was launched with, or its evaluations ran."""
    places = [place for code in bound_codes(training) for place in (code.get("snapshot"), code.get("plugins"))]
    for folder in (training, *evaluations_in(training)):
        places += [place for used in code_used(folder) for place in used.frozen.values()]
    return {str(place).split("/")[0] for place in places if place}


def _links(experiment: Path) -> Iterator[Path]:
    """The links of an experiment's replicates, also those at earlier steps."""
    for pattern in ("*/seed-*", "*/at-step-*/seed-*"):
        yield from (path for path in sorted(experiment.glob(pattern)) if path.is_symlink())


def _trainings(runs: Path) -> list[Path]:
    return sorted(path for path in (runs / TRAININGS).glob("*/seed-*") if path.is_dir())


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def _state(training: Path) -> State:
    try:
        return training_state(training, read_spec(training))
    except RunError:
        return State.DAMAGED


def _size(folder: Path) -> int:
    """Bytes of the files in a folder; what links lead to is not counted."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total


def _age(folder: Path) -> float:
    """Days since the newest file in a folder was written."""
    newest = folder.lstat().st_mtime
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                newest = max(newest, os.lstat(os.path.join(place, name)).st_mtime)
            except OSError:
                continue
    return round((time.time() - newest) / 86400, 2)
