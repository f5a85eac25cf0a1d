"""The loss of a batch: latents noised, the network asked, and the objective's terms."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """What the losses of a batch are computed of.

    Attributes:
        x0: latents (B, F, C, H, W).
        t: times (B,) of the objective.
        noise: as x0.
        labels: (B,), or None without classes.
    """

    x0: Tensor
    t: Tensor
    noise: Tensor
    labels: Tensor | None = None

    def rows(self, rows: slice | Tensor) -> "Batch":
        """Return some of its samples."""
        return Batch(self.x0[rows], self.t[rows], self.noise[rows], None if self.labels is None else self.labels[rows])


def losses_of(objective: Any, model: Callable[..., Tensor], batch: Batch) -> dict[str, Tensor]:
    """Return the objective's losses (B,) of a batch."""
    x_t = objective.noised(batch.x0, batch.t, batch.noise)
    output = model(x_t, objective.network_time(batch.t), batch.labels)
    losses: dict[str, Tensor] = objective.losses(output, batch.x0, x_t, batch.t, batch.noise)
    return losses


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return bf16 autocast over fp32 master weights, or nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
