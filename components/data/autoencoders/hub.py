"""Autoencoders of diffusers: loaded from the hub or from a folder in its layout."""

from typing import Any

from registry.errors import RunError


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
