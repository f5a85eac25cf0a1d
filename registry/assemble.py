"""A resolved spec -> model, objective, data, sampler, scorer.

The registry never imports components by name: it loads parts through the catalogue, and the few classes that hold
parts together by module name, so that importing this file costs nothing.
"""

import importlib
import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from registry.catalogue import Catalogue, catalogue
from registry.errors import RunError, SpecError
from registry.part_code import explained
from registry.protocol import Protocol
from registry.section import Part
from registry.spec import Spec

# The keys of a spec that decide its network: arms that agree in them have one count, whatever else they differ in.
NETWORK = ("model", "data.frames", "data.resolution", "data.autoencoder", "diffusion", "learning.label_drop")


def values_at(spec: Spec, keys: Iterable[str]) -> str:
    """The values at some dotted keys of a spec, as a text that is the same for equal values."""
    values = []
    for key in keys:
        value: Any = spec
        for step in key.split("."):
            value = getattr(value, step)
        many = value if isinstance(value, tuple) else (value,)
        values.append([v.model_dump(mode="json") if isinstance(v, BaseModel) else v for v in many])
    return json.dumps(values)


def _load(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


class Assembly:
    """Builds the parts of one spec, each from the spec and from what the others need of it.

    Args:
        spec: a resolved spec.
        parts: the catalogue; left out, the one of the spec's plugins.
    """

    def __init__(self, spec: Spec, parts: Catalogue | None = None) -> None:
        self.spec, self.parts = spec, parts or catalogue(spec.plugins)

    def _build(self, slot: str, choice: Part | None, *given: Any) -> Any:
        assert choice is not None, f"{slot} is resolved"
        return self.parts.build(slot, choice.model_dump(), *given)

    def latent_shape(self) -> tuple[int, int, int, int]:
        """(F, C, H, W) of the latents, from the autoencoder's name and parameters alone: no weights are read."""
        data = self.spec.data
        return (data.frames, *self.autoencoder_class().plan_shape(data.resolution, data.autoencoder.parameters))

    def objective(self) -> Any:
        diffusion = self.spec.diffusion
        schedule = self._build("noise_schedule", diffusion.noise_schedule)
        return self._build("objective", diffusion.objective, schedule)

    def sampler(self, objective: Any) -> Any:
        return self._build("sampler", self.spec.sampling.sampler, objective)

    def model(self, device: str = "cpu") -> Any:
        """The network with memory but without initial weights (`initialisation` sets them); `meta` takes no memory.

        Raises:
            SpecError: shapes that do not go together.
        """
        torch = importlib.import_module("torch")
        model = self.spec.model
        latents = self.latent_shape()
        out_channels = self.objective().output_channels(latents[1])
        with torch.device(device):
            embedding, width = model.patch_embedding, model.width
            patches = self._build("patch_embedding", embedding, latents, model.patch, width, out_channels)
            position = self._build("temporal_position", model.temporal_position, patches.token_frames, model.width)
            null_label = bool(self.spec.learning.label_drop)
            conditioning = self._build("conditioning", model.conditioning, model.width, model.classes, null_label)
            blocks = self._build("blocks", model.blocks, model.depth, model.width, model.heads, conditioning)
            return _load("components.model.latte", "Latte")(patches, position, conditioning, blocks)

    def counts(self) -> Any:
        """Parameters and MACs (`components.model.counting.Counts`), without memory.

        Raises:
            SpecError: shapes that do not go together, or that torch refuses; what parts from outside raise.
        """
        try:
            with explained(self.parts.from_outside()):
                return _load("components.model.counting", "count")(self.model("meta"), self.latent_shape()[1])
        except RunError:
            raise
        except (RuntimeError, OverflowError, MemoryError) as error:
            told = (str(error).splitlines() or [type(error).__name__])[0]
            raise SpecError(f"model: torch cannot make this network: {told}") from error

    def initialisation(self) -> Any:
        return self._build("initialisation", self.spec.learning.initialisation)

    def lr_schedule(self) -> Any:
        learning = self.spec.learning
        return self._build("lr_schedule", learning.lr_schedule, learning.steps)

    def autoencoder(self) -> Any:
        return self._build("autoencoder", self.spec.data.autoencoder, self.spec.data.resolution)

    def autoencoder_class(self) -> Any:
        """The autoencoder's class, whose `draw` needs no weights."""
        return self.parts.find("autoencoder", self.spec.data.autoencoder.name).load()

    def dataset(self) -> Any:
        data = self.spec.data
        return self._build("dataset", data.dataset, data.path, data.resolution)

    def metrics(self) -> list[Any]:
        """The metrics of the protocol, all with the one detector."""
        return build_metrics(self.spec.scoring, self.parts)


def build_metrics(protocol: Protocol, parts: Catalogue) -> list[Any]:
    """The metrics of a protocol; its detector is built once, and only if a metric measures with it."""
    chosen = [parts.find("metric", choice.name) for choice in protocol.metrics]
    by_detector = any(info.facts["by_detector"] for info in chosen)
    detector = parts.build("detector", protocol.detector.model_dump()) if by_detector else None
    return [parts.build("metric", choice.model_dump(), detector) for choice in protocol.metrics]
