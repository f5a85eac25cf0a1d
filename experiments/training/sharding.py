"""Weights shared out over processes (FSDP2), and back to the whole ones that checkpoints hold.

A checkpoint is the same file whatever wrote it: one process, several, or several with a share each. `whole` gathers,
`shares_of_…` takes this process's share of what was read, one tensor at a time, so that no GPU holds a second network.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from components.learning.contracts import Steps
from components.learning.ema import own_share
from components.model.latte import Latte
from experiments.training.processes import Processes


def shard(model: Latte, processes: Processes) -> None:
    """Share out the weights, in place: each block is gathered when it computes, the rest with the whole network."""
    mesh = init_device_mesh(processes.device.type, (processes.world,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def whole(value: Any, keep: bool) -> Any:
    """A state with its shared tensors gathered; every process must come, and those that do not `keep` get none of them.

    Args:
        value: a tensor, or dicts and lists that hold some.
        keep: whether this process wants the tensors, on the CPU where they were shared out.
    """
    if isinstance(value, DTensor):
        gathered = value.full_tensor().detach()
        return gathered.cpu() if keep else None
    if isinstance(value, Mapping):
        return {key: whole(item, keep) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(whole(item, keep) for item in value)
    return value


def share_of(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's share of a whole tensor, as `like` is shared out; nothing is sent, each process has it all."""
    if isinstance(like, DTensor) and tensor.shape == like.shape:
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return tensor


def shares_of_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Shares of whole weights by name; buffers are whole everywhere."""
    parameters = dict(model.named_parameters())
    return {name: share_of(value, parameters.get(name, value)) for name, value in state.items()}


def shares_of_optimiser(state: Mapping[str, Any], optimiser: Steps) -> dict[str, Any]:
    """Shares of a whole optimiser state, whose moments are shared out as the weights they belong to."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    moments = {
        number: {name: share_of(value, parameters[number]) if torch.is_tensor(value) else value
                 for name, value in own_state.items()}
        for number, own_state in state["state"].items()
    }  # fmt: skip
    return {**state, "state": moments}


@contextmanager
def swapped(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Let the network have other weights for a while; both sets are shared out alike, and neither bit is lost."""

    @torch.no_grad()
    def swap() -> None:
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # what a forward pass gathered of the weights before stands no longer
        for name, parameter in model.named_parameters():
            mine, theirs = own_share(parameter), own_share(weights[name])
            before = mine.clone()
            mine.copy_(theirs)
            theirs.copy_(before)

    swap()
    try:
        yield
    finally:
        swap()
