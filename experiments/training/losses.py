"""The loss of a batch: latents noised, the network asked, and the objective's terms."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from components.diffusion.contracts import LossWeighting


@dataclass(frozen=True)
class Batch:
    """What the losses of a batch are computed of.

    Attributes:
        x0: latents (B, F + n, C, H, W) of a clip and the n stills behind it.
        t: times (B,) of the objective, shared by clip and stills.
        noise: as x0.
        labels: (B,) of the clips, or None without classes.
        still_labels: (B, n) of the stills, or None without classes or stills.
        stills: their number n.
    """

    x0: Tensor
    t: Tensor
    noise: Tensor
    labels: Tensor | None = None
    still_labels: Tensor | None = None
    stills: int = 0

    def rows(self, rows: slice | Tensor) -> "Batch":
        """Return some of its samples."""
        labels, still_labels = (None if of is None else of[rows] for of in (self.labels, self.still_labels))
        return Batch(self.x0[rows], self.t[rows], self.noise[rows], labels, still_labels, self.stills)


def losses_of(
    objective: Any, model: Callable[..., Tensor], batch: Batch, weighting: LossWeighting | None = None
) -> dict[str, Tensor]:
    """Return the objective's losses (B,) of a batch: means over all frames, those of stills as much as a clip's.

    `loss` is weighted by timestep where a weighting is given, other terms are not. With stills, `loss_clips` and
    `loss_stills` (B,) are the parts of `loss` that are of the clip and of the stills.

    Source: golden README, 3 and 4.2: the head treats all F + n frames, and the loss is the mean over all axes but the
        batch
    """
    x_t = objective.noised(batch.x0, batch.t, batch.noise)
    given = (batch.labels,) if batch.still_labels is None else (batch.labels, batch.still_labels)
    factors = None if weighting is None else weighting.factors(objective, batch.t)
    output = model(x_t, objective.network_time(batch.t), *given)

    def of(frames: slice) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = objective.losses(
            output[:, frames], batch.x0[:, frames], x_t[:, frames], batch.t, batch.noise[:, frames]
        )
        return terms if factors is None else terms | {"loss": terms["loss"] + (factors - 1) * terms["mse"]}

    if not batch.stills:
        return of(slice(None))
    every, clip = x_t.shape[1], x_t.shape[1] - batch.stills
    clips, stills = of(slice(clip)), of(slice(clip, None))
    means = {name: (clip * clips[name] + batch.stills * stills[name]) / every for name in clips}
    return {**means, "loss_clips": clips["loss"].detach(), "loss_stills": stills["loss"].detach()}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return bf16 autocast over fp32 master weights, or nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
