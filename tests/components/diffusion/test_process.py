"""Noise schedules, tables, and the views of one prediction."""

import math

import numpy as np
import pytest
import torch

from components.diffusion import process
from components.diffusion.likelihood import discretized_gaussian_log_likelihood, normal_kl, prior_bpd
from components.diffusion.noise_schedules import Cosine, Linear, Straight
from components.diffusion.tables import DiffusionTables
from registry.errors import SpecError

TABLES = {
    name: DiffusionTables.from_betas(schedule().betas()) for name, schedule in (("linear", Linear), ("cosine", Cosine))
}
both = pytest.mark.parametrize("tables", TABLES.values(), ids=TABLES)


@pytest.mark.parametrize("steps", [50, 100, 1000, 4000])
@pytest.mark.parametrize("schedule", [Linear, Cosine])
def test_noise_only_grows_and_ends_as_noise(schedule: type, steps: int) -> None:
    betas = schedule(steps=steps).betas()
    assert betas.shape == (steps,)
    assert betas.dtype == np.float64
    abar = DiffusionTables.from_betas(betas).alphas_cumprod
    snr = abar / (1 - abar)
    assert (np.diff(snr) < 0).all()
    assert snr[-1] < 1e-3
    assert snr[0] > 100


def test_linear_schedules_of_other_lengths_keep_the_total_noise() -> None:
    ends = [DiffusionTables.from_betas(Linear(steps=steps).betas()).alphas_cumprod[-1] for steps in (500, 1000, 2000)]
    assert max(ends) / min(ends) < 1.5


def test_schedules_refuse_betas_of_one() -> None:
    with pytest.raises(SpecError, match="more than 20 steps"):
        Linear(steps=20)
    assert Linear(steps=21).betas().max() < 1
    with pytest.raises(SpecError, match="max_beta"):
        Cosine(max_beta=1.0)
    with pytest.raises(ValueError, match="betas"):
        DiffusionTables.from_betas([0.1, 1.2])


@both
@pytest.mark.parametrize("spec", ["1", "2", "7", "50", "250", "999", "10,15,20", "3,1,4,1", "ddim25", "ddim1000"])
def test_respacing_keeps_the_noise_levels(tables: DiffusionTables, spec: str) -> None:
    spaced = tables.respaced(spec)  # 1 - abar / abar_prev rounds off what hardly differs from 1
    np.testing.assert_allclose(spaced.alphas_cumprod, tables.alphas_cumprod[spaced.timestep_map], rtol=1e-6)
    assert np.isfinite(spaced.posterior_log_variance_clipped).all()


@both
def test_respacing_of_a_respaced_process_still_names_original_timesteps(tables: DiffusionTables) -> None:
    once = tables.respaced("100")
    twice = once.respaced("10")
    assert twice.timestep_map.tolist() == once.timestep_map[list(range(0, 100, 11))].tolist()
    np.testing.assert_allclose(twice.alphas_cumprod, tables.alphas_cumprod[twice.timestep_map], rtol=1e-6)


@both
def test_forward_marginals_have_the_stated_moments(tables: DiffusionTables) -> None:
    generator = torch.Generator().manual_seed(0)
    t = torch.tensor([0, 100, 500, 999])
    x0 = torch.full((4, 10, 4, 30, 30), 0.7)
    x_t = process.q_sample(tables, x0, t, torch.randn(x0.shape, generator=generator))
    means, stds = x_t.flatten(1).mean(1), x_t.flatten(1).std(1)
    torch.testing.assert_close(means, torch.from_numpy(0.7 * tables.sqrt_alphas_cumprod[t]).float(), rtol=0, atol=0.02)
    torch.testing.assert_close(
        stds, torch.from_numpy(tables.sqrt_one_minus_alphas_cumprod[t]).float(), rtol=0.02, atol=1e-4
    )


@both
def test_posterior_walks_back_along_the_forward_process(tables: DiffusionTables) -> None:
    """Drawing x_t and then x_{t-1} from the posterior gives the marginal of x_{t-1}."""
    generator = torch.Generator().manual_seed(0)
    t = torch.tensor([300])
    x0 = torch.full((1, 20, 4, 50, 50), -0.4)
    x_t = process.q_sample(tables, x0, t, torch.randn(x0.shape, generator=generator))
    mean, log_variance = process.q_posterior(tables, x0, x_t, t)
    earlier = mean + torch.exp(0.5 * log_variance) * torch.randn(x0.shape, generator=generator)
    assert float(earlier.mean()) == pytest.approx(-0.4 * tables.sqrt_alphas_cumprod[299], abs=0.01)
    assert float(earlier.std()) == pytest.approx(tables.sqrt_one_minus_alphas_cumprod[299], rel=0.01)


@both
def test_predictions_translate_into_each_other(tables: DiffusionTables) -> None:
    generator = torch.Generator().manual_seed(0)
    t = torch.tensor([1, 20, 300, 700, 900])
    x0, noise = (torch.randn(5, 2, 3, 4, 4, generator=generator) for _ in range(2))
    x_t = process.q_sample(tables, x0, t, noise)
    v = process.v_target(tables, x0, t, noise)
    torch.testing.assert_close(process.x0_from_v(tables, x_t, t, v), x0, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(process.epsilon_from_v(tables, x_t, t, v), noise, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(process.x0_from_epsilon(tables, x_t, t, noise), x0, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(process.epsilon_from_x0(tables, x_t, t, x0), noise, rtol=1e-3, atol=1e-3)


@both
def test_learned_variance_reaches_its_two_bounds(tables: DiffusionTables) -> None:
    t = torch.tensor([0, 5, 999])
    value = torch.ones(3, 1, 1, 1, 1)
    upper, lower = (process.learned_range_log_variance(tables, t, sign * value).flatten() for sign in (1, -1))
    torch.testing.assert_close(upper, torch.from_numpy(np.log(tables.betas[t])).float())
    torch.testing.assert_close(lower, torch.from_numpy(tables.posterior_log_variance_clipped[t]).float())


def test_straight_line() -> None:
    line = Straight()
    x0, noise = torch.randn(3, 1, 2, 2, 2), torch.randn(3, 1, 2, 2, 2)
    t = torch.tensor([0.0, 0.25, 1.0])
    x_t = line.noised(x0, t, noise)
    assert torch.equal(x_t[0], x0[0])
    assert torch.equal(x_t[2], noise[2])
    ahead = line.noised(x0, t - 0.25, noise)
    torch.testing.assert_close((x_t - ahead) / 0.25, line.velocity(x0, noise), rtol=1e-4, atol=1e-5)


def test_discretised_likelihoods_sum_to_one_over_all_bins() -> None:
    bins = torch.linspace(-1, 1, 256, dtype=torch.float64)
    for mean, log_scale in ((0.0, -1.0), (0.8, -2.0), (-1.2, 0.3)):
        total = discretized_gaussian_log_likelihood(
            bins, torch.full_like(bins, mean), torch.full_like(bins, log_scale)
        ).exp()
        assert float(total.sum()) == pytest.approx(1.0, abs=1e-6)


def test_kl_of_known_gaussians() -> None:
    one = torch.ones(1)
    assert float(normal_kl(one, 0 * one, one, 0 * one)) == 0
    assert float(normal_kl(2 * one, 0 * one, 0.0, 0.0)) == pytest.approx(2.0)
    expected = 0.5 * (math.log(4.0) - 1 + 0.25)
    assert float(normal_kl(0 * one, 0 * one, 0 * one, math.log(4.0) * one)) == pytest.approx(expected)


@both
def test_little_of_the_data_is_left_at_the_end(tables: DiffusionTables) -> None:
    x0 = torch.rand(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert (prior_bpd(tables, x0) < 1e-4).all()
    early = DiffusionTables.from_betas(tables.betas[:100])
    assert (prior_bpd(early, x0) > 0.1).all()
