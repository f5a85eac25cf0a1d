"""How likely data are under Gaussians: what the variational bound is made of."""

import math

import torch
from torch import Tensor

from components.diffusion.tables import DiffusionTables

BIN = 1.0 / 255.0  # half the distance of neighbouring 8-bit values in [-1, 1]
EDGE = 0.999  # beyond it the outermost bins are open-ended
FLOOR = 1e-12  # least probability


def per_sample_mean(values: Tensor) -> Tensor:
    """Mean over all axes but the batch: (B, …) -> (B,)."""
    return values.flatten(1).mean(1)


def normal_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor | float, log_variance2: Tensor | float) -> Tensor:
    """KL divergence in nats from N(mean1, exp(log_variance1)) to N(mean2, exp(log_variance2)), element by element."""
    log_variance2 = torch.as_tensor(log_variance2, dtype=log_variance1.dtype, device=log_variance1.device)
    ratio = torch.exp(log_variance1 - log_variance2)
    return 0.5 * (log_variance2 - log_variance1 + ratio - 1.0 + (mean1 - mean2) ** 2 * torch.exp(-log_variance2))


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def discretized_gaussian_log_likelihood(x: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
    """Log-probability in nats of the 8-bit bin around each `x` in [-1, 1] under N(means, exp(log_scales)^2).

    All tensors have one shape. The Gaussian's distribution function is its tanh approximation, the outermost bins
    reach to infinity, and probabilities are at least 1e-12.
    """
    centred = x - means
    inverse_scale = torch.exp(-log_scales)
    below_upper = _normal_cdf(inverse_scale * (centred + BIN))
    below_lower = _normal_cdf(inverse_scale * (centred - BIN))
    probability = below_upper - below_lower
    probability = torch.where(x > EDGE, 1.0 - below_lower, probability)
    probability = torch.where(x < -EDGE, below_upper, probability)
    return probability.clamp(min=FLOOR).log()


def prior_bpd(tables: DiffusionTables, x0: Tensor) -> Tensor:
    """KL in bits per element from q(x_T | x0) to N(0, 1), which no training can lower; x0 (B, F, C, H, W) -> (B,)."""
    last = torch.full((len(x0),), tables.num_timesteps - 1, device=x0.device)
    mean = tables.gather("sqrt_alphas_cumprod", last) * x0
    log_variance = tables.gather("log_one_minus_alphas_cumprod", last).expand_as(mean)
    return per_sample_mean(normal_kl(mean, log_variance, 0.0, 0.0)) / math.log(2.0)
