"""What the training loop may expect of the parts of learning."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch

from components.model.latte import Latte


class Initialisation:
    """What weights training starts from."""

    def __call__(self, model: Latte, generator: torch.Generator) -> None:
        """Set every learned weight of the network; random numbers come from the generator, which the seed sets."""
        raise NotImplementedError

    def mismatches(self, model: Latte, entries: Mapping[str, torch.Tensor]) -> list[str]:
        """Return a line for each reason why weights of these names and shapes are no start for the network."""
        return []

    def refuse(self, model: Latte, launching: bool) -> None:
        """Look before anything is computed whether the start suits the network, which has shapes and no memory.

        Args:
            model: on the device `meta`.
            launching: whether the start must be named by now; a path may also come later, on the command line.

        Raises:
            SpecError: it does not; one line for each reason.
        """


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
