"""Slot `noise_schedule`: how fast data turn into noise."""

import itertools
import math

import numpy as np
import numpy.typing as npt
from einops import rearrange
from torch import Tensor

from registry.errors import SpecError
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count, Fraction, NonNegativeFloat, PositiveFloat


@part("noise_schedule", "linear")
class Linear:
    """Betas on a straight line; `steps` other than 1000 scale both ends by 1000 / steps, keeping the total noise.

    Raises SpecError where so few steps would need a beta of 1 or more.

    Source: Ho et al. 2020 (DDPM), section 4; Latte, section 4.1, and its diffusion package.
    Official code: yes
    """

    part_name: str

    def __init__(
        self, *, steps: Count = 1000, beta_start: PositiveFloat = 1e-4, beta_end: PositiveFloat = 0.02
    ) -> None:
        scale = 1000 / steps
        self._ends = scale * beta_start, scale * beta_end
        self._steps = steps
        if max(self._ends) >= 1:
            raise SpecError(
                f"noise_schedule linear: {steps} steps need betas from {self._ends[0]:.3g} to {self._ends[1]:.3g}, "
                f"and a beta must stay below 1; take more than {math.floor(1000 * max(beta_start, beta_end))} steps"
            )

    def betas(self) -> npt.NDArray[np.float64]:
        """The variance added at each step, float64 (steps,)."""
        return np.linspace(*self._ends, self._steps, dtype=np.float64)


@part("noise_schedule", "cosine")
class Cosine:
    """abar follows a squared cosine, so that little information is lost early and late; betas are capped.

    Source: Nichol & Dhariwal 2021, eq. 17 (offset 0.008, cap 0.999); in the diffusion package that Latte uses.
    Official code: yes
    """

    part_name: str

    def __init__(self, *, steps: Count = 1000, offset: NonNegativeFloat = 0.008, max_beta: Fraction = 0.999) -> None:
        if max_beta in (0.0, 1.0):
            raise SpecError("noise_schedule cosine: max_beta lies strictly between 0 and 1")
        self._steps, self._offset, self._max_beta = steps, offset, max_beta

    def betas(self) -> npt.NDArray[np.float64]:
        """The variance added at each step, float64 (steps,)."""
        abar = [
            math.cos((step / self._steps + self._offset) / (1 + self._offset) * math.pi / 2) ** 2
            for step in range(self._steps + 1)
        ]
        return np.array([min(1 - after / before, self._max_beta) for before, after in itertools.pairwise(abar)])


@part("noise_schedule", "straight")
class Straight:
    """The straight line x_t = (1 - t) x0 + t noise of rectified flow, for t from 0 (data) to 1 (noise).

    Source: Liu et al. 2022 (rectified flow), eq. 1; Lipman et al. 2022 (flow matching), eq. 20 with sigma_min 0.
    Official code: no, Latte has no flow matching; our reading
    """

    part_name: str

    def __init__(self) -> None:
        pass

    def noised(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t (B, F, C, H, W) for `t` (B,) in [0, 1]."""
        t = rearrange(t, "b -> b 1 1 1 1")
        return (1.0 - t) * x0 + t * noise

    def velocity(self, x0: Tensor, noise: Tensor) -> Tensor:
        """dx_t/dt, the same at every t."""
        return noise - x0
