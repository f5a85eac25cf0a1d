"""Slot `optimiser`: what makes a step of the gradients.

Contract: constructed with the part's parameters alone; called with the network and the learning rate, it returns what
steps that network's weights, with the methods of a torch optimiser (`contracts.Steps`). The loop sets the rate of every
parameter group at every step, to the learning rate times the schedule's factor.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from components.learning import eager_optimisers as eager
from components.learning.contracts import Steps
from components.model.latte import Latte
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count, Fraction, NonNegativeFloat


@part("optimiser", "adamw")
class AdamW:
    """AdamW over all weights.

    Source: paper, section 4.1; golden README, 10.1; AdamW: arXiv 1711.05101, algorithm 2
    Official code: yes (train.py)
    """

    def __init__(self, *, beta1: Fraction = 0.9, beta2: Fraction = 0.999, weight_decay: NonNegativeFloat = 0.0) -> None:
        self.betas, self.weight_decay = (beta1, beta2), weight_decay

    def __call__(self, model: Latte, learning_rate: float) -> Steps:
        """Return the optimiser of a network."""
        return _adamw(model.parameters(), learning_rate, self.betas, self.weight_decay)


@part("optimiser", "muon")
class Muon:
    """Muon for the matrices of the blocks, AdamW for the rest: embeddings, head and vectors.

    Muon's step is the momentum of a matrix, made nearly orthogonal by `iterations` of Newton and Schulz in bfloat16,
    times 0.2 sqrt(the longer side): as large as AdamW's steps are, so that both take the one learning rate. The
    matrices of queries, keys and values are one, as are a block's modulations.

    Source: none in the paper; Jordan et al. 2024 (Muon: an optimizer for hidden layers in neural networks); size of a
        step and one learning rate: Liu et al. 2025, arXiv 2502.16982, section 2.2
    Official code: no, our addition; the step is torch's (torch.optim.Muon, `match_rms_adamw`)
    """

    requires = (
        ("", "not runtime.shard", "{name} needs whole matrices, and runtime.shard leaves each process a share of them"),
    )

    def __init__(
        self,
        *,
        momentum: Fraction = 0.95,
        iterations: Count = 5,
        beta1: Fraction = 0.9,
        beta2: Fraction = 0.999,
        weight_decay: NonNegativeFloat = 0.0,
    ) -> None:
        self.momentum, self.iterations = momentum, iterations
        self.betas, self.weight_decay = (beta1, beta2), weight_decay

    def __call__(self, model: Latte, learning_rate: float) -> Steps:
        """Return the optimiser of a network."""
        matrices = [layer.weight for layer in model.blocks.modules() if isinstance(layer, nn.Linear)]
        taken = {id(weight) for weight in matrices}
        others = [weight for weight in model.parameters() if id(weight) not in taken]
        muon = eager.Muon(
            matrices, learning_rate, self.weight_decay, self.momentum, ns_steps=self.iterations,
            adjust_lr_fn="match_rms_adamw",
        )  # fmt: skip
        return SideBySide(matrices=muon, others=_adamw(others, learning_rate, self.betas, self.weight_decay))


class SideBySide:
    """Several optimisers, each of weights of its own, as one.

    Args:
        optimisers: by the names that their states have in a checkpoint.
    """

    def __init__(self, **optimisers: torch.optim.Optimizer) -> None:
        self.optimisers = optimisers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all."""
        return [group for optimiser in self.optimisers.values() for group in optimiser.param_groups]

    def step(self) -> None:
        """Step all weights."""
        for optimiser in self.optimisers.values():
            optimiser.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients."""
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the states by name."""
        return {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the states."""
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state[name])


def _adamw(
    weights: Iterable[nn.Parameter], learning_rate: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    return eager.AdamW(weights, learning_rate, betas, eps=1e-8, weight_decay=weight_decay, fused=True)
