"""What the training loop may expect of the parts of learning."""

from typing import Any, Protocol

import torch

from components.model.latte import Latte


class Initialisation(Protocol):
    """What weights training starts from."""

    def __call__(self, model: Latte, generator: torch.Generator) -> None: ...


class Steps(Protocol):
    """What steps a network's weights: the methods of a torch optimiser that the training loop calls."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...

    def step(self) -> Any: ...
    def zero_grad(self, set_to_none: bool = True) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> None: ...


class Optimiser(Protocol):
    """What makes a step of the gradients."""

    def __call__(self, model: Latte, learning_rate: float) -> Steps: ...


class LRSchedule(Protocol):
    """How the learning rate changes over the steps."""

    def factor(self, step: int) -> float: ...
