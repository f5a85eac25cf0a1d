"""The official loss and ancestral sampler as their description says (golden README, 4), plain and in float32."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


class Process:
    """The tables of a process over `betas` (T,), gathered anew for every use, as the original does."""

    def __init__(self, betas: np.ndarray, timestep_map: list[int]) -> None:
        abar = np.cumprod(1 - betas)
        before = np.append(1.0, abar[:-1])
        variance = betas * (1 - before) / (1 - abar)
        self.timestep_map = torch.tensor(timestep_map)
        self.betas, self.abar = betas, abar
        self.log_betas, self.log_variance = np.log(betas), np.log(np.append(variance[1], variance[1:]))
        self.mean_x0 = betas * np.sqrt(before) / (1 - abar)
        self.mean_x_t = (1 - before) * np.sqrt(1 - betas) / (1 - abar)

    @classmethod
    def training(cls) -> "Process":
        """1000 steps, linear betas."""
        return cls(np.linspace(1e-4, 0.02, 1000), list(range(1000)))

    def respaced(self, steps: int) -> "Process":
        """So many steps, evenly spread from the first to the last."""
        size = len(self.betas)
        kept = [round(k * (size - 1) / (steps - 1)) for k in range(steps)]
        abar = self.abar[kept]
        return Process(1 - abar / np.append(1.0, abar[:-1]), kept)

    def at(self, table: np.ndarray, t: Tensor) -> Tensor:
        """Values of a table at t (B,), to meet (B, F, C, H, W)."""
        return torch.from_numpy(table).to(t.device)[t].float()[:, None, None, None, None]

    def noised(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t."""
        return self.at(np.sqrt(self.abar), t) * x0 + self.at(np.sqrt(1 - self.abar), t) * noise

    def predicted(self, epsilon: Tensor, value: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the step that an estimate of the noise and a variance value say."""
        x0 = self.at(np.sqrt(1 / self.abar), t) * x_t - self.at(np.sqrt(1 / self.abar - 1), t) * epsilon
        fraction = (value + 1) / 2
        log_variance = fraction * self.at(self.log_betas, t) + (1 - fraction) * self.at(self.log_variance, t)
        return self.at(self.mean_x0, t) * x0 + self.at(self.mean_x_t, t) * x_t, log_variance

    def losses(self, output: Tensor, x0: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Squared error plus the variational bound in bits, which trains the variance half only; (B,)."""
        epsilon, value = output.split(x0.shape[2], dim=2)
        mse = _mean((noise - epsilon) ** 2)
        mean, log_variance = self.predicted(epsilon.detach(), value, x_t, t)
        true_mean = self.at(self.mean_x0, t) * x0 + self.at(self.mean_x_t, t) * x_t
        true_log = self.at(self.log_variance, t)
        kl = 0.5 * (
            -1.0 + log_variance - true_log + torch.exp(true_log - log_variance)
            + (true_mean - mean) ** 2 * torch.exp(-log_variance)
        )  # fmt: skip
        likelihood = _log_likelihood(x0, mean, 0.5 * log_variance)
        return mse + torch.where(t == 0, -_mean(likelihood), _mean(kl)) / math.log(2.0)

    def sample(self, network: Callable[[Tensor, Tensor], Tensor], z: Tensor, draw: Callable[[], Tensor]) -> Tensor:
        """Latents from noise `z`, by the ancestral sampler; `draw` gives the noise of each step."""
        x = z
        with torch.no_grad():
            for index in reversed(range(len(self.betas))):
                t = torch.full((len(x),), index, device=x.device)
                epsilon, value = network(x, self.timestep_map.to(x.device)[t]).split(x.shape[2], dim=2)
                mean, log_variance = self.predicted(epsilon, value, x, t)
                x = mean + float(index > 0) * torch.exp(0.5 * log_variance) * draw()
        return x


def _mean(x: Tensor) -> Tensor:
    return x.mean(dim=list(range(1, x.dim())))


def _cdf(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _log_likelihood(x: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
    """Of the 8-bit bin around x."""
    centred, inverse = x - means, torch.exp(-log_scales)
    upper, lower = _cdf(inverse * (centred + 1 / 255)), _cdf(inverse * (centred - 1 / 255))
    inside = torch.log((upper - lower).clamp(min=1e-12))
    ends = torch.log(upper.clamp(min=1e-12)), torch.log((1 - lower).clamp(min=1e-12))
    return torch.where(x < -0.999, ends[0], torch.where(x > 0.999, ends[1], inside))
