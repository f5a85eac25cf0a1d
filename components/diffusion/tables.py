"""The numbers of a discrete diffusion process, one float64 array over its timesteps for each."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor

from components.diffusion.respacing import respaced_timesteps
from registry.errors import SpecError

Array = npt.NDArray[np.float64]

# Least log(sqrt(abar) / sqrt(1 - abar)) at which the data can still be had from a noise estimate: x0 is what is left of
# x_t divided by sqrt(abar), so that below it the estimate's error is multiplied by more than 164 and swamps the data.
# The linear schedule ends just above; the cosine one goes on to a factor of 20,000.
LEAST_LOG_SNR = -5.1


@dataclass(frozen=True, eq=False)
class DiffusionTables:
    """Every quantity of a process q(x_t | x_0), indexed by its timestep; arrays are float64 of length T.

    `timestep_map` (int64) holds the original timesteps that the network is told, which differ from the indices once
    the process is respaced. Build it by `from_betas`.
    """

    betas: Array
    timestep_map: npt.NDArray[np.int64]
    alphas_cumprod: Array
    alphas_cumprod_prev: Array
    alphas_cumprod_next: Array
    sqrt_alphas_cumprod: Array
    sqrt_one_minus_alphas_cumprod: Array
    log_one_minus_alphas_cumprod: Array
    sqrt_recip_alphas_cumprod: Array
    sqrt_recipm1_alphas_cumprod: Array
    posterior_variance: Array
    posterior_log_variance_clipped: Array
    posterior_mean_coef1: Array
    posterior_mean_coef2: Array
    log_betas: Array
    _gatherable: dict[tuple[str, torch.device], Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def from_betas(cls, betas: npt.ArrayLike, timestep_map: npt.ArrayLike | None = None) -> "DiffusionTables":
        """All tables that follow from the betas (T,), each in (0, 1].

        Raises:
            ValueError: the betas are not one dimension of numbers in (0, 1], or the map has another length.
        """
        betas = np.asarray(betas, dtype=np.float64)
        if betas.ndim != 1 or len(betas) == 0 or not ((betas > 0) & (betas <= 1)).all():
            raise ValueError("betas are one non-empty dimension of numbers in (0, 1]")
        mapped = np.arange(len(betas)) if timestep_map is None else np.asarray(timestep_map, dtype=np.int64)
        if mapped.shape != betas.shape:
            raise ValueError(f"timestep_map has shape {mapped.shape}, betas {betas.shape}")
        alphas = 1.0 - betas
        abar = np.cumprod(alphas, dtype=np.float64)
        abar_prev = np.append(1.0, abar[:-1])
        posterior_variance = betas * (1.0 - abar_prev) / (1.0 - abar)
        # The variance at index 0 is 0; its log takes the next entry's, and beta's where there is no next entry.
        first = posterior_variance[1] if len(betas) > 1 else betas[0]
        return cls(
            betas=betas,
            timestep_map=mapped.astype(np.int64),
            alphas_cumprod=abar,
            alphas_cumprod_prev=abar_prev,
            alphas_cumprod_next=np.append(abar[1:], 0.0),
            sqrt_alphas_cumprod=np.sqrt(abar),
            sqrt_one_minus_alphas_cumprod=np.sqrt(1.0 - abar),
            log_one_minus_alphas_cumprod=np.log(1.0 - abar),
            sqrt_recip_alphas_cumprod=np.sqrt(1.0 / abar),
            sqrt_recipm1_alphas_cumprod=np.sqrt(1.0 / abar - 1.0),
            posterior_variance=posterior_variance,
            posterior_log_variance_clipped=np.log(np.append(first, posterior_variance[1:])),
            posterior_mean_coef1=betas * np.sqrt(abar_prev) / (1.0 - abar),
            posterior_mean_coef2=(1.0 - abar_prev) * np.sqrt(alphas) / (1.0 - abar),
            log_betas=np.log(betas),
        )

    @property
    def num_timesteps(self) -> int:
        return len(self.betas)

    @property
    def timesteps_with_data(self) -> int:
        """How many timesteps, from the first, have a log-SNR (of amplitudes) of at least `LEAST_LOG_SNR`."""
        abar = self.alphas_cumprod
        return int((0.5 * (np.log(abar) - np.log1p(-abar)) >= LEAST_LOG_SNR).sum())

    def with_data(self) -> "DiffusionTables":
        """The process cut off behind `timesteps_with_data`; itself where all its timesteps hold data.

        Raises:
            SpecError: none does.
        """
        kept = self.timesteps_with_data
        if kept == 0:
            raise SpecError("diffusion.noise_schedule: the data are gone after its first step; lower its first beta")
        if kept == self.num_timesteps:
            return self
        return DiffusionTables.from_betas(self.betas[:kept], self.timestep_map[:kept])

    def respaced(self, spec: str) -> "DiffusionTables":
        """The process over the timesteps that `spec` keeps, with the same noise level at each of them.

        Raises:
            SpecError: the spec cannot be met; see `respaced_timesteps`.
        """
        kept = np.asarray(respaced_timesteps(self.num_timesteps, spec))
        abar = self.alphas_cumprod[kept]
        return DiffusionTables.from_betas(1.0 - abar / np.append(1.0, abar[:-1]), self.timestep_map[kept])

    def gather(self, name: str, t: Tensor) -> Tensor:
        """The table's float32 values at `t` (B,), shaped (B, 1, 1, 1, 1) so that they meet (B, F, C, H, W)."""
        key = (name, t.device)
        if key not in self._gatherable:
            self._gatherable[key] = torch.from_numpy(getattr(self, name)).float().to(t.device)
        return rearrange(self._gatherable[key][t], "b -> b 1 1 1 1")
