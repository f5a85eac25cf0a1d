"""What clips can be sampled from: a run, a training, one of its checkpoints, or a checkpoint that was not made here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from components.data.autoencoders import Decoder
from components.data.manifest import Manifest
from components.model.latte import Latte
from components.weights import sha256_of
from experiments.record.recording import bound_data, prepared_data
from experiments.sampling.captions import Captions, captions_of, of_training
from experiments.sampling.trainings import trained_network
from experiments.training.open_data import open_decoder
from registry.errors import RunError, SpecError, did_you_mean
from registry.parts.start_files import checkpoints_in, step_of
from registry.runs.places import TRAININGS
from registry.runs.records import read_json
from registry.runs.replicate import is_replicate, open_replicate
from registry.runs.stored import read_spec
from registry.schema.spec import Spec


@dataclass(frozen=True)
class Source:
    """A network with trained weights, and how it was trained.

    Attributes:
        path: as it was named.
        title: for people and for folder names.
        spec: resolved; its sampling says what is drawn where nothing else is asked for.
        seed: of the training.
        step: of the weights; None where it is not known.
        classes: names by label; empty where they are not known.
    """

    path: Path
    title: str
    spec: Spec = field(repr=False)
    seed: int
    step: int | None
    classes: tuple[str, ...]

    @property
    def free(self) -> tuple[str, ...]:
        """The keys that may be said otherwise of a network that is trained: how it is sampled."""
        return ("sampling", "runtime", "data.autoencoder", "data.text_encoder")

    def kind(self, spec: Spec) -> str:
        """Return which weights are sampled: ema, model, or weights where nobody says which they are."""
        return spec.sampling.weights

    def digest(self) -> str:
        """Return the SHA-256 of the file with the weights."""
        raise NotImplementedError

    def network(self, spec: Spec, device: torch.device) -> Latte:
        """Return the network with the weights and in the shape that a spec says, in eval mode.

        Raises:
            RunError: there are no such weights, or they do not fit the shape.
        """
        raise NotImplementedError

    def decoder(self, spec: Spec) -> Decoder:
        """Return what decodes what the network draws.

        Raises:
            RunError: the autoencoder's weights cannot be had, or nobody says how latents were standardised.
        """
        return open_decoder(spec, self.path)

    def captions(self) -> tuple[str, ...]:
        """Return the captions of which clips are drawn where nobody says others; empty where there are none."""
        return ()

    def encoded_by(self) -> str:
        """Return the fingerprint of the text encoder that it was trained with, empty where that is not known."""
        return ""

    def embedded(self) -> Captions | None:
        """Return those captions with the embeddings that it was trained with; None where there are none."""
        return None


@dataclass(frozen=True)
class TrainedHere(Source):
    """A training of a runs folder, at one of its checkpoints."""

    training: Path

    def digest(self) -> str:
        found = {step_of(path): path for path in checkpoints_in(self.training)}
        if self.step not in found:
            steps = ", ".join(str(step) for step in sorted(step for step in found if step is not None))
            there = f"there are those of step {steps}" if found else "there are none yet; launch it first"
            raise RunError(f"{self.path}: has no checkpoint of step {self.step}; {there}")
        told = read_json(found[self.step].with_suffix(".json")) or {}  # held against the file when it is read
        return str(told.get("sha256") or sha256_of(found[self.step]))

    def network(self, spec: Spec, device: torch.device) -> Latte:
        return trained_network(spec, self.training, self.seed, device)

    def decoder(self, spec: Spec) -> Decoder:
        return open_decoder(spec, self.training)

    def captions(self) -> tuple[str, ...]:
        there = self.spec.data.text_encoder is not None and bound_data(self.training) is not None
        return captions_of(self.spec, self.training) if there else ()

    def encoded_by(self) -> str:
        data = prepared_data(self.training)
        return data.text_encoder if data is not None else ""

    def embedded(self) -> Captions | None:
        return of_training(self.spec, self.training)


def open_training(path: Path, step: int | None = None) -> TrainedHere | None:
    """Return the training of a runs folder that a path names, None where it names none.

    Args:
        path: of a replicate's folder, a training's, or one of its checkpoints.
        step: of the training; left out, that of the checkpoint, of the run's evaluation, or the newest.

    Raises:
        SpecError: nothing is there (what is near is named), or a folder of several runs.
        RunError: what is there cannot be believed.
    """
    if not path.exists():
        raise SpecError(f"{path}: no such run or checkpoint{_near(path)}")
    if is_replicate(path):
        replicate = open_replicate(path)
        title = f"{replicate.experiment} {replicate.arm} seed {replicate.seed}".strip()
        return _of_training(
            path, replicate.training, replicate.spec, replicate.spec.step if step is None else step, title
        )
    if path.is_file():
        own, training = step_of(path), path.resolve().parent.parent
        if own is None or path.resolve().parent.name != "checkpoints" or not _is_training(training):
            return None
        if step not in (None, own):
            raise SpecError(f"--step: {path.name} is the checkpoint of step {own}, not of {step}")
        return _of_training(path, training, read_spec(training), own)
    if _is_training(training := path.resolve()):
        spec = read_spec(training)
        newest = max((step_of(file) or 0 for file in checkpoints_in(training)), default=spec.step)
        return _of_training(path, training, spec, newest if step is None else step)
    if runs := _runs_in(path):
        shown = ", ".join(map(str, runs[:4])) + (", …" if len(runs) > 4 else "")
        raise SpecError(f"{path}: is no single run; name one of {shown}")
    return None


def _of_training(path: Path, training: Path, spec: Spec, step: int, title: str = "") -> TrainedHere:
    spec = spec.model_copy(update={"sampling": spec.sampling.model_copy(update={"step": step})})
    seed = int(training.name.removeprefix("seed-"))
    title = title or f"{training.parent.name} seed {seed}"
    return TrainedHere(path, title, spec, seed, step, _classes(training, spec), training)


def _classes(training: Path, spec: Spec) -> tuple[str, ...]:
    """Return the names of the classes of a training's data, as far as these are still there; else none."""
    data = bound_data(training)
    if not spec.model.classes or data is None:
        return ()
    try:
        names: Sequence[str] = Manifest.read(Path(data.folder)).classes
    except RunError:
        return ()
    return tuple(names) if len(names) == spec.model.classes else ()


def _is_training(folder: Path) -> bool:
    return folder.parent.parent.name == TRAININGS and (folder / "spec.yaml").is_file()


def _runs_in(folder: Path) -> list[Path]:
    inside = sorted(path for pattern in ("seed-*", "*/seed-*") for path in folder.glob(pattern))
    return [path for path in inside if is_replicate(path) or _is_training(path.resolve())]


def _near(path: Path) -> str:
    """A hint at what lies where a path should, and has a like name."""
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return f"; {did_you_mean(path.name, names)}" if names else ""
