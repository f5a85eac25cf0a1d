"""Slot `timestep_sampling`: which times are trained on how often.

Contract: constructed with the part's parameters alone; `draw(objective, uniform, generator)` gives times (B,) of the
objective, discrete or continuous. `uniform` (B,) are times that were drawn all alike, of the stream that noise and
label drops come from; what else a part draws comes from `generator`, a stream for the times alone. So arms of one seed
meet the same noise and label drops whatever is drawn here. The validation loss is at evenly spread times.
"""

import torch
from torch import Generator, Tensor

from components.diffusion.contracts import Objective
from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveFloat


@part("timestep_sampling", "uniform")
class Uniform:
    """All times alike.

    Source: golden README, 10.1
    Official code: yes (train.py)
    """

    def __init__(self) -> None:
        pass

    def draw(self, objective: Objective, uniform: Tensor, generator: Generator) -> Tensor:
        """Times (B,): those that were drawn all alike."""
        return uniform


@part("timestep_sampling", "logit_normal")
class LogitNormal:
    """The logistic of a normal number as the fraction of the way to noise: times in the middle come more often.

    A `mean` above 0 is for more noise. A discrete process takes the timestep that the fraction falls into.

    Source: none in the paper; Esser et al. 2024, arXiv 2403.03206, section 3.1, there for a flow's continuous time
    Official code: no, our addition
    """

    def __init__(self, *, mean: float = 0.0, std: PositiveFloat = 1.0) -> None:
        self.mean, self.std = mean, std

    def draw(self, objective: Objective, uniform: Tensor, generator: Generator) -> Tensor:
        """Times (B,)."""
        normal = torch.randn(len(uniform), generator=generator, device=generator.device)
        return objective.times_at((self.mean + self.std * normal).sigmoid())
