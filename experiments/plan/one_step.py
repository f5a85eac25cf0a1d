"""One training step of an arm as the training loop makes it, on noise: what is timed, and whose memory is traced."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from components.assembly import Assembly
from components.learning.ema import EMA
from components.model.recomputing import recompute
from experiments.training.gradients import pieces_of
from experiments.training.losses import Batch, autocast, blank_text, losses_of
from experiments.training.processes import ALONE, Processes
from experiments.training.trainer import take_step
from registry.schema.spec import Spec


class OneStep:
    """Network, average and optimiser of an arm, and a step of the first of the processes that share a batch.

    Args:
        spec: of the arm.
        device: where it computes.
        processes: those that share the batch; their gradients are not gathered.
        ready: is called with the network before the optimiser is made, such as to set its weights.
    """

    def __init__(
        self,
        spec: Spec,
        device: torch.device,
        processes: Processes = ALONE,
        ready: Callable[[Any], None] = lambda model: None,
    ) -> None:
        assembly, learning = Assembly(spec), spec.learning
        self.spec, self.device = spec, device
        self.pieces = pieces_of(learning.batch_size, spec.runtime.accumulation, processes)
        self.objective, self.model = assembly.objective(), assembly.model()
        ready(self.model)
        if device.type != "cpu":
            self.model.to(device)
        if spec.runtime.checkpointing:
            recompute(self.model.blocks)
        if spec.runtime.compile:
            for block in self.model.blocks:
                block.compile()
        self.average = EMA(self.model, learning.ema_decay)
        self.optimiser = assembly.optimiser()(self.model, learning.learning_rate)
        self.shape = assembly.latent_shape()
        self.generator = torch.Generator(device).manual_seed(0)

    def take(self) -> None:
        """Take the step."""
        self.gradients()()

    def gradients(self) -> Callable[[], object]:
        """Go through the micro-batches forward and back; return what clips gradients and updates the weights."""
        batch, learning = self._batch(), self.spec.learning
        for rows, _ in self.pieces:
            with autocast(self.device, self.spec.runtime.precision):
                terms = losses_of(self.objective, self.model, batch.rows(rows))
            (terms["loss"].sum() / learning.batch_size).backward()
        return partial(take_step, self.model, self.optimiser, self.average, learning.clip_norm)

    @torch.inference_mode()
    def sample(self, clips: int) -> None:
        """Ask the network once for so many clips, as a step of the sampler does."""
        own = torch.zeros(clips, dtype=torch.long, device=self.device) if self.spec.model.classes else None
        with autocast(self.device, self.spec.runtime.precision):
            times = self.objective.network_time(self.objective.draw_times(clips, self.generator).to(self.device))
            x = torch.randn(clips, *self.shape, device=self.device)
            self.model(x, times, own, **blank_text(self.model, self.spec, clips, self.device))

    def _batch(self) -> Batch:
        """The whole batch, which every process draws."""
        size, stills, device = self.spec.learning.batch_size, self.spec.learning.joint_images, self.device
        x0 = torch.randn(size, self.shape[0] + stills, *self.shape[1:], generator=self.generator, device=device)
        t = self.objective.draw_times(size, self.generator).to(device)
        labels = of_stills = None
        if self.spec.model.classes:
            labels = torch.zeros(size, dtype=torch.long, device=device)
            of_stills = torch.zeros(size, stills, dtype=torch.long, device=device) if stills else None
        noise: Tensor = torch.randn_like(x0)
        text = blank_text(self.model, self.spec, size, device)
        return Batch(x0, t, noise, labels, of_stills, stills, **text)
