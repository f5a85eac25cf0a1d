"""The Gaussian process between data and noise: its forward marginals, posteriors, and the views of one prediction.

Latents are (B, F, C, H, W), `t` (B,) indexes the tables. With a = sqrt(abar_t) and s = sqrt(1 - abar_t):
x_t = a x0 + s eps, and v = a eps - s x0 (Salimans & Ho 2022, appendix D).
"""

from typing import NamedTuple

from torch import Tensor

from components.diffusion.tables import DiffusionTables


class Gaussian(NamedTuple):
    """A diagonal Gaussian; the log-variance may be broadcast over the mean's (B, F, C, H, W)."""

    mean: Tensor
    log_variance: Tensor


def q_sample(tables: DiffusionTables, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """x_t for clean latents and noise."""
    return tables.gather("sqrt_alphas_cumprod", t) * x0 + tables.gather("sqrt_one_minus_alphas_cumprod", t) * noise


def q_posterior(tables: DiffusionTables, x0: Tensor, x_t: Tensor, t: Tensor) -> Gaussian:
    """q(x_{t-1} | x_t, x0); the log-variance (B, 1, 1, 1, 1) is clipped at t = 0, where the variance is 0."""
    mean = tables.gather("posterior_mean_coef1", t) * x0 + tables.gather("posterior_mean_coef2", t) * x_t
    return Gaussian(mean, tables.gather("posterior_log_variance_clipped", t))


def x0_from_epsilon(tables: DiffusionTables, x_t: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
    """The clean latents that a noise estimate implies."""
    return (
        tables.gather("sqrt_recip_alphas_cumprod", t) * x_t - tables.gather("sqrt_recipm1_alphas_cumprod", t) * epsilon
    )


def epsilon_from_x0(tables: DiffusionTables, x_t: Tensor, t: Tensor, x0: Tensor) -> Tensor:
    """The noise that an estimate of the clean latents implies."""
    scaled = tables.gather("sqrt_recip_alphas_cumprod", t) * x_t
    return (scaled - x0) / tables.gather("sqrt_recipm1_alphas_cumprod", t)


def v_target(tables: DiffusionTables, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """v = a eps - s x0."""
    return tables.gather("sqrt_alphas_cumprod", t) * noise - tables.gather("sqrt_one_minus_alphas_cumprod", t) * x0


def x0_from_v(tables: DiffusionTables, x_t: Tensor, t: Tensor, v: Tensor) -> Tensor:
    """x0 = a x_t - s v."""
    return tables.gather("sqrt_alphas_cumprod", t) * x_t - tables.gather("sqrt_one_minus_alphas_cumprod", t) * v


def epsilon_from_v(tables: DiffusionTables, x_t: Tensor, t: Tensor, v: Tensor) -> Tensor:
    """eps = s x_t + a v."""
    return tables.gather("sqrt_one_minus_alphas_cumprod", t) * x_t + tables.gather("sqrt_alphas_cumprod", t) * v


def learned_range_log_variance(tables: DiffusionTables, t: Tensor, value: Tensor) -> Tensor:
    """Log-variance between the posterior's (value -1) and beta (value 1), unclamped; Nichol & Dhariwal 2021, eq. 15."""
    fraction = (value + 1.0) / 2.0
    upper, lower = (tables.gather("log_betas", t), tables.gather("posterior_log_variance_clipped", t))
    return fraction * upper + (1.0 - fraction) * lower
