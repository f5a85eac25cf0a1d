"""The multistep ODE solvers of diffusers, set up for video latents: no clipping, no thresholding, our noise levels.

Steps over a discrete process are quadratic in time, dense near the data: the skip type `time_quadratic` of
DPM-Solver's authors, whose last step starts at timestep 0. diffusers' own even spacing ends with one first-order jump
from a timestep near T / steps to noise 0; with the exact denoiser of Gaussian data of std 0.1 it returns half the std
at 20 steps, quadratic spacing 1.04 times it (tests/components/diffusion/test_gaussian_data.py). A flow's even levels
are kept.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from components.diffusion.contracts import Denoise, Objective, OnStep
from components.diffusion.tables import DiffusionTables
from registry.errors import SpecError

FLOW_TIMESTEPS = 1000  # diffusers counts a flow's time in thousandths

Solver = Literal["dpm_solver_pp", "unipc"]


def multistep_scheduler(solver: Solver, objective: Objective, steps: int, order: int) -> Any:
    """A fresh diffusers scheduler for `objective`, with its timesteps and noise levels set.

    Raises:
        SpecError: more steps than the process has distinct timesteps for.
    """
    flow = objective.prediction_type == "flow_prediction"
    # A flow's levels are noise shares t, a discrete process's are sqrt((1 - abar) / abar), as diffusers wants them.
    timesteps, levels = _flow_levels(steps) if flow else _discrete_levels(_tables(objective), steps)
    settings: dict[str, Any] = {
        "prediction_type": objective.prediction_type,
        "solver_order": order,
        "thresholding": False,
        "lower_order_final": True,
        "final_sigmas_type": "zero",
        "use_flow_sigmas": flow,
        "num_train_timesteps": FLOW_TIMESTEPS if flow else _tables(objective).num_timesteps,
    }
    scheduler: Any
    if solver == "dpm_solver_pp":
        from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

        scheduler = DPMSolverMultistepScheduler(algorithm_type="dpmsolver++", solver_type="midpoint", **settings)
    else:
        from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

        scheduler = UniPCMultistepScheduler(predict_x0=True, solver_type="bh2", **settings)
    scheduler.set_timesteps(steps)
    # The solvers read nothing of the process but these two, so our float64 tables take the place of their betas.
    scheduler.timesteps = torch.from_numpy(timesteps)
    scheduler.sigmas = torch.from_numpy(np.append(levels, 0.0).astype(np.float32))
    scheduler.set_begin_index(0)
    return scheduler


@torch.no_grad()
def solve(scheduler: Any, objective: Objective, denoise: Denoise, noise: Tensor, on_step: OnStep | None) -> Tensor:
    """Run a fresh scheduler from `noise` (B, F, C, H, W) to float32 latents; only C channels of the output are used."""
    x = noise.float()
    channels = x.shape[2]
    for k, t in enumerate(scheduler.timesteps):
        network_time = objective.network_time(t.to(x.device).expand(len(x)))
        output = denoise(x, network_time).float()[:, :, :channels]
        x = scheduler.step(output, t, x, return_dict=False)[0]
        if on_step is not None:
            on_step(k, x, network_time)
    return x


def _tables(objective: Any) -> DiffusionTables:
    return objective.tables


def _discrete_levels(tables: DiffusionTables, steps: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Strictly decreasing timesteps, quadratic in the step and ending at 0, and their noise levels, both (steps,)."""
    abar, visited = tables.alphas_cumprod, tables.timesteps_with_data
    if steps > visited:
        raise SpecError(
            f"steps {steps}: this process has {visited} timesteps that hold data, so at most {visited} steps"
        )
    timesteps = np.rint(np.linspace(0, np.sqrt(visited - 1), steps) ** 2) if steps > 1 else np.array([visited - 1])
    for k in range(1, steps):
        timesteps[k] = max(timesteps[k], timesteps[k - 1] + 1)
    kept = timesteps[::-1].astype(np.int64)
    return kept, np.sqrt((1 - abar[kept]) / abar[kept])


def _flow_levels(steps: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Times from just below 1 (where the log-SNR is minus infinity) evenly towards 0, which are their noise levels."""
    levels = np.linspace(1 - 1 / FLOW_TIMESTEPS, 0, steps + 1)[:-1]
    return levels.astype(np.float32), levels
