"""The reference's training loss and its variants: regression plus a variational bound for the learned variance."""

import math
from typing import Literal

import torch
from torch import Tensor

from components.diffusion.likelihood import discretized_gaussian_log_likelihood, normal_kl, per_sample_mean
from components.diffusion.process import Gaussian, learned_range_log_variance, q_posterior, x0_from_epsilon
from components.diffusion.tables import DiffusionTables

Target = Literal["epsilon", "x0"]


def model_gaussian(
    tables: DiffusionTables, prediction: Tensor, variance_value: Tensor, x_t: Tensor, t: Tensor, target: Target
) -> Gaussian:
    """The network's p(x_{t-1} | x_t), all (B, F, C, H, W), from its estimate and its variance value."""
    x0_hat = prediction if target == "x0" else x0_from_epsilon(tables, x_t, t, prediction)
    mean = q_posterior(tables, x0_hat, x_t, t).mean
    return Gaussian(mean, learned_range_log_variance(tables, t, variance_value))


def variational_bound_bits(tables: DiffusionTables, p: Gaussian, x0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """One term of the variational bound in bits per element, (B,).

    For t > 0 the KL from the true posterior to `p`; for t = 0 the negative log-likelihood of x0 in 8-bit bins.
    """
    q = q_posterior(tables, x0, x_t, t)
    kl = per_sample_mean(normal_kl(q.mean, q.log_variance, p.mean, p.log_variance))
    decoder = -per_sample_mean(discretized_gaussian_log_likelihood(x0, p.mean, 0.5 * p.log_variance))
    return torch.where(t == 0, decoder, kl) / math.log(2.0)


def hybrid_loss(
    tables: DiffusionTables,
    model_output: Tensor,
    x0: Tensor,
    x_t: Tensor,
    t: Tensor,
    noise: Tensor,
    *,
    vb_weight: float = 1.0,
    target: Target = "epsilon",
) -> dict[str, Tensor]:
    """`loss = mse + vb`, the bound training the variance half only: the mean in it is detached.

    Args:
        model_output: (B, F, 2C, H, W), estimate and variance value; or (B, F, C, H, W) for a fixed variance, which
            leaves `mse` alone.
        vb_weight: factor on `vb`, 1 in the reference, steps / 1000 in its variant with rescaled sigmas.
        target: what the estimate regresses, the noise or x0.

    Returns:
        `loss` and its terms `mse` and (with a variance half) `vb` in bits, each (B,) in float32.
    """
    prediction, variance_value = split_variance(model_output.float(), x0.shape[2])
    mse = per_sample_mean(((x0 if target == "x0" else noise) - prediction) ** 2)
    if variance_value is None:
        return {"loss": mse, "mse": mse}
    p = model_gaussian(tables, prediction.detach(), variance_value, x_t, t, target)
    vb = vb_weight * variational_bound_bits(tables, p, x0, x_t, t)
    return {"loss": mse + vb, "mse": mse, "vb": vb}


def bound_loss(
    tables: DiffusionTables, model_output: Tensor, x0: Tensor, x_t: Tensor, t: Tensor, *, target: Target = "epsilon"
) -> dict[str, Tensor]:
    """`loss = steps * vb`, which estimates the whole bound in bits and trains both halves of (B, F, 2C, H, W)."""
    prediction, variance_value = split_variance(model_output.float(), x0.shape[2])
    if variance_value is None:
        raise ValueError(f"the bound needs {2 * x0.shape[2]} output channels, got {model_output.shape[2]}")
    p = model_gaussian(tables, prediction, variance_value, x_t, t, target)
    loss = tables.num_timesteps * variational_bound_bits(tables, p, x0, x_t, t)
    return {"loss": loss, "vb": loss / tables.num_timesteps}


def split_variance(model_output: Tensor, channels: int) -> tuple[Tensor, Tensor | None]:
    """The estimate (B, F, C, H, W) and the variance value of the same shape, where the output has one.

    Raises:
        ValueError: the output has neither C nor 2C channels.
    """
    if model_output.shape[2] == channels:
        return model_output, None
    if model_output.shape[2] != 2 * channels:
        raise ValueError(f"latents have {channels} channels, the model output {model_output.shape[2]}")
    return model_output[:, :, :channels], model_output[:, :, channels:]
