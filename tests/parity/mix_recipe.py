"""The fixtures' 32-bit mix: weights, clips and features that need no file (golden README, 7.2 and 8)."""

import math
import zlib
from collections.abc import Sequence

import numpy as np


def mix(count: int, seed: int | str) -> np.ndarray:
    """`count` mixed unsigned 32-bit numbers; a name stands for its CRC-32."""
    start = zlib.crc32(seed.encode()) if isinstance(seed, str) else seed
    x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(start)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return x


def uniform(shape: Sequence[int], seed: int | str) -> np.ndarray:
    """Numbers in (-1, 1), float64."""
    return (2 * (mix(math.prod(shape), seed).astype(np.float64) + 0.5) / 2**32 - 1).reshape(shape)


def weight(name: str, shape: Sequence[int], dtype: str) -> np.ndarray:
    """The recipe's value of one I3D entry."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    v = uniform(shape, name)
    if name.endswith("conv3d.weight"):
        v = v * math.sqrt(6 / math.prod(shape[1:]))
    elif name.endswith("conv3d.bias"):
        v = 0.1 * v
    elif name.endswith("bn.weight"):
        v = 1 + 0.2 * v
    elif name.endswith("bn.running_var"):
        v = 1 + 0.5 * v
    else:
        v = 0.2 * v
    return v.astype(dtype)


def clip(label: str, shape: Sequence[int]) -> np.ndarray:
    """A float32 clip (b, 3, t, h, w)."""
    b, c, t, h, w = np.meshgrid(*map(np.arange, shape), indexing="ij", sparse=True)
    wave = np.sin(2 * np.pi * ((b + 2) * w / 97 + (c + 1) * h / 71 + t / (5 + b)))
    return (0.7 * wave + 0.3 * uniform(shape, f"clip/{label}")).astype(np.float32)


def video(label: str, shape: Sequence[int]) -> np.ndarray:
    """A uint8 video (b, t, h, w, 3)."""
    return (mix(math.prod(shape), f"video/{label}") >> np.uint32(24)).astype(np.uint8).reshape(shape)


def features(n: int, d: int, seed: int, shift: float, scale: float) -> np.ndarray:
    """Features float32 (n, d) of the `i3d_*` sets."""
    v = uniform((n, d), seed)
    j = np.arange(d)
    mixed = v + 0.5 * np.roll(v, 1, axis=1)
    return (scale * mixed * (1 + 0.5 * (j % 7) / 7) + shift * (j % 5 - 2)).astype(np.float32)
