"""Slot `objective`: what the network is trained to predict, and what its prediction says about the data.

Latents are (B, F, C, H, W); losses are float32 (B,) whatever the precision of the network.
"""

from typing import Literal

import torch
from torch import Tensor

from components.diffusion import process
from components.diffusion.contracts import refuse_unless_legal
from components.diffusion.hybrid_loss import bound_loss, hybrid_loss, split_variance
from components.diffusion.likelihood import per_sample_mean
from components.diffusion.noise_schedules import Cosine, Linear, Straight
from components.diffusion.tables import DiffusionTables
from registry.parts.catalogue import part
from registry.schema.parameter_types import NonNegativeFloat, PositiveFloat


class _DiscreteTimes:
    """What objectives over integer timesteps share: int64 times 0 .. T-1, told to the network as they are."""

    def __init__(self, tables: DiffusionTables) -> None:
        self.tables = tables

    def draw_times(self, batch: int, generator: torch.Generator) -> Tensor:
        """Uniform timesteps, int64 (B,), on the generator's device."""
        return torch.randint(0, self.tables.num_timesteps, (batch,), generator=generator, device=generator.device)

    def times_at(self, fractions: Tensor) -> Tensor:
        """The timesteps int64 (B,) into which fractions (B,) of the way from data to noise fall."""
        return (fractions * self.tables.num_timesteps).long().clamp(max=self.tables.num_timesteps - 1)

    def shares(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The shares (B,) of data and noise in x_t at `t` (B,): sqrt(abar) and sqrt(1 - abar)."""
        data, noise = (self.tables.gather(f"sqrt_{n}", t) for n in ("alphas_cumprod", "one_minus_alphas_cumprod"))
        return data.flatten(), noise.flatten()

    def band_times(self, bands: int, per_band: int) -> Tensor:
        """Evenly spread timesteps, int64 (bands, per_band), from low noise to high."""
        count = bands * per_band
        return torch.tensor([(2 * i + 1) * self.tables.num_timesteps // (2 * count) for i in range(count)]).view(
            bands, per_band
        )

    def network_time(self, t: Tensor) -> Tensor:
        """What the network is told at `t` (B,)."""
        return t

    def noised(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t for clean latents, `t` (B,) and noise."""
        return process.q_sample(self.tables, x0, t, noise)


@part("objective", "epsilon_learned_sigma")
class EpsilonLearnedSigma(_DiscreteTimes):
    """The noise and a variance between two bounds, 2C channels: squared error plus the variational bound.

    `loss="hybrid"` adds `vb_weight` times the bound, which trains the variance half only; `loss="bound"` trains both
    halves by the bound alone.

    Source: Nichol & Dhariwal 2021, section 3.1 (there weighted 1/1000); Latte, equations 1 and 2, which like DiT's
        code give the bound its full weight.
    Official code: yes
    """

    part_name: str
    noise_schedules: tuple[str, ...] = ("linear", "cosine")
    because: str = "it needs the betas of a discrete process"
    prediction_type = "epsilon"

    def __init__(
        self,
        noise_schedule: Linear | Cosine,
        *,
        loss: Literal["hybrid", "bound"] = "hybrid",
        vb_weight: NonNegativeFloat = 1.0,
    ) -> None:
        refuse_unless_legal(self, noise_schedule, "noise_schedule", self.noise_schedules)
        super().__init__(DiffusionTables.from_betas(noise_schedule.betas()))
        self._loss, self._vb_weight = loss, vb_weight

    def x0_weight(self, t: Tensor) -> Tensor:
        """By how much the squared error is one of the clean latents (B,): SNR."""
        data, noise = self.shares(t)
        return (data / noise) ** 2

    def output_channels(self, latent_channels: int) -> int:
        return 2 * latent_channels

    def losses(self, model_output: Tensor, x0: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """`loss` (B,) to be trained and its terms: `mse` (hybrid only) and `vb` in bits (hybrid: as weighted)."""
        if self._loss == "bound":
            return bound_loss(self.tables, model_output, x0, x_t, t)
        return hybrid_loss(self.tables, model_output, x0, x_t, t, noise, vb_weight=self._vb_weight)

    def predicted_x0(self, tables: DiffusionTables, model_output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean latents that the output implies; `t` indexes `tables`."""
        epsilon, _ = split_variance(model_output, x_t.shape[2])
        return process.x0_from_epsilon(tables, x_t, t, epsilon)

    def step_log_variance(self, tables: DiffusionTables, model_output: Tensor, t: Tensor) -> Tensor:
        """Log-variance (B, F, C, H, W) of a reverse step from the output's second half; `t` indexes `tables`."""
        return process.learned_range_log_variance(tables, t, model_output.chunk(2, dim=2)[1])


@part("objective", "v_prediction")
class VPrediction(_DiscreteTimes):
    """v = sqrt(abar) noise - sqrt(1 - abar) x0 by squared error, C channels; reverse steps use the posterior variance.

    Source: Salimans & Ho 2022, section 4 and appendix D ("SNR+1" weighting)
    Official code: no, Latte predicts the noise; our reading
    """

    part_name: str
    noise_schedules: tuple[str, ...] = ("linear", "cosine")
    because: str = "it needs the betas of a discrete process"
    prediction_type = "v_prediction"

    def __init__(self, noise_schedule: Linear | Cosine) -> None:
        refuse_unless_legal(self, noise_schedule, "noise_schedule", self.noise_schedules)
        super().__init__(DiffusionTables.from_betas(noise_schedule.betas()))

    def x0_weight(self, t: Tensor) -> Tensor:
        """By how much the squared error is one of the clean latents (B,): SNR + 1."""
        _, noise = self.shares(t)
        return 1 / noise**2

    def output_channels(self, latent_channels: int) -> int:
        return latent_channels

    def losses(self, model_output: Tensor, x0: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """`loss` and its only term `mse`, each (B,)."""
        mse = per_sample_mean((model_output.float() - process.v_target(self.tables, x0, t, noise)) ** 2)
        return {"loss": mse, "mse": mse}

    def predicted_x0(self, tables: DiffusionTables, model_output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean latents that the output implies; `t` indexes `tables`."""
        return process.x0_from_v(tables, x_t, t, model_output)

    def step_log_variance(self, tables: DiffusionTables, model_output: Tensor, t: Tensor) -> Tensor:
        """Log-variance (B, 1, 1, 1, 1) of a reverse step: the true posterior's; `t` indexes `tables`."""
        return tables.gather("posterior_log_variance_clipped", t)


@part("objective", "x0_prediction")
class X0Prediction(_DiscreteTimes):
    """The clean latents, C channels, by |x0 - x0_hat|^2 / max(s, 0.05)^2 with s = sqrt(1 - abar), the noise's share.

    Above that least share this is the loss of v: |v - v_hat|^2 = |x0 - x0_hat|^2 / s^2. Clean data lie near a surface
    of few dimensions, which noise and v do not, so the data are easier to give back for a network that is narrow
    against its patches. Reverse steps use the posterior variance.

    Source: Li & He 2025 (JiT), arXiv 2511.13720, section 3 and its least noise share of 0.05, there on a straight line;
        the weight is that of v: Salimans & Ho 2022, section 4 ("SNR+1")
    Official code: no, Latte predicts the noise; our reading
    """

    part_name: str
    noise_schedules: tuple[str, ...] = ("linear", "cosine")
    because: str = "it needs the betas of a discrete process"
    prediction_type = "sample"  # diffusers' word for it

    def __init__(self, noise_schedule: Linear | Cosine, *, least_share: PositiveFloat = 0.05) -> None:
        refuse_unless_legal(self, noise_schedule, "noise_schedule", self.noise_schedules)
        super().__init__(DiffusionTables.from_betas(noise_schedule.betas()))
        self._least_share = least_share

    def x0_weight(self, t: Tensor) -> Tensor:
        """By how much the squared error is one of the clean latents (B,): 1 / max(s, least share)^2."""
        return 1 / self.shares(t)[1].clamp(min=self._least_share) ** 2

    def output_channels(self, latent_channels: int) -> int:
        return latent_channels

    def losses(self, model_output: Tensor, x0: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """`loss` and its only term `mse`, the weighted square, each (B,)."""
        share = self.tables.gather("sqrt_one_minus_alphas_cumprod", t).clamp(min=self._least_share)
        mse = per_sample_mean(((model_output.float() - x0) / share) ** 2)
        return {"loss": mse, "mse": mse}

    def predicted_x0(self, tables: DiffusionTables, model_output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The output, which is the clean latents."""
        return model_output

    def step_log_variance(self, tables: DiffusionTables, model_output: Tensor, t: Tensor) -> Tensor:
        """Log-variance (B, 1, 1, 1, 1) of a reverse step: the true posterior's; `t` indexes `tables`."""
        return tables.gather("posterior_log_variance_clipped", t)


@part("objective", "flow_matching")
class FlowMatching:
    """The velocity noise - x0 of a straight line by squared error, C channels; t in (0, 1), told as 1000 t.

    Source: Lipman et al. 2022, eq. 23; Liu et al. 2022, eq. 1
    Official code: no, Latte predicts the noise; our reading
    """

    part_name: str
    noise_schedules: tuple[str, ...] = ("straight",)
    because: str = "its velocity is that of a straight line with continuous time"
    prediction_type = "flow_prediction"

    def __init__(self, noise_schedule: Straight) -> None:
        refuse_unless_legal(self, noise_schedule, "noise_schedule", self.noise_schedules)
        self._line = noise_schedule

    def x0_weight(self, t: Tensor) -> Tensor:
        """By how much the squared error is one of the clean latents (B,): 1 / t^2, as x0_hat = x_t - t v_hat."""
        return 1 / t**2

    def output_channels(self, latent_channels: int) -> int:
        return latent_channels

    def draw_times(self, batch: int, generator: torch.Generator) -> Tensor:
        """Times strictly between 0 and 1, float32 (B,), on the generator's device."""
        return self.times_at(torch.rand(batch, generator=generator, device=generator.device))

    def times_at(self, fractions: Tensor) -> Tensor:
        """The fractions (B,) of the way from data to noise, which are this objective's times, kept off both ends."""
        return fractions.clamp(2.0**-24, 1.0 - 2.0**-24)

    def shares(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The shares (B,) of data and noise in x_t at `t` (B,): 1 - t and t."""
        return 1 - t, t

    def band_times(self, bands: int, per_band: int) -> Tensor:
        """Evenly spread times, float32 (bands, per_band), from low noise to high."""
        count = bands * per_band
        return ((torch.arange(count) + 0.5) / count).view(bands, per_band)

    def network_time(self, t: Tensor) -> Tensor:
        """1000 t, so that the timestep embedding sees the range that it is made for."""
        return 1000.0 * t

    def noised(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t on the line, `t` (B,)."""
        return self._line.noised(x0, t, noise)

    def losses(self, model_output: Tensor, x0: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """`loss` and its only term `mse`, each (B,)."""
        mse = per_sample_mean((model_output.float() - self._line.velocity(x0, noise)) ** 2)
        return {"loss": mse, "mse": mse}
