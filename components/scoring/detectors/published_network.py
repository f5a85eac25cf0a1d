"""A detector's network with its published weights: one file, told by its SHA-256, loaded strictly."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from components.unpickling import load_tensors
from components.weights import KNOWN, find, sha256_of
from registry.errors import RunError, shortened
from registry.runs.command import command

Network = TypeVar("Network", bound=nn.Module)


def published_network(
    name: str, network: type[Network], own_names: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> tuple[Network, str]:
    """Return a network with the published weights of that name, for inference, and their SHA-256 hex digits.

    A score has the detector's name, so that no other weights than the published ones can be meant by it.

    Args:
        name: in `components.weights.KNOWN`, with a SHA-256.
        network: built without arguments.
        own_names: the entries of the file by the names that they have in the network.

    Raises:
        RunError: the file is not on this machine, is another one, or holds other entries.
    """
    path = find(name, instead="choose the detector moving_shapes_r3d, whose weights come with the workbench")
    found = sha256_of(path)
    if found != KNOWN[name].sha256:
        raise RunError(
            f"{path} has SHA-256 {found}, not {KNOWN[name].sha256} as published: delete it and fetch it again "
            f"(`{command()} fetch-weights {name}`)"
        )
    state = load_tensors(path, f"weights of {name}")
    with torch.device("meta"):  # no default initialisation, which would draw from the global generator
        built = network()
    try:
        built.load_state_dict(own_names(state), strict=True, assign=True)
    except (AttributeError, RuntimeError, TypeError) as error:
        told = shortened(" ".join(str(error).split()), 200)
        raise RunError(f"{path}: these are not the weights of {name}: {told}") from None
    return built.float().eval().requires_grad_(False), found
