"""One step of the official training loop as its description says (golden README, 10.1), plain and in float32.

AdamW as torch makes it without being asked for more, and one update of the average for each parameter.
"""

import copy

import torch
from torch import Tensor, nn

from tests.benchmarks.baselines.diffusion import Process


class Loop:
    """A network in training: loss, gradients, norm, AdamW, average.

    Args:
        network: is trained in place.
        learning_rate: of AdamW; the original fixes it to 1e-4.
        decay: of the average.
        clip_norm: gradients of a larger norm are scaled down to it; None clips nothing.
    """

    def __init__(self, network: nn.Module, learning_rate: float, decay: float, clip_norm: float | None = None) -> None:
        self.network, self.decay, self.clip_norm = network, decay, clip_norm
        self.process, self.average = Process.training(), copy.deepcopy(network)
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0)

    def step(self, x0: Tensor, t: Tensor, noise: Tensor, labels: Tensor | None = None) -> float:
        """Take a step on latents (B, F, C, H, W); return the loss."""
        x_t = self.process.noised(x0, t, noise)
        given = () if labels is None else (labels,)
        loss = self.process.losses(self.network(x_t, t, *given), x0, x_t, t, noise).mean()
        loss.backward()
        norm = torch.sqrt(sum(p.grad.norm() ** 2 for p in self.network.parameters() if p.grad is not None))
        if self.clip_norm is not None:
            factor = torch.clamp(self.clip_norm / (norm + 1e-6), max=1.0)
            for parameter in self.network.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)
        self.optimiser.step()
        self.optimiser.zero_grad()
        with torch.no_grad():
            for average, parameter in zip(self.average.parameters(), self.network.parameters(), strict=True):
                average.mul_(self.decay).add_(parameter, alpha=1 - self.decay)
        return loss.item()
