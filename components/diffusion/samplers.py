"""Slot `sampler`: from noise to latents, given a denoiser.

`sample(denoise, noise, step_noise=None, on_step=None)` starts from `noise` (B, F, C, H, W) and returns float32
latents of that shape. `denoise(x, network_time)` includes guidance, if any. `step_noise()` gives fresh Gaussian
noise like x; ddpm and ddim draw it once a step, at the last step too, because the reference does. The ODE solvers
never draw. `on_step(k, x, network_time)` is called after the k-th executed step.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from components.diffusion import process
from components.diffusion.contracts import Denoise, DiscreteObjective, Objective, OnStep, StepNoise, refuse_unless_legal
from components.diffusion.multistep import Solver, multistep_scheduler, solve
from components.diffusion.tables import DiffusionTables
from registry.errors import SpecError
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count, Fraction


class _Ancestral:
    """What ddpm and ddim share: a walk down a respaced discrete process.

    Where the noise is predicted, timesteps at which it says nothing of the data (`tables.LEAST_LOG_SNR`) are not
    visited, as the multistep solvers do not; the reference's linear schedule has none. v and x0 need no such care: x0
    follows without a division.

    Raises SpecError where fewer timesteps are left than `steps` asks for.
    """

    def __init__(self, objective: DiscreteObjective, steps: int | str, clip_denoised: bool) -> None:
        self._objective = objective
        self._tables = _visited(objective, str(steps))
        self._clip = clip_denoised

    def _step(self, output: Tensor, x: Tensor, index: Tensor, noise: Tensor | None) -> Tensor:
        raise NotImplementedError

    @torch.no_grad()
    def _walk(self, denoise: Denoise, noise: Tensor, step_noise: StepNoise | None, on_step: OnStep | None) -> Tensor:
        x = noise.float()
        for k, index in enumerate(reversed(range(self._tables.num_timesteps))):
            indices = torch.full((len(x),), index, device=x.device)
            network_time = torch.full_like(indices, int(self._tables.timestep_map[index]))
            output = denoise(x, self._objective.network_time(network_time)).float()
            drawn = step_noise() if step_noise is not None else None
            x = self._step(output, x, indices, drawn.to(x) if drawn is not None and index > 0 else None)
            if on_step is not None:
                on_step(k, x, self._objective.network_time(network_time))
        return x

    def _predicted_x0(self, output: Tensor, x: Tensor, index: Tensor) -> Tensor:
        x0 = self._objective.predicted_x0(self._tables, output, x, index)
        return x0.clamp(-1.0, 1.0) if self._clip else x0


def _visited(objective: DiscreteObjective, steps: str) -> DiffusionTables:
    """The process over the timesteps that are visited."""
    if objective.prediction_type != "epsilon":
        return objective.tables.respaced(steps)
    holding = objective.tables.with_data()
    try:
        return holding.respaced(steps)
    except SpecError as error:
        if holding is objective.tables:
            raise
        counts = f"{holding.num_timesteps} of this process's {objective.tables.num_timesteps} timesteps"
        raise SpecError(f"{error}; a noise estimate tells the data at {counts}, and only those are visited") from None


@part("sampler", "ddpm")
class DDPM(_Ancestral):
    """Ancestral sampling with the objective's reverse variance, over the timesteps of a respacing spec.

    `steps` is a count (250), counts of equal sections ("10,15,20") or a stride ("ddim25"); `clip_denoised` clamps
    every estimate of the clean latents to [-1, 1].

    Source: Ho et al. 2020, algorithm 2; respacing: Nichol & Dhariwal 2021, section 4; 250 steps: Latte's sampling code
    Official code: yes
    """

    diffusers_scheduler = "DDPMScheduler"
    part_name: str
    objectives: tuple[str, ...] = ("epsilon_learned_sigma", "v_prediction", "x0_prediction")
    because: str = "it reverses a discrete noising process step by step, and a flow has none"

    def __init__(self, objective: DiscreteObjective, *, steps: Count | str = 250, clip_denoised: bool = False) -> None:
        refuse_unless_legal(self, objective, "objective", self.objectives)
        super().__init__(objective, steps, clip_denoised)

    def sample(
        self, denoise: Denoise, noise: Tensor, step_noise: StepNoise | None = None, on_step: OnStep | None = None
    ) -> Tensor:
        """Latents (B, F, C, H, W); see the module.

        Raises:
            ValueError: no `step_noise`, which this sampler needs.
        """
        if step_noise is None:
            raise ValueError("sampler 'ddpm' is stochastic: give step_noise")
        return self._walk(denoise, noise, step_noise, on_step)

    def _step(self, output: Tensor, x: Tensor, index: Tensor, noise: Tensor | None) -> Tensor:
        x0 = self._predicted_x0(output, x, index)
        mean = process.q_posterior(self._tables, x0, x, index).mean
        if noise is None:  # index 0
            return mean
        return mean + torch.exp(0.5 * self._objective.step_log_variance(self._tables, output, index)) * noise


@part("sampler", "ddim")
class DDIM(_Ancestral):
    """Implicit sampling over the timesteps of a respacing spec: deterministic at `eta` 0, as noisy as ddpm at 1.

    `steps` and `clip_denoised` are those of ddpm.

    Source: Song et al. 2020 (DDIM), eq. 12 and 16; selectable in Latte's sampling code, there with ddpm's 250 steps
    Official code: yes
    """

    diffusers_scheduler = "DDIMScheduler"
    part_name: str
    objectives: tuple[str, ...] = ("epsilon_learned_sigma", "v_prediction", "x0_prediction")
    because: str = "it reverses a discrete noising process step by step, and a flow has none"

    def __init__(
        self,
        objective: DiscreteObjective,
        *,
        steps: Count | str = 50,
        eta: Fraction = 0.0,
        clip_denoised: bool = False,
    ) -> None:
        refuse_unless_legal(self, objective, "objective", self.objectives)
        super().__init__(objective, steps, clip_denoised)
        self._eta = eta

    def sample(
        self, denoise: Denoise, noise: Tensor, step_noise: StepNoise | None = None, on_step: OnStep | None = None
    ) -> Tensor:
        """Latents (B, F, C, H, W); see the module.

        Raises:
            ValueError: no `step_noise` although eta is above 0.
        """
        if step_noise is None and self._eta > 0:
            raise ValueError(f"sampler 'ddim' with eta {self._eta} is stochastic: give step_noise")
        return self._walk(denoise, noise, step_noise, on_step)

    def _step(self, output: Tensor, x: Tensor, index: Tensor, noise: Tensor | None) -> Tensor:
        x0 = self._predicted_x0(output, x, index)
        epsilon = process.epsilon_from_x0(self._tables, x, index, x0)
        abar, abar_prev = (self._tables.gather(name, index) for name in ("alphas_cumprod", "alphas_cumprod_prev"))
        sigma = self._eta * torch.sqrt((1 - abar_prev) / (1 - abar)) * torch.sqrt(1 - abar / abar_prev)
        mean = x0 * torch.sqrt(abar_prev) + torch.sqrt((1 - abar_prev - sigma**2).clamp(min=0)) * epsilon
        return mean if noise is None else mean + sigma * noise


class _Multistep:
    """The two multistep solvers of diffusers, which differ in their scheduler alone."""

    part_name: Solver
    objectives: tuple[str, ...]

    def __init__(self, objective: Objective, steps: int, order: int) -> None:
        refuse_unless_legal(self, objective, "objective", self.objectives)
        self._objective, self._steps, self._order = objective, steps, order
        self._scheduler()  # refuses impossible steps now

    def _scheduler(self) -> Any:
        return multistep_scheduler(self.part_name, self._objective, self._steps, self._order)

    def sample(
        self, denoise: Denoise, noise: Tensor, step_noise: StepNoise | None = None, on_step: OnStep | None = None
    ) -> Tensor:
        """Latents (B, F, C, H, W); see the module."""
        return solve(self._scheduler(), self._objective, denoise, noise, on_step)


@part("sampler", "dpm_solver_pp")
class DPMSolverPP(_Multistep):
    """The multistep DPM-Solver++ of diffusers, deterministic; a learned variance is not used.

    Source: Lu et al. 2022 (DPM-Solver++), algorithm 2
    Official code: no, Latte's own sampling code has ddpm and ddim only; diffusers has the solver's
    """

    diffusers_scheduler = "DPMSolverMultistepScheduler"
    objectives: tuple[str, ...] = ("epsilon_learned_sigma", "v_prediction", "flow_matching", "x0_prediction")
    because: str = "it knows noise, v, velocity and x0 predictions only"

    def __init__(self, objective: Objective, *, steps: Count = 20, order: Literal[1, 2, 3] = 2) -> None:
        super().__init__(objective, steps, order)


@part("sampler", "unipc")
class UniPC(_Multistep):
    """The unified predictor-corrector of diffusers, deterministic; a learned variance is not used.

    Source: Zhao et al. 2023 (UniPC), algorithms 1 and 2, B2(h), data prediction
    Official code: no, Latte's own sampling code has ddpm and ddim only; diffusers has the solver's
    """

    diffusers_scheduler = "UniPCMultistepScheduler"
    objectives: tuple[str, ...] = ("epsilon_learned_sigma", "v_prediction", "flow_matching", "x0_prediction")
    because: str = "it knows noise, v, velocity and x0 predictions only"

    def __init__(self, objective: Objective, *, steps: Count = 20, order: Literal[1, 2, 3] = 2) -> None:
        super().__init__(objective, steps, order)


@part("sampler", "euler")
class Euler:
    """Euler steps of equal length along the learned velocity, from t = 1 to t = 0; deterministic.

    Source: Liu et al. 2022 (rectified flow), section 2.1 and eq. 7
    Official code: no, Latte has no flow matching; our reading
    """

    part_name: str
    objectives: tuple[str, ...] = ("flow_matching",)
    because: str = "it integrates a velocity over continuous time; ddim is its like for a discrete process"

    def __init__(self, objective: Objective, *, steps: Count = 50) -> None:
        refuse_unless_legal(self, objective, "objective", self.objectives)
        self._objective, self._steps = objective, steps

    @torch.no_grad()
    def sample(
        self, denoise: Denoise, noise: Tensor, step_noise: StepNoise | None = None, on_step: OnStep | None = None
    ) -> Tensor:
        """Latents (B, F, C, H, W); see the module."""
        x = noise.float()
        for k in range(self._steps):
            t = torch.full((len(x),), 1.0 - k / self._steps, device=x.device)
            network_time = self._objective.network_time(t)
            x = x - denoise(x, network_time).float() / self._steps
            if on_step is not None:
                on_step(k, x, network_time)
        return x
