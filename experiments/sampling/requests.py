"""What is asked to be sampled, held against what the network can do: a spec, labels, and what is to be said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from components.assembly import Assembly
from components.model.checkpoints import Assumed
from components.weights import KNOWN
from experiments.record.progress import Progress, silent
from experiments.sampling.captions import Captions, captions_written, digest, embedded
from experiments.sampling.checkpoints import fitting_resolution, open_checkpoint
from experiments.sampling.overrides import OPTIONS, override
from experiments.sampling.sources import Source, open_training
from registry.errors import RunError, SpecError, did_you_mean
from registry.experiment.compatibility import going_with
from registry.experiment.resolve import resolve
from registry.experiment.written import part_choice
from registry.parts.catalogue import Catalogue, catalogue
from registry.schema.spec import Spec

CAPTIONS = "captions"  # folder among the clips with the embeddings of what somebody wrote
DIGITS = 10  # of numbers that are read as such
WEIGHTS = {"ema": "ema", "raw": "model"}  # as the command line and as the spec say it


@dataclass(frozen=True)
class Ask:
    """The words of a command; None is what nothing was said of.

    Attributes:
        num: how many clips.
        classes: names or numbers, comma-separated.
        captions: texts, or text files that have one a line.
        guidance: scale of classifier-free guidance.
        sampler: name of the part.
        steps: of the sampler: a count, or a respacing.
        seed: of the noise.
        weights: `ema` or `raw`.
        frames: of a clip.
        resolution: side of a frame in pixels.
        precision: fp32, bf16 or fp16.
        batch: clips that are drawn at once.
        step: of the training.
        heads: of each attention, where a file from outside does not say.
        plugins: modules with parts of such a file.
        overrides: further `key=value` of the spec.
    """

    num: int = 16
    classes: str | None = None
    captions: tuple[str, ...] = ()
    guidance: float | None = None
    sampler: str | None = None
    steps: str | None = None
    seed: int | None = None
    weights: str | None = None
    frames: int | None = None
    resolution: int | None = None
    precision: str | None = None
    batch: int | None = None
    step: int | None = None
    heads: int | None = None
    plugins: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What is drawn: of which source, how, and what is to be said of it.

    Attributes:
        source: the network.
        spec: its spec with what was asked for.
        labels: classes that take turns; empty for a network without classes.
        precision: of the network.
        captions: that take turns; empty for a network that reads none.
        written: whether somebody wrote them, rather than that they are those of the data set.
        encoder: fingerprint of what encodes them.
        notes: what whoever looks at the clips has to know.
    """

    source: Source
    spec: Spec = field(repr=False)
    labels: tuple[int, ...]
    precision: str
    captions: tuple[str, ...] = ()
    written: bool = False
    encoder: str = ""
    notes: tuple[str, ...] = ()

    def settings(self) -> dict[str, Any]:
        """Return all that a clip depends on; clips of other settings are other clips."""
        sampling, data = self.spec.sampling, self.spec.data
        assert sampling.sampler, "resolved"
        text = {"captions": digest(self.captions), "text_encoder": self.encoder} if self.captions else {}
        return {
            "weights_sha256": self.source.digest(),
            "step": self.source.step,
            "weights": self.source.kind(self.spec),
            **self.spec.diffusion.model_dump(mode="json", include={"objective", "noise_schedule"}),
            "heads": self.spec.model.heads,
            "tf32": self.spec.runtime.tf32,
            "sampler": sampling.sampler.model_dump(mode="json"),
            "guidance": sampling.guidance,
            "seed": sampling.seed,
            "training_seed": self.source.seed,
            "labels": list(self.labels),
            "frames": data.frames,
            "resolution": data.resolution,
            "autoencoder": data.autoencoder.model_dump(mode="json"),
            "precision": self.precision,
            **text,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """What clip n is of, in words: the name of its class, or its caption; the n-th of them modulo their number."""
        known = self.source.classes
        return self.captions or tuple(known[label] if known else f"class {label}" for label in self.labels)

    def embedded(self, folder: Path, device: torch.device) -> Captions | None:
        """Return the captions with their embeddings; None where there are none.

        Args:
            folder: of the clips; what somebody wrote is encoded into it, once for all processes.
            device: where it is encoded.

        Raises:
            RunError: the text encoder cannot be had.
        """
        if not self.written:
            return self.source.embedded()
        return embedded(self.captions, Assembly(self.spec).text_encoder().to(device), folder / CAPTIONS)


def wanted_of(path: Path, ask: Ask, progress: Progress = silent) -> Wanted:
    """Return what is to be drawn of a run, a training or a checkpoint.

    Raises:
        SpecError: nothing is there that can be sampled, or not so.
        RunError: what is there cannot be believed.
    """
    published = not path.exists() and str(path) in KNOWN
    source: Source | None = None if published else open_training(path, ask.step)
    if source is None:
        if ask.step is not None:
            raise SpecError(f"--step: is of a training made here, and {path} has the weights of one step; leave it out")
        weights = None if ask.weights is None else WEIGHTS[ask.weights]
        source = open_checkpoint(path, Assumed(ask.heads, None, ask.plugins), weights, ask.overrides, progress)
    elif ask.heads is not None or ask.plugins:
        raise SpecError(
            f"--heads and --plugin are of files from outside; {path} was trained here, and says them itself"
        )
    return wanted(source, ask)


def wanted(source: Source, ask: Ask) -> Wanted:
    """Return what is to be drawn, with all that is wrong with it found in one go.

    Raises:
        SpecError: a name, a number, or a combination that is not possible; each with what is.
    """
    parts = catalogue(source.spec.plugins)
    raw = {name: value for name, value in source.spec.model_dump().items() if name not in ("scoring", "plugins")}
    lines = _written(raw, ask, source.free)
    lines += _same_latents(raw, ask, source.spec, parts)
    pair = _pair_problems(raw, parts)
    lines += pair
    spec, problems = resolve(raw, parts)
    for key, message in problems:
        told_above = pair and key[:2] == ("sampling", "sampler")
        if message and key[:1] != ("scoring",) and not told_above:
            lines.append(_told(key, message))
    labels, wrong = _labels(source, ask.classes)
    captions, told = _captions(source, ask.captions)
    lines += wrong + told
    if spec is not None:
        lines += _assembly_problems(source.spec, spec, parts)
    if lines or spec is None:
        raise SpecError(list(dict.fromkeys(lines)))
    spec = spec.model_copy(update={"plugins": source.spec.plugins})
    precision = ask.precision or spec.runtime.precision
    encoder = _encoder(source, spec, bool(ask.captions)) if captions else ""
    notes = tuple(_notes(source.spec, spec))
    return Wanted(source, spec, labels, precision, captions, bool(ask.captions), encoder, notes)


def _written(raw: dict[str, Any], ask: Ask, free: Sequence[str]) -> list[str]:
    """Put the words of a command into the sections of a spec; returns what cannot be put there."""
    # A sampler that is written as a whole comes before the options about it, and its keys come behind them.
    whole = [text for text in ask.overrides if text.partition("=")[0] == "sampling.sampler"]
    lines = [line for text in whole for line in override(raw, text, free)]
    if isinstance(written := raw["sampling"]["sampler"], str):
        raw["sampling"]["sampler"] = part_choice(written)
    if ask.sampler is not None and ask.sampler != (raw["sampling"]["sampler"] or {}).get("name"):
        raw["sampling"]["sampler"] = {"name": ask.sampler}
    if ask.steps is not None and isinstance(sampler := raw["sampling"]["sampler"], dict):
        sampler["steps"] = int(ask.steps) if ask.steps.isdecimal() and len(ask.steps) < DIGITS else ask.steps
    given = {
        ("sampling", "clips"): ask.num,
        ("sampling", "guidance"): ask.guidance,
        ("sampling", "seed"): ask.seed,
        ("sampling", "weights"): None if ask.weights is None else WEIGHTS[ask.weights],
        ("data", "frames"): ask.frames,
        ("data", "resolution"): ask.resolution,
        ("runtime", "sampling_batch"): ask.batch,
    }
    for (section, key), value in given.items():
        if value is not None:
            raw[section][key] = value
    lines += [line for text in ask.overrides if text not in whole for line in override(raw, text, free)]
    return lines


def _same_latents(raw: dict[str, Any], ask: Ask, trained: Spec, parts: Catalogue) -> list[str]:
    """Give the frames the side at which another autoencoder has the latents that the network was trained with."""
    if ask.resolution is not None or raw["data"]["autoencoder"] == trained.model_dump()["data"]["autoencoder"]:
        return []
    try:
        latents = Assembly(trained, parts).latent_shape()[1:]
        raw["data"]["resolution"] = fitting_resolution(raw["data"]["autoencoder"], latents, parts)
    except SpecError as error:
        return error.problems
    return []


def _pair_problems(raw: Mapping[str, Any], parts: Catalogue) -> list[str]:
    """What is wrong with a sampler that does not go with the objective, with all that do."""
    choices = raw["sampling"]["sampler"], raw["diffusion"]["objective"]
    written = (part_choice(choice) if isinstance(choice, str) else choice for choice in choices)
    name, objective = (choice.get("name") if isinstance(choice, dict) else None for choice in written)
    if objective not in parts.names("objective"):
        return []  # what is wrong with it is told where the spec is resolved
    legal = going_with(parts, "objective", objective, "sampler")
    if name not in parts.names("sampler"):
        return [f"--sampler: no sampler {name!r}; {did_you_mean(str(name), parts.names('sampler'))}"]
    if name not in legal:
        return [f"--sampler: {name} cannot sample {objective}; what can: {', '.join(legal)}"]
    return []


def _told(key: Sequence[str], message: str) -> str:
    dotted = ".".join(key)
    return f"{OPTIONS.get(dotted, f'command line: {dotted}')}: {message}"


def _labels(source: Source, classes: str | None) -> tuple[tuple[int, ...], list[str]]:
    """The labels that take turns, and what is wrong with the words for them."""
    count, names = source.spec.model.classes, source.classes
    if classes is None:
        return tuple(range(count)), []
    if not count:
        return (), ["--classes: this network was trained without classes (model.classes: 0); leave it out"]
    labels, wrong = [], []
    for word in (word.strip() for word in classes.split(",")):
        if word in names:
            labels.append(names.index(word))
        elif word.isdecimal() and len(word) < DIGITS and int(word) < count:
            labels.append(int(word))
        elif word.isdecimal() or not names:
            kind = "" if names else "; the names of its classes are not known here"
            wrong.append(f"--classes: no class {word!r}: they are numbered 0 to {count - 1}{kind}")
        else:
            wrong.append(f"--classes: no class {word!r}; {did_you_mean(word, names)}")
    return tuple(labels), wrong


def _captions(source: Source, words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The captions that take turns, and what is wrong with the words for them."""
    if source.spec.data.text_encoder is None:
        reads = source.spec.model.conditioning.name
        why = f"--captions: this network reads none (model.conditioning: {reads}); leave it out"
        return (), [why] if words else []
    if words:
        return captions_written(words)
    captions = source.captions()
    why = f"--captions: {source.path} has no data set whose captions could be taken: say what is to be drawn"
    return captions, [] if captions else [why]


def _encoder(source: Source, spec: Spec, written: bool) -> str:
    """The fingerprint of what encodes the captions.

    Raises:
        RunError: it is not what the network was trained with.
    """
    known = source.encoded_by()
    if not written:
        return known
    found = Assembly(spec).text_encoder().fingerprint()
    if known not in ("", found):
        raise RunError(f"{source.path}: was trained with other weights of the text encoder, or read by other settings")
    return found


def _assembly_problems(trained: Spec, spec: Spec, parts: Catalogue) -> list[str]:
    """Why the trained network cannot draw clips of that shape, or the sampler not in such steps."""
    lines = []
    if spec.data.frames != trained.data.frames:
        position = spec.model.temporal_position.name
        why = parts.find("temporal_position", position).fact("fixed_length")
        if why:
            free = [one for one in parts.names("temporal_position")
                    if not parts.find("temporal_position", one).fact("fixed_length")]  # fmt: skip
            lines.append(
                f"--frames: this network draws {trained.data.frames} frames and no other number: temporal_position "
                f"{position}: {why}; networks with {' or '.join(free)} draw any number"
            )
    assembly = Assembly(spec, parts)
    try:
        assembly.model("meta")
    except SpecError as error:
        lines += [f"--resolution: {line}" if spec.data != trained.data else line for line in error.problems]
    try:
        assembly.sampler(assembly.objective())
    except SpecError as error:
        lines += [f"--sampler: {line}" for line in error.problems]
    return lines


def _notes(trained: Spec, spec: Spec) -> list[str]:
    """What is to be said of clips of another shape than the network was trained with."""
    notes, before, now = [], trained.data, spec.data
    if now.frames != before.frames:
        notes.append(f"{now.frames} frames from a network that was trained with {before.frames}")
    if now.resolution != before.resolution:
        grids = ["x".join(map(str, Assembly(one).model("meta").patch_embedding.grid)) for one in (trained, spec)]
        notes.append(
            f"{now.resolution} pixels from a network that was trained with {before.resolution}: {grids[1]} patches in "
            f"place of {grids[0]}; the table of positions is computed for the new grid, and not interpolated"
        )
    return notes
