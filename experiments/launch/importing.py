"""A checkpoint from outside as a training that was not made here: a training of no steps, with where it comes from.

The training starts from the file (`learning.initialisation`) and makes no step, so its checkpoint of step 0 is the
file's weights. It is written at once, both kinds of weights as the file has them. Where an experiment binds the
training to data, the trainer makes the checkpoint anew from the file, since a checkpoint belongs to its data.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from components.assembly import Assembly
from components.model.checkpoints import Checkpoint, Description, whole
from experiments.record.recording import machine, write_json
from experiments.sampling.checkpoints import fitting_resolution, label_drop_of, misfits
from experiments.training.checkpoints import Origin, damage_of, path_of, write_checkpoint
from registry import strict_yaml
from registry.errors import SpecError
from registry.experiment.experiment_file import overridden
from registry.experiment.resolve import resolve
from registry.parts.catalogue import Catalogue, catalogue
from registry.runs.files import locked, write_atomically
from registry.runs.places import IMPORTED, TRAININGS, training_name
from registry.runs.records import Imported, read_record, sealed
from registry.schema.spec import Spec, default_part

SEED = 0  # of the training, which draws nothing
START = "checkpoint"  # the initialisation that starts from a file


@dataclass(frozen=True)
class ImportedTraining:
    """What an import made, or found.

    Attributes:
        training: its folder.
        spec: of the training, resolved.
        lines: sections of an experiment file that uses it, as plain values.
        record: where it comes from.
        there: whether it had been imported before.
    """

    training: Path
    spec: Spec
    lines: dict[str, Any]
    record: Imported
    there: bool


def import_checkpoint(found: Checkpoint, runs: Path, overrides: Iterable[str] = ()) -> ImportedTraining:
    """Make a checkpoint a training of a runs folder, or find it there; the file stays where it is, and is needed there.

    Args:
        found: the checkpoint, with its digest.
        runs: the folder of all runs.
        overrides: `key.path=value`: data and diffusion that the file does not state.

    Raises:
        SpecError: what the file does not state must be said, or what was said does not fit the network.
        RunError: the checkpoint cannot be written.
    """
    description = found.description
    overrides = list(overrides)
    made = ("learning.steps", "learning.initialisation")
    if wrong := [text for text in overrides if text.partition("=")[0].startswith(made)]:
        why = "what is imported makes no steps and starts from its file"
        raise SpecError([f"command line: {text}: {why}" for text in wrong])
    parts = catalogue(description.plugins)
    sections = _sections(description, parts, overrides)
    spec, problems = resolve(sections, parts)
    if spec is None:
        raise SpecError([f"{'.'.join(key)}: {message}" for key, message in problems])
    spec = spec.model_copy(update={"plugins": description.plugins})
    if wrong := list(misfits(Assembly(spec, parts), description)):
        raise SpecError(wrong)
    training = runs / TRAININGS / training_name(spec) / f"seed-{SEED}"
    record = Imported(
        path=str(description.path.resolve()),
        digest=description.digest,
        bytes=description.path.stat().st_size,
        layout=description.layout,
        form=description.form,
        kinds=list(description.kinds),
        step=description.step,
        time=time.time(),
    )
    lines = {section: values for section, values in sections.items() if section in ("model", "data", "diffusion")}
    lines["learning"] = sections["learning"]
    with locked(training):
        before = read_record(training / IMPORTED, Imported)
        origin = Origin(spec.training, SEED, "")
        if before is not None and before.digest == record.digest and not damage_of(path_of(training, 0), origin):
            return ImportedTraining(training, spec, lines, before, there=True)
        write_atomically(training / "spec.yaml", strict_yaml.dump(spec.model_dump(mode="json")))
        if not (training / "provenance.json").exists():
            write_json(training / "provenance.json", {"code": {}, **machine()})
        write_checkpoint(training, origin, _state(found), keep=1)
        write_json(training / IMPORTED, sealed(record.model_dump(mode="json")))
    return ImportedTraining(training, spec, lines, record, there=False)


def _sections(description: Description, parts: Catalogue, overrides: Iterable[str]) -> dict[str, Any]:
    """The sections of a spec: the network, how it was trained as far as is known, and the file that it starts from."""
    known = dict(description.spec or {})
    sections = {name: dict(known.get(name, {})) for name in ("model", "data", "diffusion", "sampling")}
    model = description.model.model_dump(mode="json", exclude_none=True)
    sections["model"] = {name: value for name, value in model.items() if name != "size"}
    sections["data"]["frames"] = description.frames
    start = {"name": START, "path": str(description.path.resolve()), "sha256": description.digest}
    sections["learning"] = {"initialisation": start, "steps": 0, **label_drop_of(description)}
    sections["sampling"].pop("step", None)
    sections["scoring"] = {"metrics": []}  # it is an experiment that scores
    sections = overridden({name: values for name, values in sections.items() if values}, overrides)
    if "resolution" not in sections["data"]:
        autoencoder = sections["data"].get("autoencoder", default_part("data", "autoencoder"))
        sections["data"]["resolution"] = fitting_resolution(autoencoder, description.latents[1:], parts)
    return sections


def _state(found: Checkpoint) -> dict[str, Any]:
    """A training's state at step 0 with the checkpoint's weights; no step follows it, so the rest is empty."""
    generator = torch.Generator().manual_seed(SEED).get_state()
    states = {"generator": generator, "torch_generator": generator}
    return {"step": 0, **whole(found), "optimiser": {}, **states, "sums": {}, "summed": 0}
