"""The loss of a batch: latents noised, the network asked, and the objective's terms."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from components.diffusion.contracts import LossWeighting
from components.model.latte import Latte
from registry.schema.spec import Spec


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
        text: (B, L, E) embeddings of the clips' captions, or None without captions.
        text_mask: (B, L) which of them count, or None without captions.
    """

    x0: Tensor
    t: Tensor
    noise: Tensor
    labels: Tensor | None = None
    still_labels: Tensor | None = None
    stills: int = 0
    text: Tensor | None = None
    text_mask: Tensor | None = None

    @property
    def given(self) -> dict[str, Tensor]:
        """What the network is told of the samples besides latents and time, by the names of its arguments."""
        told = {
            "labels": self.labels,
            "still_labels": self.still_labels,
            "text": self.text,
            "text_mask": self.text_mask,
        }
        return {name: value for name, value in told.items() if value is not None}

    def rows(self, rows: slice | Tensor) -> "Batch":
        """Return some of its samples."""
        given = {name: value[rows] for name, value in self.given.items()}
        return Batch(self.x0[rows], self.t[rows], self.noise[rows], stills=self.stills, **given)


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
    factors = None if weighting is None else weighting.factors(objective, batch.t)
    output = model(x_t, objective.network_time(batch.t), **batch.given)

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


def blank_text(model: Latte, spec: Spec, rows: int, device: torch.device) -> dict[str, Tensor]:
    """Return embeddings (B, L, E) and mask (B, L) of zeros for a network that reads captions; for others nothing."""
    if (width := model.conditioning.text_width) is None or spec.data.text_encoder is None:
        return {}
    text = torch.zeros(rows, spec.data.text_encoder.parameters["length"], width, device=device)
    return {"text": text, "text_mask": torch.ones(text.shape[:2], dtype=torch.bool, device=device)}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return bf16 autocast over fp32 master weights, or nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
