"""The workbench's own layout: trainings of a runs folder, their checkpoints, and files that carry their spec along.

A file that stands by itself is safetensors: entries `ema.…`, `model.…` (or `weights.…`, where the file that it was made
from does not say which they are) under the workbench's names, and in the header the network, and how it was trained.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.model.checkpoints.contents import MODEL, SAFETENSORS, Contents, Entries, read_file
from components.model.checkpoints.description import Assumed, Description
from components.model.checkpoints.layout import Layout, Network, write_safetensors
from components.model.patch_embeddings import PatchEmbedding
from registry.errors import RunError, SpecError, shortened
from registry.parts.catalogue import catalogue
from registry.parts.start_files import checkpoints_in, step_of
from registry.runs.places import IMPORTED, TRAININGS
from registry.runs.records import Imported, read_json, read_record
from registry.runs.replicate import is_replicate
from registry.runs.stored import read_spec
from registry.schema.spec import ModelSpec, Spec

HEADER = "latte_workbench"  # the text in a safetensors header that says what the file is
VERSION = 1  # of that text
EMBEDDING = "patch_embedding."


class OurLayout(Layout):
    """Networks of any parts: what other layouts cannot hold, this one does."""

    name, title = "ours", "latte-workbench"
    suffixes = (SAFETENSORS,)

    def at(self, path: Path) -> Contents | None:
        """Return a training's weights: those of an evaluation's step, of the newest checkpoint, or of one named."""
        if (training := _home(path)) is not None:
            return replace(_of_checkpoint(path, training), spec=read_spec(training))
        if is_replicate(path):
            evaluation = path.resolve()
            spec = read_spec(evaluation)
            return _of_training(evaluation.parent.parent, spec, spec.step, spec.sampling.weights)
        if (path / "spec.yaml").is_file() and path.resolve().parent.parent.name == TRAININGS:
            return _of_training(path.resolve(), read_spec(path), None, "")
        return None

    def objections(self, contents: Contents) -> list[str]:
        entries = self.entries(contents, contents.kind())
        found = [f"lacks {name}" for name in (EMBEDDING + "proj.weight",) if name not in entries]
        if not found and HEADER not in contents.metadata and contents.spec is None:
            found = ["has neither a spec in its header nor the folder of its training around it"]
        return found

    def network(self, contents: Contents, assumed: Assumed) -> Network:
        if HEADER in contents.metadata:
            return _of_header(contents, assumed)
        spec = contents.spec
        assert spec is not None, "a file without one has objections"
        entries, parts = self.entries(contents, contents.kind()), catalogue(spec.plugins)
        part: type[PatchEmbedding] = parts.find("patch_embedding", spec.model.patch_embedding.name).load()
        embedding = {
            name.removeprefix(EMBEDDING): value for name, value in entries.items() if name.startswith(EMBEDDING)
        }
        _, out_channels = part.channels_of(embedding, spec.model.patch)
        autoencoder: Any = parts.find("autoencoder", spec.data.autoencoder.name).load()
        latents: tuple[int, int, int] = autoencoder.plan_shape(spec.data.resolution, spec.data.autoencoder.parameters)
        shape = (spec.data.frames, *latents)
        trained = spec.model_dump(mode="json", exclude={"runtime"})
        null_label = bool(spec.learning.label_drop)
        return Network(spec.model, shape, out_channels, null_label, "its spec", trained, spec.plugins)

    def entries(self, contents: Contents, kind: str) -> Entries:
        # The average of a training leaves fixed tables out, which the model has.
        return {**contents.weights.get(MODEL, {}), **contents.weights[kind]}

    def named(self, entries: Entries) -> Entries:
        return dict(entries)

    def refusals(self, description: Description) -> list[str]:
        return []

    def write(self, path: Path, weights: Mapping[str, Entries], description: Description) -> None:
        header = {
            "version": VERSION,
            "model": description.model.model_dump(mode="json"),
            "latents": description.latents,
            "out_channels": description.out_channels,
            "null_label": description.null_label,
            "heads_by": description.heads_by,
            "plugins": description.plugins,
            "step": description.step,
            "spec": description.spec,
        }
        write_safetensors(path, weights, {HEADER: json.dumps(header)})


def _of_training(training: Path, spec: Spec, step: int | None, kind: str) -> Contents:
    """The checkpoint of a step, or the newest one."""
    checkpoints = [path for path in checkpoints_in(training) if step is None or step_of(path) == step]
    if checkpoints:
        contents = _of_checkpoint(checkpoints[-1], training)
        return replace(contents, spec=spec, prefers=kind if kind in contents.weights else "")
    there = ", ".join(str(step_of(path)) for path in checkpoints_in(training))
    lacking = f"no checkpoint of step {step}" if step is not None else "no checkpoint yet"
    raise RunError(f"{training}: has {lacking}{f'; there are those of steps {there}' if there else ''}")


def _of_checkpoint(path: Path, training: Path) -> Contents:
    """A checkpoint of a training; of one that was imported, with those kinds of weights that its file had."""
    about = read_json(path.with_suffix(".json")) or {}
    contents = replace(read_file(path), sha256=str(about.get("sha256", "")))
    imported = read_record(training / IMPORTED, Imported)
    if imported is None or step_of(path) != 0:
        return contents
    model = contents.weights.get(MODEL, {})
    weights = {kind: {**model, **contents.weights.get(kind, {})} for kind in imported.kinds}
    return replace(contents, weights=weights, wrapping=f"imported, {imported.form}", step=imported.step)


def _home(path: Path) -> Path | None:
    """The training that a checkpoint lies in, None where it lies elsewhere."""
    training = path.resolve().parent.parent
    inside = path.parent.name == "checkpoints" and step_of(path) is not None
    return training if inside and (training / "spec.yaml").is_file() else None


def _of_header(contents: Contents, assumed: Assumed) -> Network:
    """The network that a safetensors header describes; modules that it names are imported only if the user names them.

    Raises:
        SpecError: it needs such modules.
        RunError: the header is damaged, or of a later version.
    """
    try:
        header: dict[str, Any] = json.loads(contents.metadata[HEADER])
        if unnamed := [name for name in map(str, header["plugins"]) if name not in assumed.plugins]:
            needed = " and ".join(shortened(name) for name in unnamed)
            raise SpecError(f"--plugin: {contents.path} has parts of {needed}: name it if you trust it")
        if header["version"] != VERSION:
            raise RunError(f"{contents.path}: is of version {header['version']}, this workbench reads {VERSION}")
        frames, channels, rows, columns = (int(number) for number in header["latents"])
        return Network(
            ModelSpec.model_validate(header["model"]),
            (frames, channels, rows, columns),
            int(header["out_channels"]),
            bool(header["null_label"]),
            str(header["heads_by"]),
            header["spec"],
            assumed.plugins,
            header["step"] if isinstance(header["step"], int) else None,
        )
    except SpecError:
        raise
    except (ValueError, KeyError, TypeError, ValidationError, RecursionError) as error:
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{contents.path}: its header is damaged: {told}") from None
