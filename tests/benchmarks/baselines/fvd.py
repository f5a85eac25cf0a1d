"""FVD of two sets of clips, both measured anew, as its description says (golden README, 7 and 8), plain."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WEIGHTS = Mapping[str, Tensor]  # of I3D, by the published names
POOLS = {"Mixed_4b": ((3, 3, 3), (2, 2, 2)), "Mixed_5b": ((2, 2, 2), (2, 2, 2))}  # before a block: window, stride
MIXED = ["3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"]


def fvd(weights: WEIGHTS, real: Tensor, fake: Tensor) -> float:
    """The distance of uint8 clips (N, F, H, W, 3); eight clips go through the network at once."""
    (m1, s1), (m2, s2) = (_moments(torch.cat([features(weights, c) for c in clips.split(8)])) for clips in (real, fake))
    values, vectors = np.linalg.eigh(s1)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ s2 @ root).clip(0)).sum()
    return float(((m1 - m2) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * cross)


def features(weights: WEIGHTS, clips: Tensor) -> Tensor:
    """Logits (N, 400) of uint8 clips (N, F, H, W, 3)."""
    frames = clips.flatten(0, 1).permute(0, 3, 1, 2).float()
    frames = F.interpolate(frames, size=(224, 224), mode="bilinear", align_corners=False) / 127.5 - 1
    x = frames.unflatten(0, clips.shape[:2]).transpose(1, 2)
    with torch.no_grad():
        x = _pool(_unit(weights, "Conv3d_1a_7x7", x, 2), (1, 3, 3), (1, 2, 2))
        x = _unit(weights, "Conv3d_2c_3x3", _unit(weights, "Conv3d_2b_1x1", x))
        x = _pool(x, (1, 3, 3), (1, 2, 2))
        for name in (f"Mixed_{block}" for block in MIXED):
            x = _mixed(weights, name, _pool(x, *POOLS[name]) if name in POOLS else x)
        x = F.avg_pool3d(x, (2, 7, 7), stride=1)
        x = F.conv3d(x, weights["logits.conv3d.weight"], weights["logits.conv3d.bias"])
    return x.squeeze(-1).squeeze(-1).mean(dim=2)


def _moments(rows: Tensor) -> tuple[np.ndarray, np.ndarray]:
    exact = rows.cpu().numpy().astype(np.float64)
    return exact.mean(axis=0), np.cov(exact, rowvar=False, bias=True)


def _mixed(weights: WEIGHTS, name: str, x: Tensor) -> Tensor:
    first, second = (_unit(weights, f"{name}.b{branch}b", _unit(weights, f"{name}.b{branch}a", x)) for branch in (1, 2))
    pooled = _unit(weights, f"{name}.b3b", _pool(x, (3, 3, 3), (1, 1, 1)))
    return torch.cat([_unit(weights, f"{name}.b0", x), first, second, pooled], dim=1)


def _unit(weights: WEIGHTS, name: str, x: Tensor, stride: int = 1) -> Tensor:
    kernel = weights[f"{name}.conv3d.weight"]
    x = F.conv3d(_padded(x, kernel.shape[2:], (stride,) * 3), kernel, stride=stride)
    mean, variance, scale, shift = (
        weights[f"{name}.bn.{entry}"] for entry in ("running_mean", "running_var", "weight", "bias")
    )
    return F.relu(F.batch_norm(x, mean, variance, scale, shift, eps=1e-5))


def _pool(x: Tensor, window: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    return F.max_pool3d(_padded(x, window, stride), window, stride)


def _padded(x: Tensor, window: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    around: list[int] = []
    for size, k, s in list(zip(x.shape[2:], window, stride, strict=True))[::-1]:
        total = max(k - s, 0) if size % s == 0 else max(k - size % s, 0)
        around += [total // 2, total - total // 2]
    return F.pad(x, around)
