"""How a batch is shared out over processes, and how their gradients become the batch's."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from experiments.training.processes import Processes
from registry.errors import RunError


def pieces_of(size: int, accumulation: int, processes: Processes) -> list[tuple[slice, bool]]:
    """This process's rows of a batch as micro-batches, and whether their gradient counts.

    All processes have as many, since they compute in step. One that has too few rows takes its first one again, for
    nothing.

    Args:
        size: rows of the batch, over all processes.
        accumulation: micro-batches that are wanted; there are fewer where rows are.
        processes: those that share the batch.

    Raises:
        RunError: there are more processes than rows.
    """
    if size < processes.world:
        raise RunError(
            f"a batch of {size} clips cannot be shared out over {processes.world} processes; start at most {size}, or "
            "raise learning.batch_size (which makes it another arm)"
        )
    rows, most = processes.share(size), -(-size // processes.world)
    count = min(accumulation, most)
    own = min(count, len(rows))
    ends = [rows.start + -(-len(rows) * k // own) for k in range(own + 1)]
    cut = [(slice(first, end), True) for first, end in pairwise(ends)]
    return cut + [(slice(rows.start, rows.start + 1), False)] * (count - own)


def gathering(model: nn.Module, forward: Callable[[], Tensor], device: torch.device) -> DistributedDataParallel:
    """The network in torch's wrapper, which averages gradients over the processes while they are computed.

    Args:
        model: the network, the same in every process.
        forward: computes some output of it; tells which weights get a gradient.
        device: where it is.
    """
    # A weight that plays no part, such as a position that no block uses, must be known: the wrapper waits for all.
    forward().float().sum().backward()
    unused = any(p.grad is None for p in model.parameters() if p.requires_grad)
    model.zero_grad(set_to_none=True)
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        forward_sync_buffers=False,  # fixed tables, the same in all
        gradient_as_bucket_view=True,
        find_unused_parameters=unused,
    )


def meeting(network: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """Gradients of all processes meet behind the last micro-batch only; where weights are shared out, behind each."""
    if last or not isinstance(network, DistributedDataParallel):
        return nullcontext()
    waiting: AbstractContextManager[Any] = network.no_sync()
    return waiting


def summed(means: dict[str, Tensor], processes: Processes) -> dict[str, Tensor]:
    """The sums of scalars over the processes, in one message."""
    if processes.alone:
        return means
    return dict(zip(means, processes.sum(torch.stack(list(means.values()))).unbind(), strict=True))
