"""Slots `loss_weighting` and `timestep_sampling`: what each timestep counts, and how often it comes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from components.diffusion.loss_weightings import MinSNR
from components.diffusion.loss_weightings import Uniform as UniformWeighting
from components.diffusion.noise_schedules import Cosine, Linear, Straight
from components.diffusion.objectives import EpsilonLearnedSigma, FlowMatching, VPrediction, X0Prediction
from components.diffusion.timestep_samplings import LogitNormal, Uniform
from experiments.training.losses import Batch, losses_of
from registry.experiment.resolve import resolve
from registry.parts.catalogue import catalogue

OBJECTIVES: list[Any] = [
    EpsilonLearnedSigma(Linear()), VPrediction(Cosine()), X0Prediction(Linear()), FlowMatching(Straight())
]  # fmt: skip
every = pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.part_name)


def batch_of(objective: Any, size: int = 6) -> tuple[Batch, Tensor]:
    """A batch at times over the whole process, and an output of the network."""
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, size, 2, 3, 4, 4, generator=generator)
    output = torch.randn(size, 2, objective.output_channels(3), 4, 4, generator=generator)
    return Batch(x0, objective.times_at((torch.arange(size) + 0.5) / size), noise), output


@every
def test_min_snr_weights_the_error_of_the_clean_latents_alike_whatever_is_predicted(objective: Any) -> None:
    """Whatever the network gives, its error as one of x0 is multiplied by min(SNR, 5)."""
    batch, output = batch_of(objective)
    x_t = objective.noised(batch.x0, batch.t, batch.noise)
    if isinstance(objective, FlowMatching):
        x0_hat = x_t - batch.t.view(-1, 1, 1, 1, 1) * output
    else:
        x0_hat = objective.predicted_x0(objective.tables, output, x_t, batch.t)
    terms = losses_of(objective, lambda *given: output, batch, MinSNR())
    plain = losses_of(objective, lambda *given: output, batch)
    data, noise = objective.shares(batch.t)
    expected = torch.clamp((data / noise) ** 2, max=5.0) * (x0_hat - batch.x0).pow(2).flatten(1).mean(1)
    bound = terms.get("vb", torch.zeros(()))
    torch.testing.assert_close(terms["loss"] - bound, expected, rtol=1e-3, atol=1e-4 * float(plain["loss"].max()))
    for name in set(plain) - {"loss"}:
        assert torch.equal(terms[name], plain[name])


def test_min_snr_has_the_factors_of_its_paper() -> None:
    t = torch.tensor([0, 100, 500, 900])
    abar = torch.from_numpy(OBJECTIVES[0].tables.alphas_cumprod)[t]  # float64: 1 - abar loses digits
    snr = abar / (1 - abar)
    assert (snr > 5).tolist() == [True, True, False, False]
    for objective, divisor in ((EpsilonLearnedSigma(Linear()), snr), (VPrediction(Linear()), snr + 1)):
        expected = (snr.clamp(max=5) / divisor).float()
        torch.testing.assert_close(MinSNR().factors(objective, t), expected, rtol=1e-5, atol=0)


@every
def test_uniform_weighting_leaves_every_bit(objective: Any) -> None:
    batch, output = batch_of(objective)
    plain, same = (losses_of(objective, lambda *given: output, batch, w) for w in (None, UniformWeighting()))
    assert all(torch.equal(same[name], plain[name]) for name in plain)


def test_min_snr_without_a_squared_error_is_refused_by_name() -> None:
    raw = {
        "model": {"width": 16, "heads": 2, "depth": 2},
        "diffusion": {"objective": {"name": "epsilon_learned_sigma", "loss": "bound"}, "loss_weighting": "min_snr"},
    }
    _, problems = resolve(raw, catalogue())
    assert [key for key, _ in problems] == [("diffusion", "loss_weighting")]
    assert "min_snr weights a squared error" in problems[0][1]


@every
def test_logit_normal_times_favour_the_middle(objective: Any) -> None:
    """P(|N(0, 1)| < log 3) = 0.728 of the fractions lie between a quarter and three quarters."""
    shares = []
    for sampling in (Uniform(), LogitNormal(), LogitNormal(mean=1.0)):
        generator = torch.Generator().manual_seed(5)
        t = sampling.draw(objective, objective.draw_times(4000, generator), generator)
        assert t.dtype == objective.draw_times(1, torch.Generator()).dtype
        told = objective.network_time(t).float()
        assert 0 <= told.min() <= told.max() < 1000
        shares.append((float(((told > 250) & (told < 750)).float().mean()), float(told.mean())))
    (uniform, _), (logit, middle), (_, more_noise) = shares
    assert uniform == pytest.approx(0.5, abs=0.03)
    assert logit == pytest.approx(0.728, abs=0.03)
    assert middle == pytest.approx(500, abs=15)
    assert more_noise > 650


@every
def test_uniform_times_are_those_that_the_objective_draws(objective: Any) -> None:
    uniform, generator = objective.draw_times(9, torch.Generator().manual_seed(1)), torch.Generator()
    before = generator.get_state()
    assert torch.equal(Uniform().draw(objective, uniform, generator), uniform)
    assert torch.equal(generator.get_state(), before)


def test_fractions_at_the_ends_fall_into_the_process() -> None:
    for objective in OBJECTIVES:
        low, high = objective.network_time(objective.times_at(torch.tensor([0.0, 1.0]))).tolist()
        assert 0 <= low < high < 1000
