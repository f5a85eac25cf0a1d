"""Fixed sin-cos tables for positions, and the same waves for timesteps."""

import math

import numpy as np
import torch
from torch import Tensor


def sincos_1d(width: int, positions: np.ndarray) -> np.ndarray:
    """`[sin(p w), cos(p w)]` with w_i = 10000^(-i / (width/2)), in float64, shape (len(positions), width).

    Source: golden README, 5; sines first, in blocks.
    """
    frequencies = 10000.0 ** (-np.arange(width // 2, dtype=np.float64) / (width / 2))
    angles = np.outer(positions.reshape(-1).astype(np.float64), frequencies)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def temporal_table(width: int, frames: int) -> Tensor:
    """The table of frame positions, float32 (1, frames, width); on the device `meta` it takes no memory."""
    if _without_memory():
        return torch.empty(1, frames, width)
    return _tensor(sincos_1d(width, np.arange(frames)))


def spatial_table(width: int, rows: int, columns: int, step: float = 1.0) -> Tensor:
    """The table of row-major patch positions, float32 (1, rows * columns, width).

    The first half of the width encodes the column, the second the row; positions are `step` times 0..n-1. On the
    device `meta` it takes no memory.
    """
    if _without_memory():
        return torch.empty(1, rows * columns, width)
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    halves = [sincos_1d(width // 2, column * step), sincos_1d(width // 2, row * step)]
    return _tensor(np.concatenate(halves, axis=1))


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs (i, i + E/2) of the channels of x (…, L, E), each turned by its angle (L, E/2)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _without_memory() -> bool:
    return torch.get_default_device().type == "meta"


def _tensor(table: np.ndarray) -> Tensor:
    """float32 (1, …) on the default device."""
    return torch.from_numpy(table).float().unsqueeze(0).to(torch.get_default_device())


def timestep_waves(t: Tensor, width: int) -> Tensor:
    """Timesteps (B,), whole or fractional, -> `[cos(t f), sin(t f)]` float32 (B, width); an odd width ends in a zero.

    Source: golden README, 1; cosines first, f_i = exp(-ln(10000) i / (width // 2)).
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = t[:, None].float() * frequencies[None]
    waves = torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)
    return torch.nn.functional.pad(waves, (0, width % 2))
