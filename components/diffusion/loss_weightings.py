"""Slot `loss_weighting`: how much each timestep counts in the training loss.

Contract: constructed with the part's parameters alone; `factors(objective, t (B,))` gives what the objective's squared
error (its term `mse`) is multiplied by, (B,), or None for 1. A variational bound keeps its own weight, as it does in
the code of min-SNR. The validation loss is never weighted, so that arms stay comparable.
"""

import torch
from torch import Tensor

from components.diffusion.contracts import Objective
from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveFloat


@part("loss_weighting", "uniform")
class Uniform:
    """Every timestep counts as the objective's own loss has it.

    Source: paper, equations 1 and 2
    Official code: yes
    """

    def __init__(self) -> None:
        pass

    def factors(self, objective: Objective, t: Tensor) -> Tensor | None:
        """None, which is 1."""
        return None


@part("loss_weighting", "min_snr")
class MinSNR:
    """An error of the clean latents counts min(SNR, gamma), whatever is predicted.

    SNR is (data's share / noise's share)^2. As factors on an objective's squared error: min(SNR, gamma) / SNR for the
    noise, min(SNR, gamma) / (SNR + 1) for v, min(SNR, gamma) max(s, least share)^2 for `x0_prediction`, and
    min(SNR, gamma) t^2 for a flow's velocity, of which the source does not speak.

    Source: none in the paper; Hang et al. 2023, arXiv 2303.09556, section 3.4, gamma 5
    Official code: no, our addition
    """

    requires = (
        (
            "",
            "diffusion.objective.loss != 'bound'",
            "{name} weights a squared error, and diffusion.objective.loss 'bound' has none",
        ),
    )

    def __init__(self, *, gamma: PositiveFloat = 5.0) -> None:
        self.gamma = gamma

    def factors(self, objective: Objective, t: Tensor) -> Tensor:
        """The factors (B,) at times t (B,)."""
        data, noise = objective.shares(t)
        return torch.clamp((data / noise) ** 2, max=self.gamma) / objective.x0_weight(t)
