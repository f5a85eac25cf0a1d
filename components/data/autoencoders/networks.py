"""What autoencoders share: how they are run in bounded memory, and what names their weights."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from registry.errors import SpecError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FRAMES_AT_ONCE = 16  # frames that go through a network in one call; bounds memory, not a parameter of the result


def divide(resolution: int, factor: int, key: str) -> int:
    if resolution % factor:
        raise SpecError(f"{key}: frames of {resolution} pixels a side cannot be divided by {factor}")
    return resolution // factor


def in_batches(function: Callable[["Tensor"], "Tensor"], inputs: "Tensor", network: Any) -> "Tensor":
    """The function on at most FRAMES_AT_ONCE inputs at a time, on the network's device, in float32, without gradients.

    Never in TF32: latents are cached for all arms, whatever their `runtime`.
    """
    import torch

    from components.precision import tf32

    with torch.no_grad(), tf32(False, network.device):
        batches = torch.split(inputs, FRAMES_AT_ONCE)
        outputs = [function(some.to(network.device, torch.float32)) for some in batches]
    return torch.cat(outputs).to(inputs.device)


def hash_of(network: "torch.nn.Module", scale: float) -> str:
    digest = hashlib.sha256(repr(scale).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
