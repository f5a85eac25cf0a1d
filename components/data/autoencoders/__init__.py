"""Autoencoders: frames <-> latents, and the per-frame moments that the latent cache holds; one a file.

Moments are those of the *scaled* latents (what the diffusion model sees), so `draw` needs no weights. torch is imported
inside the methods, so that planning can ask for `plan_shape` without it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor


class Autoencoder(Protocol):
    """What every autoencoder part offers.

    Attributes:
        channels: C of the latents.
        latent_shape: (C, h, w) of one frame's latents.
        scale: factor already contained in moments and latents; None where the part states none: its latents are then
            standardised by the mean and spread of the data (see `components.data.standardisation`).
        moments: channels of the moments, C or 2C (mean, log-variance).
    """

    channels: int
    latent_shape: tuple[int, int, int]
    scale: float | None
    moments: int

    def encode_moments(self, frames: "Tensor") -> "Tensor": ...

    @staticmethod
    def draw(moments: "Tensor", generator: "Generator | None") -> "Tensor": ...

    def decode(self, latents: "Tensor") -> "Tensor": ...

    def fingerprint(self) -> str: ...

    def to(self, device: "torch.device | str") -> "Autoencoder": ...

    @classmethod
    def plan_shape(cls, resolution: int, parameters: Mapping[str, Any]) -> tuple[int, int, int]: ...
