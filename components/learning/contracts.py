"""What the training loop may expect of the parts of learning."""

from typing import Protocol

import torch

from components.model.latte import Latte


class Initialisation:
    """What weights training starts from."""

    def __call__(self, model: Latte, generator: torch.Generator) -> None:
        """Set every learned weight of the network; random numbers come from the generator, which the seed sets."""
        raise NotImplementedError

    def refuse(self, model: Latte) -> None:
        """Look before anything is computed whether the start suits the network, which has shapes and no memory.

        Raises:
            SpecError: it does not; one line for each reason.
        """


class LRSchedule(Protocol):
    """How the learning rate changes over the steps."""

    def factor(self, step: int) -> float: ...
