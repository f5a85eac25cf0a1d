"""What clips can be sampled from: a run, a training, one of its checkpoints, or a checkpoint that was not made here."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch

from components.data.manifest import Manifest
from components.model.latte import Latte
from experiments.record.recording import bound_data
from experiments.scores.sampling import trained_network
from registry.errors import RunError, SpecError, did_you_mean
from registry.runs.records import read_json
from registry.runs.run_folder import (
    TRAININGS,
    checkpoints_in,
    is_replicate,
    open_replicate,
    read_spec,
    step_of,
)
from registry.schema.spec import Spec


@dataclass(frozen=True)
class Source:
    """A network with trained weights, and how it was trained.

    Attributes:
        path: as it was named.
        title: for people and for folder names.
        spec: resolved; its sampling says what is drawn where nothing else is asked for.
        seed: of the training.
        training: the training's folder.
        classes: names by label; empty where they are not known.
    """

    path: Path
    title: str
    spec: Spec = field(repr=False)
    seed: int
    training: Path
    classes: tuple[str, ...] = ()

    def digest(self, step: int) -> str:
        """Return the SHA-256 of the file with the weights of a step.

        Raises:
            RunError: there is none; the steps that there are are named.
        """
        found = {step_of(path): path for path in checkpoints_in(self.training)}
        if step not in found:
            steps = ", ".join(str(number) for number in sorted(filter(None, found)))
            there = f"there are those of step {steps}" if found else "there are none yet; launch it first"
            raise RunError(f"{self.path}: has no checkpoint of step {step}; {there}")
        told = read_json(found[step].with_suffix(".json")) or {}
        return str(told.get("sha256") or _sha256(found[step]))

    def network(self, spec: Spec, device: torch.device) -> Latte:
        """Return the network with the weights and in the shape that a spec says, in eval mode.

        Raises:
            RunError: there are no such weights, or they do not fit the shape.
        """
        return trained_network(spec, self.training, self.seed, device)


def open_source(path: Path, step: int | None = None) -> Source:
    """Return what a path names: a replicate's folder, a training's, or a checkpoint of one.

    Args:
        path: of the folder or file.
        step: of the training; left out, that of the checkpoint, of the run's evaluation, or the newest.

    Raises:
        SpecError: nothing is there, or nothing that can be sampled; what is near is named.
        RunError: what is there cannot be believed.
    """
    if not path.exists():
        raise SpecError(f"{path}: no such run or checkpoint{_near(path)}")
    if is_replicate(path):
        replicate = open_replicate(path)
        title = f"{replicate.experiment} {replicate.arm} seed {replicate.seed}".strip()
        return _of_training(path, replicate.training, replicate.spec, step or replicate.spec.step, title)
    if path.is_file() and (training := _training_of(path)) is not None:
        own = step_of(path)
        if step not in (None, own):
            raise SpecError(f"--step: {path.name} is the checkpoint of step {own}, not of {step}")
        return _of_training(path, training, read_spec(training), own or 0)
    if path.is_dir() and _is_training(path.resolve()):
        training = path.resolve()
        newest = max((step_of(file) or 0 for file in checkpoints_in(training)), default=None)
        spec = read_spec(training)
        return _of_training(path, training, spec, step or (spec.step if newest is None else newest))
    raise SpecError(f"{path}: {_what_it_is(path)}")


def _of_training(path: Path, training: Path, spec: Spec, step: int, title: str = "") -> Source:
    spec = spec.model_copy(update={"sampling": spec.sampling.model_copy(update={"step": step})})
    seed = int(training.name.removeprefix("seed-"))
    return Source(path, title or f"{training.parent.name} seed {seed}", spec, seed, training, _classes(training, spec))


def _classes(training: Path, spec: Spec) -> tuple[str, ...]:
    """The names of the classes of the data that a training was made with, as far as these are still there."""
    data = bound_data(training)
    if not spec.model.classes or data is None:
        return ()
    try:
        names = Manifest.read(Path(data.folder)).classes
    except RunError:
        return ()
    return tuple(names) if len(names) == spec.model.classes else ()


def _is_training(folder: Path) -> bool:
    return (
        folder.parent.parent.name == TRAININGS and folder.name.startswith("seed-") and (folder / "spec.yaml").exists()
    )


def _training_of(file: Path) -> Path | None:
    """The training that a checkpoint is of, None for a file that lies elsewhere."""
    training = file.resolve().parent.parent
    return (
        training if step_of(file) is not None and file.parent.name == "checkpoints" and _is_training(training) else None
    )


def _what_it_is(path: Path) -> str:
    """Why nothing can be sampled from a path, and what can."""
    if path.is_file():
        return "is no checkpoint of a training here"
    inside = sorted(folder for pattern in ("seed-*", "*/seed-*") for folder in path.glob(pattern))
    runs = [folder for folder in inside if is_replicate(folder) or _is_training(folder.resolve())]
    if runs:
        shown = ", ".join(str(folder) for folder in runs[:4]) + (", …" if len(runs) > 4 else "")
        return f"is no single run; name one of {shown}"
    return "holds no run, no training and no weights"


def _near(path: Path) -> str:
    """A hint at what lies where a path should, and has a like name."""
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return f"; {did_you_mean(path.name, names)}" if names else ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
