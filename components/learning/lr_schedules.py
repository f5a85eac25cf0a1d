"""Slot `lr_schedule`: the factor on the learning rate at each optimiser step.

Contract: constructed with the number of steps of the run; `factor(step)` for step = 0 … steps - 1.
"""

import math

from registry.parts.catalogue import part
from registry.schema.parameter_types import Fraction, PositiveInt


@part("lr_schedule", "constant")
class Constant:
    """The same learning rate throughout.

    Source: golden README, 10.1 (the official warm-up settings are ignored by its code)
    Official code: yes (train.py)
    """

    def __init__(self, steps: int) -> None:
        pass

    def factor(self, step: int) -> float:
        """1 at every step."""
        return 1.0


@part("lr_schedule", "warm_up")
class WarmUp:
    """A linear rise over `warm_up_steps`, then constant.

    Source: none in the paper; arXiv 1706.02677, section 2.2
    Official code: no, the official setting does nothing
    """

    def __init__(self, steps: int, *, warm_up_steps: PositiveInt = 1000) -> None:
        self.warm_up_steps = warm_up_steps

    def factor(self, step: int) -> float:
        """Rises from 1 / warm_up_steps at step 0 to 1."""
        return min(1.0, (step + 1) / self.warm_up_steps)


@part("lr_schedule", "cosine")
class Cosine:
    """A linear rise over `warm_up_steps`, then half a cosine down to `final` at the last step.

    Source: none in the paper; SGDR without restarts, arXiv 1608.03983, equation 5
    Official code: no, our addition
    """

    def __init__(self, steps: int, *, warm_up_steps: PositiveInt = 1, final: Fraction = 0.0) -> None:
        self.steps, self.warm_up_steps, self.final = steps, warm_up_steps, final

    def factor(self, step: int) -> float:
        """1 at the end of the warm-up, `final` at step = steps - 1."""
        if step < self.warm_up_steps:
            return (step + 1) / self.warm_up_steps
        progress = (step + 1 - self.warm_up_steps) / max(1, self.steps - self.warm_up_steps)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2
