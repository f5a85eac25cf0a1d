"""A resolved spec -> model, objective, data, sampler, scorer: the parts by their names, held together here.

Importing this file imports torch and every family of parts; what only reads specs does without it.
"""

from pathlib import Path
from typing import Any

import torch

from components.data.autoencoders import Autoencoder
from components.data.datasets import Dataset
from components.data.text_encoders import TextEncoder
from components.diffusion.contracts import LossWeighting, Objective, Sampler, TimestepSampling
from components.learning.contracts import Initialisation, LRSchedule, Optimiser
from components.model.building import build_network
from components.model.counting import Counts, count
from components.model.latte import Latte
from components.scoring.contracts import Metric
from components.scoring.protocol_metrics import build_metrics
from registry.errors import RunError, SpecError
from registry.parts.catalogue import Catalogue, catalogue
from registry.parts.part_code import explained
from registry.schema.section import Part
from registry.schema.spec import Spec


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

    def objective(self) -> Objective:
        """What the network predicts, over its noise schedule."""
        diffusion = self.spec.diffusion
        schedule = self._build("noise_schedule", diffusion.noise_schedule)
        objective: Objective = self._build("objective", diffusion.objective, schedule)
        return objective

    def loss_weighting(self) -> LossWeighting:
        """How much each timestep counts in the training loss."""
        weighting: LossWeighting = self._build("loss_weighting", self.spec.diffusion.loss_weighting)
        return weighting

    def timestep_sampling(self) -> TimestepSampling:
        """Which times are trained on how often."""
        sampling: TimestepSampling = self._build("timestep_sampling", self.spec.diffusion.timestep_sampling)
        return sampling

    def sampler(self, objective: Objective) -> Sampler:
        """How clips are drawn from that objective's network."""
        sampler: Sampler = self._build("sampler", self.spec.sampling.sampler, objective)
        return sampler

    def model(self, device: str = "cpu") -> Latte:
        """The network with memory but without initial weights (`initialisation` sets them); `meta` takes no memory.

        Raises:
            SpecError: shapes that do not go together.
        """
        latents = self.latent_shape()
        out_channels = self.objective().output_channels(latents[1])
        with torch.device(device):
            null_label = bool(self.spec.learning.label_drop)
            return build_network(self.spec.model, latents, out_channels, null_label, self.parts)

    def counts(self, stills: int = 0) -> Counts:
        """Parameters and MACs, without memory.

        Args:
            stills: how many stand behind the clip.

        Raises:
            SpecError: shapes that do not go together, or that torch refuses; what parts from outside raise.
        """
        try:
            with explained(self.parts.from_outside()):
                encoder = self.spec.data.text_encoder
                tokens = {} if encoder is None else {"caption_tokens": encoder.parameters["length"]}
                return count(self.model("meta"), self.latent_shape()[1], stills, **tokens)
        except RunError:
            raise
        except (RuntimeError, OverflowError, MemoryError) as error:
            told = (str(error).splitlines() or [type(error).__name__])[0]
            raise SpecError(f"model: torch cannot make this network: {told}") from error

    def initialisation(self, start: Path | None = None) -> Initialisation:
        """What sets the weights before the first step.

        Args:
            start: the training that it starts from, where the spec names one by its identity.
        """
        choice = self.spec.learning.initialisation
        if start is not None:
            choice = choice.model_copy(update={"path": str(start)})
        initialisation: Initialisation = self._build("initialisation", choice)
        return initialisation

    def optimiser(self) -> Optimiser:
        """What makes a step of the gradients."""
        optimiser: Optimiser = self._build("optimiser", self.spec.learning.optimiser)
        return optimiser

    def lr_schedule(self) -> LRSchedule:
        """The factor of the learning rate, by step."""
        learning = self.spec.learning
        schedule: LRSchedule = self._build("lr_schedule", learning.lr_schedule, learning.steps)
        return schedule

    def autoencoder(self) -> Autoencoder:
        """The autoencoder with its weights."""
        data = self.spec.data
        autoencoder: Autoencoder = self._build("autoencoder", data.autoencoder, data.resolution)
        return autoencoder

    def text_encoder(self) -> TextEncoder:
        """What encodes captions; its network is read when it is first asked.

        Raises:
            SpecError: its embeddings have another width than the conditioning reads.
        """
        choice = self.spec.data.text_encoder
        assert choice is not None, "a text encoder is named"
        encoder: TextEncoder = self._build("text_encoder", choice)
        read = self.spec.model.conditioning.parameters.get("text_width", encoder.width)
        if read != encoder.width:
            raise SpecError(
                f"model.conditioning.text_width: {read} is not the width of the text encoder "
                f"{choice.name}: set it to {encoder.width}"
            )
        return encoder

    def autoencoder_class(self) -> type[Autoencoder]:
        """The autoencoder's class, whose `draw` needs no weights."""
        return self.parts.find("autoencoder", self.spec.data.autoencoder.name).load()

    def dataset(self) -> Dataset:
        """The videos, not indexed yet."""
        data = self.spec.data
        dataset: Dataset = self._build("dataset", data.dataset, data.path, data.resolution)
        return dataset

    def metrics(self) -> list[Metric]:
        """The metrics of the protocol, all with the one detector."""
        return build_metrics(self.spec.scoring, self.parts)
