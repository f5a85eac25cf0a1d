"""What the training loop may expect of the parts of learning."""

from collections.abc import Mapping
from typing import Protocol

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


class LRSchedule(Protocol):
    """How the learning rate changes over the steps."""

    def factor(self, step: int) -> float: ...
