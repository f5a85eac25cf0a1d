"""Sampling a checkpoint that was not made here: what its file does not say is taken as the official code has it.

A network that also predicts a variance is of the objective that the spec's defaults name, over that objective's own
schedule; its sampler is the objective's first, without guidance (golden README, 4 and 9: 250 steps of ancestral
sampling over the linear schedule). Its autoencoder is the spec's default, unless `data.autoencoder=…` is given.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from components.assembly import Assembly
from components.data.autoencoders import Autoencoder
from components.model.checkpoints import Assumed, Description, inspect, open_network
from components.model.latte import Latte
from experiments.record.progress import Progress, silent
from experiments.sampling.overrides import override
from experiments.sampling.sources import Source
from experiments.sampling.trainings import load_fitting
from registry.errors import SpecError
from registry.experiment.resolve import resolve
from registry.experiment.written import part_choice
from registry.parts.catalogue import Catalogue, catalogue
from registry.schema.section import Part
from registry.schema.spec import ModelSpec, Spec, default_part

DROPPED = 0.1  # share of labels that the reference drops, where there is a null label
FACTORS = range(1, 65)  # by which an autoencoder may make frames smaller


@dataclass(frozen=True)
class Outside(Source):
    """A checkpoint of any layout that `components.model.checkpoints` opens."""

    description: Description = field(repr=False)
    assumed: Assumed

    @property
    def free(self) -> tuple[str, ...]:
        return (*super().free, "diffusion") if self.description.spec is None else super().free

    def kind(self, spec: Spec) -> str:
        return self.description.weights

    def digest(self) -> str:
        return self.description.digest

    def network(self, spec: Spec, device: torch.device) -> Latte:
        network, _ = open_network(self.path, self.assumed, self.description.weights)
        if Assembly(spec).latent_shape() != self.description.latents:
            weights, network = network.state_dict(), Assembly(spec).model()
            load_fitting(network, weights)
        return network.to(device).eval()


def open_checkpoint(
    path: Path,
    assumed: Assumed,
    weights: str | None = None,
    overrides: Sequence[str] = (),
    progress: Progress = silent,
) -> Outside:
    """Return a checkpoint as something that can be sampled.

    Args:
        path: a file or folder of any layout.
        assumed: what the user says because the weights cannot.
        weights: ema or model; left out, the average where there is one.
        overrides: `key=value` of the spec; those of coders and objective are needed to know frames and text.
        progress: is called while the file is hashed.

    Raises:
        SpecError: what is not known has to be said; the message says how.
        RunError: the file cannot be believed, or is of no layout.
    """
    found = inspect(path, assumed, weights).with_digest(progress).description
    raw = _sections(found)
    needed = ("data.autoencoder", "data.text_encoder", "diffusion")
    lines = [line for text in overrides if text.startswith(needed) for line in override(raw, text, needed)]
    if lines:
        raise SpecError(lines)
    parts = catalogue(found.plugins)
    if found.spec is None:
        raw["diffusion"].setdefault("objective", _objective(raw, found, parts))
        raw["data"]["resolution"] = fitting_resolution(raw["data"]["autoencoder"], found.latents[1:], parts)
    spec, problems = resolve(raw, parts)
    problems = [(key, message) for key, message in problems if key[:1] != ("scoring",)]
    if spec is None or problems:
        raise SpecError([f"{path}: {'.'.join(key)}: {message}" for key, message in problems])
    if wrong := list(misfits(Assembly(spec, parts), found)):
        raise SpecError(wrong)
    spec = spec.model_copy(update={"plugins": found.plugins})
    return Outside(path, path.stem, spec, 0, found.step, (), found, assumed)


def misfits(assembly: Assembly, description: Description) -> Iterable[str]:
    """Yield in what a spec is not of a checkpoint's network, a line each."""
    if (latents := assembly.latent_shape()) != description.latents:
        given, wanted = ("x".join(map(str, shape)) for shape in (latents, description.latents))
        yield f"data: clips are {given} in the latent (frames, channels, height, width), the network takes {wanted}"
    channels = assembly.objective().output_channels(description.channels)
    if channels != description.out_channels:
        name = assembly.spec.diffusion.objective.name
        yield (
            f"diffusion.objective: {name} needs {channels} channels of output, the network gives "
            f"{description.out_channels}: name the objective that it was trained with"
        )
    for key in (key for key in ModelSpec.model_fields if key != "size"):
        said, own = (getattr(model, key) for model in (assembly.spec.model, description.model))
        said, own = (value.name if isinstance(value, Part) else value for value in (said, own))
        if said != own:
            yield f"model.{key}: {said} was asked for, the network has {own}"


def label_drop_of(found: Description) -> dict[str, float]:
    """Return the key `label_drop` of a checkpoint's section `learning`; nothing where there are no classes."""
    return {"label_drop": DROPPED if found.null_label else 0.0} if found.classes else {}


def fitting_resolution(autoencoder: Any, latents: tuple[int, ...], parts: Catalogue) -> int:
    """Return the side of the frames that an autoencoder turns into latents (C, h, w).

    Raises:
        SpecError: there is none.
    """
    choice = part_choice(autoencoder) if isinstance(autoencoder, str) else autoencoder
    if not isinstance(choice, Mapping) or not isinstance(choice.get("name"), str):
        first, *others = parts.names("autoencoder")
        raise SpecError(f"data.autoencoder: name it, such as {first}, or one of {', '.join(others)}")
    choice = dict(choice)
    name = choice.pop("name")
    part: type[Autoencoder] = parts.find("autoencoder", name).load()
    for factor in FACTORS:
        try:
            if tuple(part.plan_shape(latents[1] * factor, choice)) == tuple(latents):
                return latents[1] * factor
        except (SpecError, KeyError, TypeError, ValueError):  # parameters are checked where the spec is resolved
            continue
    shape = "x".join(map(str, latents))
    raise SpecError(
        f"data.autoencoder: {name} has no latents of {shape}, which this network draws; name the one that it was "
        f"trained with, as data.autoencoder=…; there are {', '.join(parts.names('autoencoder'))}"
    )


def _sections(found: Description) -> dict[str, Any]:
    """The sections of a spec that the checkpoint carries, else those that its network says."""
    model = found.model.model_dump(mode="json")
    if found.spec is not None:
        kept = {name: dict(value) for name, value in found.spec.items() if isinstance(value, Mapping)}
        kept.pop("scoring", None)
        return {**kept, "model": model, "sampling": {**kept.get("sampling", {}), "step": None}}
    return {
        "model": model,
        "data": {"frames": found.frames, "autoencoder": default_part("data", "autoencoder")},
        "diffusion": {},
        "learning": label_drop_of(found),
        "sampling": {},
    }


def _objective(raw: Mapping[str, Any], found: Description, parts: Catalogue) -> str:
    """The objective that a file without a spec was trained for, where the shape of its output says it.

    Raises:
        SpecError: it does not.
    """
    default = default_part("diffusion", "objective")
    if found.learned_sigma and default is not None:
        return default
    fitting = []
    for name in parts.names("objective"):
        spec, _ = resolve({**raw, "diffusion": {"objective": name}}, parts)
        if spec is not None and Assembly(spec, parts).objective().output_channels(found.channels) == found.out_channels:
            fitting.append(name)
    raise SpecError(
        f"diffusion.objective: {found.path} does not say what its network predicts: name it, as diffusion.objective=…; "
        f"{found.out_channels} channels for latents of {found.channels} fit {', '.join(fitting) or 'none here'}"
    )
