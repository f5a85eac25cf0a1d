"""Every legal objective x noise schedule x sampler, driven by the exact denoiser of Gaussian data.

For x0 ~ N(m, s^2 I) the best estimates of noise, v, velocity and x0 are known in closed form, so a sampler that is set
up right returns samples of mean m and standard deviation s, up to its discretisation. No network is exact, so the
estimates are also given an error of 1 % of their size, new at every step: a sampler must not make more of it than its
last steps do.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from components.diffusion.contracts import Denoise
from components.diffusion.noise_schedules import Cosine, Linear, Straight
from components.diffusion.objectives import EpsilonLearnedSigma, FlowMatching, VPrediction, X0Prediction
from components.diffusion.samplers import DDIM, DDPM, DPMSolverPP, Euler, UniPC

MEAN = 0.3
SCHEDULES: dict[str, Any] = {"linear": Linear, "cosine": Cosine, "straight": Straight}
OBJECTIVES: dict[str, Any] = {
    "epsilon_learned_sigma": EpsilonLearnedSigma,
    "v_prediction": VPrediction,
    "flow_matching": FlowMatching,
    "x0_prediction": X0Prediction,
}
SAMPLERS: dict[str, Any] = {"ddpm": DDPM, "ddim": DDIM, "dpm_solver_pp": DPMSolverPP, "unipc": UniPC, "euler": Euler}
LEGAL = [
    (objective, schedule, sampler)
    for objective, objective_class in OBJECTIVES.items()
    for schedule in objective_class.noise_schedules
    for sampler, sampler_class in SAMPLERS.items()
    if objective in sampler_class.objectives
]


def exact_denoiser(objective: Any, mean: float, std: float) -> Denoise:
    """What a perfectly trained network would say; a learned variance is set half-way between its bounds."""

    def denoise(x: Tensor, network_time: Tensor) -> Tensor:
        if objective.prediction_type == "flow_prediction":
            noise_share = (network_time / 1000).view(-1, 1, 1, 1, 1)
            data_share = 1 - noise_share
        else:
            data_share = objective.tables.gather("sqrt_alphas_cumprod", network_time)
            noise_share = objective.tables.gather("sqrt_one_minus_alphas_cumprod", network_time)
        centred = (x - data_share * mean) / (data_share**2 * std**2 + noise_share**2)
        noise, x0 = noise_share * centred, mean + data_share * std**2 * centred
        if objective.prediction_type == "epsilon":
            return torch.cat([noise, torch.zeros_like(noise)], dim=2)
        if objective.prediction_type == "v_prediction":
            return data_share * noise - noise_share * x0
        return x0 if objective.prediction_type == "sample" else noise - x0

    return denoise


def erring(denoise: Denoise, error: float) -> Denoise:
    """A denoiser whose output is off by white noise of that share of the output's root mean square."""
    generator = torch.Generator().manual_seed(2)

    def off(x: Tensor, network_time: Tensor) -> Tensor:
        output = denoise(x, network_time)
        size = output.pow(2).mean().sqrt()
        return output + error * size * torch.randn(output.shape, generator=generator)

    return off


def start_noise() -> Tensor:
    """Noise whose own mean is 0 and standard deviation 1, so that only the sampler's error is left."""
    noise = torch.randn(32, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return (noise - noise.mean()) / noise.std()


def moments(objective: Any, sampler: Any, std: float, error: float = 0.0) -> tuple[float, float]:
    generator = torch.Generator().manual_seed(1)
    noise, denoise = start_noise(), exact_denoiser(objective, MEAN, std)
    denoise = erring(denoise, error) if error else denoise
    x = sampler.sample(denoise, noise, lambda: torch.randn(noise.shape, generator=generator))
    assert x.shape == noise.shape
    assert x.dtype == torch.float32
    return float(x.mean()), float(x.std())


def test_every_part_has_a_legal_partner() -> None:
    for column, parts in enumerate((OBJECTIVES, SCHEDULES, SAMPLERS)):
        assert {row[column] for row in LEGAL} == set(parts)


@pytest.mark.parametrize("error", [0.0, 0.01])
@pytest.mark.parametrize(("objective_name", "schedule", "sampler_name"), LEGAL)
def test_moments_at_the_default_steps(objective_name: str, schedule: str, sampler_name: str, error: float) -> None:
    objective = OBJECTIVES[objective_name](SCHEDULES[schedule]())
    mean, std = moments(objective, SAMPLERS[sampler_name](objective), std=0.5, error=error)
    assert mean == pytest.approx(MEAN, abs=0.01)
    assert std == pytest.approx(0.5, rel=0.06)


@pytest.mark.parametrize("error", [0.0, 0.01])
@pytest.mark.parametrize(("objective_name", "schedule", "sampler_name"), LEGAL)
def test_more_steps_come_closer(objective_name: str, schedule: str, sampler_name: str, error: float) -> None:
    objective = OBJECTIVES[objective_name](SCHEDULES[schedule]())
    _, few = moments(objective, SAMPLERS[sampler_name](objective, steps=8), std=0.5, error=error)
    _, many = moments(objective, SAMPLERS[sampler_name](objective, steps=100), std=0.5, error=error)
    assert abs(many - 0.5) < 0.5 * abs(few - 0.5)
    # The posterior variance of v_prediction is the least that ancestral steps can have, so ddpm shrinks the longest.
    assert many == pytest.approx(0.5, rel=0.08 if sampler_name == "ddpm" else 0.04)


@pytest.mark.parametrize("sampler", [DPMSolverPP, UniPC])
@pytest.mark.parametrize("schedule", [Linear, Cosine])
@pytest.mark.parametrize("order", [2, 3])
def test_solvers_keep_the_spread_of_data_with_little_variance(sampler: type, schedule: type, order: int) -> None:
    """diffusers' even spacing returns half the spread here; ours must not."""
    objective = VPrediction(schedule())
    mean, std = moments(objective, sampler(objective, steps=20, order=order), std=0.1)
    assert mean == pytest.approx(MEAN, abs=0.01)
    assert std == pytest.approx(0.1, rel=0.06)


@pytest.mark.parametrize("sampler", [DPMSolverPP, UniPC])
def test_higher_order_is_more_exact(sampler: type) -> None:
    objective = EpsilonLearnedSigma(Linear())
    errors = [abs(moments(objective, sampler(objective, steps=40, order=order), std=0.5)[1] - 0.5) for order in (1, 2)]
    assert errors[1] < 0.3 * errors[0]


def test_ddim_with_eta_one_is_ancestral_sampling() -> None:
    """At eta 1 ddim has the posterior variance, which is also the reverse variance of v_prediction under ddpm."""
    objective = VPrediction(Linear())
    denoise = exact_denoiser(objective, MEAN, 0.5)
    noise = start_noise()[:2]
    drawn = [torch.randn(noise.shape, generator=torch.Generator().manual_seed(k)) for k in range(25)]
    ddpm = DDPM(objective, steps=25).sample(denoise, noise, iter(drawn).__next__)
    ddim = DDIM(objective, steps=25, eta=1.0).sample(denoise, noise, iter(drawn).__next__)
    torch.testing.assert_close(ddpm, ddim, rtol=0, atol=2e-4)
