"""The autoencoder `taesd`: a small network with nearly the latents of `sd_vae`."""

from typing import TYPE_CHECKING

from components.data.autoencoders.hub import HubAutoencoder, load, must_agree
from components.data.autoencoders.networks import in_batches
from registry.parts.catalogue import part

if TYPE_CHECKING:
    from torch import Generator, Tensor


@part("autoencoder", "taesd")
class TinyAutoencoder(HubAutoencoder):
    """A distilled autoencoder with nearly the latents of `sd_vae` at a fraction of its cost, for decoding on CPUs.

    Source: none in the paper; TAESD by O. B. Bohan (madebyollin/taesd), through diffusers' AutoencoderTiny.
    Official code: no, our own addition.

    Args:
        resolution: side of the frames in pixels, a multiple of 8.
        weights: a hub name, or a local folder in diffusers' layout.

    Raises:
        SpecError: 8 does not divide the resolution.
        RunError: the weights cannot be had, or are those of an autoencoder with other latents.
    """

    def __init__(self, resolution: int, *, weights: str = "madebyollin/taesd") -> None:
        self.latent_shape = self.plan_shape(resolution, {"weights": weights})
        self.channels = self.moments = self.latent_shape[0]
        self.network = load("AutoencoderTiny", weights)
        config = self.network.config
        must_agree(weights, config.latent_channels, 2 ** (len(config.encoder_block_out_channels) - 1))
        self.scale = float(config.scaling_factor)

    def encode_moments(self, frames: "Tensor") -> "Tensor":
        """Frames (N, 3, H, W) in [-1, 1] -> moments (N, C, h, w): the latents themselves."""
        return in_batches(lambda some: self.network.encode(some).latents * self.scale, frames, self.network)

    @staticmethod
    def draw(moments: "Tensor", generator: "Generator | None" = None) -> "Tensor":
        """Moments (..., C, h, w) -> latents of the same shape; nothing is random here."""
        return moments
