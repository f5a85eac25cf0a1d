"""Small scripted networks that stand in for published ones."""

import warnings

import torch
from torch import Tensor, nn


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


def save(network, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(network.eval()).save(str(path))
    return path
