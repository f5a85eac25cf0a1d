"""The memory of a training step, traced with tensors that have shapes and no content: nothing is allocated or computed.

torch's fake tensors go through the very step that a training takes, autograd and optimiser included, while every
storage that it makes is noted with its bytes until it is freed. What comes out is what the step asks the allocator for,
not a formula fitted to measurements. What it does not see is what kernels use inside, and what an allocator rounds up;
docs/performance.md has predictions beside measurements.
"""

import json
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from components.model import attending
from components.network_counts import SOURCES, remembered_of
from experiments.plan.one_step import OneStep
from experiments.training.processes import Processes
from registry.errors import RunError, SpecError
from registry.parts.catalogue import catalogue
from registry.schema.spec import Spec
from registry.schema.values import NETWORK, values_at

# The keys that decide it, beside the number of processes and where they compute.
DECIDE = (
    *NETWORK,
    "learning.batch_size",
    "learning.clip_norm",
    "learning.optimiser",
    "runtime.precision",
    "runtime.accumulation",
    "runtime.checkpointing",
    "runtime.shard",
)
DECIDED_BY = (*SOURCES, "experiments/training", "experiments/plan")  # folders of this repository
SHALLOW = (4, 6)  # depths that are traced where a stack is deeper than both together


@dataclass(frozen=True)
class StepMemory:
    """Bytes of one process at the moment of a training step at which it holds most.

    Args:
        parameters: weights and fixed tables.
        average: the averaged weights (EMA).
        optimiser: its state.
        gradients: those that are there at that moment.
        activations: everything else: what is kept for the backward pass, the batch, and what is being computed.
    """

    parameters: int
    average: int
    optimiser: int
    gradients: int
    activations: int

    @property
    def peak(self) -> int:
        return sum(asdict(self).values())


def step_memory(spec: Spec, world: int = 1, gpu: bool = False) -> StepMemory:
    """Trace a training step of an arm, or recall what was traced before; neither a GPU nor memory is needed.

    Compiled blocks keep less; they are traced as they are without compilation.

    Args:
        spec: of the arm.
        world: processes that train it together; the batch is shared out, and so are weights with `runtime.shard`.
        gpu: whether it computes on a GPU, whose attention keeps no matrix.

    Raises:
        SpecError: shapes that do not go together, or more processes than clips in a batch.
    """
    key = json.dumps([values_at(spec, DECIDE), world, gpu])
    names = [field.name for field in fields(StepMemory)]
    found = remembered_of("memory", names, key, spec, lambda: asdict(_of_any_depth(spec, world, gpu)), DECIDED_BY)
    return StepMemory(**found)


def _of_any_depth(spec: Spec, world: int, gpu: bool) -> StepMemory:
    """Trace a deep stack of alike blocks at two small depths: every further block adds the same bytes."""
    depth = spec.model.depth
    assert depth is not None, "resolved"
    multiple = catalogue(spec.plugins).find("blocks", spec.model.blocks.name).fact("depth_multiple") or 1
    low, high = (-(-number // multiple) * multiple for number in SHALLOW)
    if depth <= low + high or (depth - low) % (high - low):
        return _traced(spec, world, gpu)
    at_low, at_high = (
        _traced(spec.model_copy(update={"model": spec.model.model_copy(update={"depth": own})}), world, gpu)
        for own in (low, high)
    )
    more = (depth - high) // (high - low)
    pairs = zip(astuple(at_low), astuple(at_high), strict=True)
    return StepMemory(*(second + more * (second - first) for first, second in pairs))


def _traced(spec: Spec, world: int, gpu: bool) -> StepMemory:
    runtime = spec.runtime.model_copy(update={"compile": False})
    device = torch.device("cpu")
    try:
        with _kernels_of(gpu), FakeTensorMode(allow_non_fake_inputs=True), _Live() as live:
            step = OneStep(spec.model_copy(update={"runtime": runtime}), device, Processes(world=world, device=device))
            return _peak_of(step, live, world if spec.runtime.shard else 1)
    except RunError as error:  # more processes than clips
        raise SpecError(f"learning.batch_size: {error}") from None


def _peak_of(step: OneStep, live: "_Live", shares: int) -> StepMemory:
    """Take one step with one micro-batch, and work out the most that any step with all of them holds.

    Forward and backward of a later step have the optimiser's state beside them, which the first step makes at its end;
    those of a later micro-batch have all gradients beside them.
    """
    parameters = _bytes_of([*step.model.parameters(), *step.model.buffers()])
    average = _bytes_of(step.average.parameters)
    for weight in step.model.parameters():
        weight.register_post_accumulate_grad_hook(lambda w: live.is_gradient(w.grad))
    micro_batches = len(step.pieces)
    step.pieces = [max(step.pieces, key=lambda piece: piece[0].stop - piece[0].start)]
    update = step.gradients()
    gradients, fixed = live.gradients, parameters + average
    first, others = (live.at_peak, live.most_others - fixed)
    in_backward = (gradients, others) if micro_batches > 1 else (first[1], first[0] - first[1] - fixed)
    live.start_anew()
    update()
    optimiser = _bytes_of(leaf for leaf in tree_leaves(step.optimiser.state_dict()) if isinstance(leaf, Tensor))
    in_update = (gradients, max(0, live.at_peak[0] - gradients - fixed - optimiser))
    of_gradients, activations = max(in_backward, in_update, key=sum)
    if shares > 1:  # one block's weights and their gradients are whole while it computes, the next one's are fetched
        activations += 3 * max((_bytes_of(block.parameters()) for block in step.model.blocks), default=0)
    parameters, average, optimiser, of_gradients = (
        -(-number // shares) for number in (parameters, average, optimiser, of_gradients)
    )
    return StepMemory(parameters, average, optimiser, of_gradients, activations)


class _Live(TorchDispatchMode):
    """Bytes of all storages that are alive, and the most that there were, with and without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.of_gradients: set[int] = set()
        self.now = self.gradients = 0
        self.start_anew()

    def start_anew(self) -> None:
        """Forget the peaks up to here."""
        self.at_peak = (self.now, self.gradients)
        self.most_others = self.now - self.gradients

    def is_gradient(self, tensor: Tensor | None) -> None:
        """Count a tensor as a gradient from here on."""
        assert tensor is not None, "just accumulated"
        key = tensor.untyped_storage()._cdata
        if key in self.sizes and key not in self.of_gradients:
            self.of_gradients.add(key)
            self.gradients += self.sizes[key]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        if self.now > self.at_peak[0]:
            self.at_peak = (self.now, self.gradients)
        self.most_others = max(self.most_others, self.now - self.gradients)
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            weakref.finalize(storage, self._freed, key)

    def _freed(self, key: int) -> None:
        size = self.sizes.pop(key)
        self.now -= size
        if key in self.of_gradients:
            self.of_gradients.discard(key)
            self.gradients -= size


@contextmanager
def _kernels_of(gpu: bool) -> Iterator[None]:
    """Choose attention's kernel as a GPU does: the fused one, whatever the shape."""
    before = attending.MOST_WRITTEN_OUT
    attending.MOST_WRITTEN_OUT = 0 if gpu else before
    try:
        yield
    finally:
        attending.MOST_WRITTEN_OUT = before


def _bytes_of(tensors: Iterable[Tensor | nn.Parameter]) -> int:
    return sum({tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}.values())
