"""Autoencoders: frames <-> latents, and the per-frame moments that the latent cache holds.

Moments are those of the *scaled* latents (what the diffusion model sees), so `draw` needs no weights. torch is imported
inside the methods, so that planning can ask for `plan_shape` without it.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from registry.errors import RunError, SpecError
from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveInt

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor

FRAMES_AT_ONCE = 16  # frames that go through a network in one call; bounds memory, not a parameter of the result


class Autoencoder(Protocol):
    """What every autoencoder part offers.

    Attributes:
        channels: C of the latents.
        latent_shape: (C, h, w) of one frame's latents.
        scale: factor already contained in moments and latents.
        moments: channels of the moments, C or 2C (mean, log-variance).
    """

    channels: int
    latent_shape: tuple[int, int, int]
    scale: float
    moments: int

    def encode_moments(self, frames: "Tensor") -> "Tensor": ...

    @staticmethod
    def draw(moments: "Tensor", generator: "Generator | None") -> "Tensor": ...

    def decode(self, latents: "Tensor") -> "Tensor": ...

    def fingerprint(self) -> str: ...

    def to(self, device: "torch.device | str") -> "Autoencoder": ...

    @classmethod
    def plan_shape(cls, resolution: int, parameters: Mapping[str, Any]) -> tuple[int, int, int]: ...


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
        side = _divide(resolution, factor, "data.autoencoder.factor")
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


@part("autoencoder", "sd_vae")
class StableDiffusionVAE:
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
        self.network = _load("AutoencoderKL", weights)
        config = self.network.config
        _must_agree(weights, config.latent_channels, 2 ** (len(config.block_out_channels) - 1))
        self.scale = float(config.scaling_factor)

    @classmethod
    def plan_shape(cls, resolution: int, parameters: Mapping[str, Any]) -> tuple[int, int, int]:
        """(4, R/8, R/8); SpecError where 8 does not divide the resolution."""
        side = _divide(resolution, 8, "data.autoencoder sd_vae")
        return 4, side, side

    def encode_moments(self, frames: "Tensor") -> "Tensor":
        """Frames (N, 3, H, W) in [-1, 1] -> mean and log-variance (N, 2C, h, w) of the scaled latents."""
        import torch

        def encode(some: "Tensor") -> "Tensor":
            posterior = self.network.encode(some).latent_dist
            # Scaling the latents by s scales the mean by s and shifts the log-variance by 2 ln s.
            return torch.cat([posterior.mean * self.scale, posterior.logvar + 2 * math.log(self.scale)], dim=1)

        return _in_batches(encode, frames, self.network)

    @staticmethod
    def draw(moments: "Tensor", generator: "Generator | None" = None) -> "Tensor":
        """Moments (..., 2C, h, w) -> a posterior sample (..., C, h, w), its noise from the generator's device."""
        import torch

        mean, log_variance = moments.chunk(2, dim=-3)
        device = mean.device if generator is None else generator.device
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=device)
        return mean + torch.exp(0.5 * log_variance) * noise.to(mean.device)

    def decode(self, latents: "Tensor") -> "Tensor":
        """Scaled latents (N, C, h, w) -> frames (N, 3, H, W), in [-1, 1] but for overshoots of the decoder."""
        return _in_batches(lambda some: self.network.decode(some / self.scale).sample, latents, self.network)

    def fingerprint(self) -> str:
        """Hash of the weights and the scale; equal fingerprints give equal moments."""
        return f"sd_vae-{_hash_of(self.network, self.scale)}"

    def to(self, device: "torch.device | str") -> "StableDiffusionVAE":
        self.network.to(device)
        return self


@part("autoencoder", "taesd")
class TinyAutoencoder:
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
        self.network = _load("AutoencoderTiny", weights)
        config = self.network.config
        _must_agree(weights, config.latent_channels, 2 ** (len(config.encoder_block_out_channels) - 1))
        self.scale = float(config.scaling_factor)

    @classmethod
    def plan_shape(cls, resolution: int, parameters: Mapping[str, Any]) -> tuple[int, int, int]:
        """(4, R/8, R/8); SpecError where 8 does not divide the resolution."""
        side = _divide(resolution, 8, "data.autoencoder taesd")
        return 4, side, side

    def encode_moments(self, frames: "Tensor") -> "Tensor":
        """Frames (N, 3, H, W) in [-1, 1] -> moments (N, C, h, w): the latents themselves."""
        return _in_batches(lambda some: self.network.encode(some).latents * self.scale, frames, self.network)

    @staticmethod
    def draw(moments: "Tensor", generator: "Generator | None" = None) -> "Tensor":
        """Moments (..., C, h, w) -> latents of the same shape; nothing is random here."""
        return moments

    def decode(self, latents: "Tensor") -> "Tensor":
        """Latents (N, C, h, w) -> frames (N, 3, H, W), in [-1, 1] but for overshoots of the decoder."""
        return _in_batches(lambda some: self.network.decode(some / self.scale).sample, latents, self.network)

    def fingerprint(self) -> str:
        """Hash of the weights and the scale; equal fingerprints give equal moments."""
        return f"taesd-{_hash_of(self.network, self.scale)}"

    def to(self, device: "torch.device | str") -> "TinyAutoencoder":
        self.network.to(device)
        return self


def _divide(resolution: int, factor: int, key: str) -> int:
    if resolution % factor:
        raise SpecError(f"{key}: frames of {resolution} pixels a side cannot be divided by {factor}")
    return resolution // factor


def _load(class_name: str, weights: str) -> Any:
    """The network, frozen, in evaluation mode and float32; weights that cannot be had say what to do."""
    import diffusers
    import torch

    try:
        network = getattr(diffusers, class_name).from_pretrained(weights, torch_dtype=torch.float32)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(
            f"autoencoder weights {weights!r} cannot be loaded ({reason}); download them where there is a network, "
            "set data.autoencoder.weights to that folder, or use the autoencoder 'pixels', which needs none"
        ) from None
    return network.eval().requires_grad_(False)


def _must_agree(weights: str, channels: int, factor: int) -> None:
    if (channels, factor) != (4, 8):
        raise RunError(
            f"autoencoder weights {weights!r} give {channels} channels at 1/{factor} of the resolution; "
            "this part plans with 4 channels at 1/8"
        )


def _in_batches(function: Callable[["Tensor"], "Tensor"], inputs: "Tensor", network: Any) -> "Tensor":
    """The function on at most FRAMES_AT_ONCE inputs at a time, on the network's device, in float32, without gradients.

    Never in TF32: latents are cached for all arms, whatever their `runtime`.
    """
    import torch

    from components.precision import tf32

    with torch.no_grad(), tf32(False, network.device):
        batches = torch.split(inputs, FRAMES_AT_ONCE)
        outputs = [function(some.to(network.device, torch.float32)) for some in batches]
    return torch.cat(outputs).to(inputs.device)


def _hash_of(network: "torch.nn.Module", scale: float) -> str:
    digest = hashlib.sha256(repr(scale).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
