"""The autoencoder `sd_vae`: the image VAE of Stable Diffusion, that of the paper."""

import math
from typing import TYPE_CHECKING

from components.data.autoencoders.hub import HubAutoencoder, load, must_agree
from components.data.autoencoders.networks import in_batches
from registry.parts.catalogue import part

if TYPE_CHECKING:
    from torch import Generator, Tensor


@part("autoencoder", "sd_vae")
class StableDiffusionVAE(HubAutoencoder):
    """The image VAE of Stable Diffusion, through diffusers' AutoencoderKL.

    Source: paper section 3.1 and 4.1: videos are encoded frame by frame by the pre-trained VAE of Stable Diffusion
        (the ft-ema decoder), latents are a posterior sample times 0.18215.
    Official code: yes (Vchitect/Latte, train.py and sample/sample.py).

    Args:
        resolution: side of the frames in pixels, a multiple of 8.
        weights: a hub name, or a local folder in diffusers' layout.

    Raises:
        SpecError: 8 does not divide the resolution.
        RunError: the weights cannot be had, or are those of an autoencoder with other latents.
    """

    def __init__(self, resolution: int, *, weights: str = "stabilityai/sd-vae-ft-ema") -> None:
        self.latent_shape = self.plan_shape(resolution, {"weights": weights})
        self.channels = self.latent_shape[0]
        self.moments = 2 * self.channels
        self.network = load("AutoencoderKL", weights)
        config = self.network.config
        must_agree(weights, config.latent_channels, 2 ** (len(config.block_out_channels) - 1))
        self.scale = float(config.scaling_factor)

    def encode_moments(self, frames: "Tensor") -> "Tensor":
        """Frames (N, 3, H, W) in [-1, 1] -> mean and log-variance (N, 2C, h, w) of the scaled latents."""
        import torch

        def encode(some: "Tensor") -> "Tensor":
            posterior = self.network.encode(some).latent_dist
            # Scaling the latents by s scales the mean by s and shifts the log-variance by 2 ln s.
            return torch.cat([posterior.mean * self.scale, posterior.logvar + 2 * math.log(self.scale)], dim=1)

        return in_batches(encode, frames, self.network)

    @staticmethod
    def draw(moments: "Tensor", generator: "Generator | None" = None) -> "Tensor":
        """Moments (..., 2C, h, w) -> a posterior sample (..., C, h, w), its noise from the generator's device."""
        import torch

        mean, log_variance = moments.chunk(2, dim=-3)
        device = mean.device if generator is None else generator.device
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=device)
        return mean + torch.exp(0.5 * log_variance) * noise.to(mean.device)
