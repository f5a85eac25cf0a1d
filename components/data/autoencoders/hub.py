"""Autoencoders of diffusers: loaded from the hub or from a folder in its layout."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from components.data.autoencoders.networks import divide, hash_of, in_batches
from registry.errors import RunError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class HubAutoencoder:
    """What diffusers' autoencoders of 4 channels at 1/8 share; `network` and `scale` are those of the weights."""

    part_name: str
    network: Any
    scale: float

    @classmethod
    def plan_shape(cls, resolution: int, parameters: Mapping[str, Any]) -> tuple[int, int, int]:
        """(4, R/8, R/8); SpecError where 8 does not divide the resolution."""
        side = divide(resolution, 8, f"data.autoencoder {cls.part_name}")
        return 4, side, side

    def decode(self, latents: "Tensor") -> "Tensor":
        """Scaled latents (N, C, h, w) -> frames (N, 3, H, W), in [-1, 1] but for overshoots of the decoder."""
        return in_batches(lambda some: self.network.decode(some / self.scale).sample, latents, self.network)

    def fingerprint(self) -> str:
        """Hash of the weights and the scale; equal fingerprints give equal moments."""
        return f"{self.part_name}-{hash_of(self.network, self.scale)}"

    def to(self, device: "torch.device | str") -> Self:
        self.network.to(device)
        return self


def load(class_name: str, weights: str) -> Any:
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


def must_agree(weights: str, channels: int, factor: int) -> None:
    if (channels, factor) != (4, 8):
        raise RunError(
            f"autoencoder weights {weights!r} give {channels} channels at 1/{factor} of the resolution; "
            "this part plans with 4 channels at 1/8"
        )
