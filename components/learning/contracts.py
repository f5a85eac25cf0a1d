"""What the training loop may expect of the parts of learning."""

from typing import Protocol

import torch

from components.model.latte import Latte


class Initialisation(Protocol):
    """What weights training starts from."""

    def __call__(self, model: Latte, generator: torch.Generator) -> None: ...


class LRSchedule(Protocol):
    """How the learning rate changes over the steps."""

    def factor(self, step: int) -> float: ...
