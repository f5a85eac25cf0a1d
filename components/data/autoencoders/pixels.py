"""The autoencoder `pixels`: space to depth, without weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.data.autoencoders.networks import divide
from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveInt

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor


@part("autoencoder", "pixels")
class Pixels:
    """Space to depth: each factor x factor square of pixels becomes the channels of one latent position, exactly.

    Source: none in the paper; a weight-free stand-in for its image autoencoder, so that everything runs offline.
    Official code: no, our own control.

    Args:
        resolution: side of the frames in pixels.
        factor: pixels a side that go into one position; the latents have 3 * factor**2 channels.

    Raises:
        SpecError: the factor does not divide the resolution.
    """

    scale = 1.0

    def __init__(self, resolution: int, *, factor: PositiveInt = 4) -> None:
        self.factor = factor
        self.latent_shape = self.plan_shape(resolution, {"factor": factor})
        self.channels = self.moments = self.latent_shape[0]

    @classmethod
    def plan_shape(cls, resolution: int, parameters: Mapping[str, Any]) -> tuple[int, int, int]:
        """(C, h, w) of one frame's latents; SpecError where the factor does not divide the resolution."""
        factor = int(parameters.get("factor", 4))
        side = divide(resolution, factor, "data.autoencoder.factor")
        return 3 * factor**2, side, side

    def encode_moments(self, frames: "Tensor") -> "Tensor":
        """Frames (N, 3, H, W) in [-1, 1] -> moments (N, C, h, w): the latents themselves."""
        from einops import rearrange

        return rearrange(frames, "n c (h p) (w q) -> n (c p q) h w", p=self.factor, q=self.factor)

    @staticmethod
    def draw(moments: "Tensor", generator: "Generator | None" = None) -> "Tensor":
        """Moments (..., C, h, w) -> latents of the same shape; nothing is random here."""
        return moments

    def decode(self, latents: "Tensor") -> "Tensor":
        """Latents (N, C, h, w) -> frames (N, 3, H, W); the exact inverse of `encode_moments`."""
        from einops import rearrange

        return rearrange(latents, "n (c p q) h w -> n c (h p) (w q)", p=self.factor, q=self.factor)

    def fingerprint(self) -> str:
        """Names the mapping; equal fingerprints give equal moments."""
        return f"pixels-{self.factor}"

    def to(self, device: "torch.device | str") -> "Pixels":
        return self
