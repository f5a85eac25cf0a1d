"""Small scripted networks that stand in for published ones."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from components.scoring.weights import sha256_of


class StandIn(nn.Module):
    """Frames (n, 3, 299, 299) in 0..255 -> (n, 12)."""

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.nn.functional.adaptive_avg_pool2d(x / 255, (2, 2)).flatten(1)
        return torch.cat([pooled[:, :6], torch.sin(3 * pooled[:, 6:])], dim=1)


class Layers(nn.Module):
    """The feature part of the published network: normalised frames -> (n, 2048, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.nn.functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        return pooled.repeat(1, 683)[:, :2048].unsqueeze(-1).unsqueeze(-1)


class LikePublished(nn.Module):
    """As far as clean-fid's wrapper asks of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        return self.layers(x)


class ClassifierStandIn(nn.Module):
    """Clips (n, 3, F, H, W) -> (n, 3) logits; says whether they came as uint8."""

    def forward(self, x: Tensor) -> Tensor:
        means = x.float().mean(dim=[2, 3, 4])
        if x.dtype == torch.uint8:
            means = means / 255
        return 10 * means


class Probabilities(ClassifierStandIn):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(10 * x.float().mean(dim=[2, 3, 4]) / 255, dim=1)


class Endless(nn.Module):
    """Never answers."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        while bool(x.float().sum() >= 0):
            x = x + 0
        return x


class Constant(nn.Module):
    """In the manner of the published I3D: the same 400 numbers for every clip."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        return torch.zeros(x.shape[0], 400)


class Means(nn.Module):
    """In the manner of the published I3D: 400 numbers of a clip's brightness, or as many as are asked for."""

    def __init__(self, dimensions: int = 400) -> None:
        super().__init__()
        self.dimensions = dimensions

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        pooled = torch.nn.functional.adaptive_avg_pool3d(x.float() / 255, (4, 10, 10)).flatten(1)
        return pooled.repeat(1, 2)[:, : self.dimensions]


def trusted(path: Path | str) -> dict[str, str]:
    """The word by which a part is told that it may run this file."""
    return {"sha256": sha256_of(Path(path))}


def save(network, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(network.eval()).save(str(path))
    return path
