"""The network of the detector moving_shapes_r3d, and how clips are brought to it; its weights come from training.

Layout (N, C, F, H, W) throughout.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

SIDE = 64  # pixels, height and width, that every clip is resized to
WIDTHS = (16, 32, 48, 48)
DIMENSIONS = WIDTHS[0] + WIDTHS[-1]
PREPROCESSING = "64x64 bilinear antialiased, / 127.5 - 1, 2 x change since the frame before, x and y; version 1"


def prepared(videos: Tensor) -> Tensor:
    """uint8 (N, F, H, W, 3) -> float (N, 8, F, 64, 64): pixels, their change since the frame before, x, y."""
    count, frames, height, width, _ = videos.shape
    pictures = rearrange(videos, "n f h w c -> (n f) c h w").float() / 127.5 - 1
    if (height, width) != (SIDE, SIDE):
        pictures = functional.interpolate(
            pictures, size=(SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True
        )
    pixels = rearrange(pictures, "(n f) c h w -> n c f h w", n=count)
    change = functional.pad(2 * (pixels[:, :, 1:] - pixels[:, :, :-1]), (0, 0, 0, 0, 1, 0))
    place = torch.linspace(-1, 1, SIDE, device=videos.device)
    x = place[None, :].expand(count, 1, frames, SIDE, SIDE)
    y = place[:, None].expand(count, 1, frames, SIDE, SIDE)
    return torch.cat([pixels, change, x, y], dim=1)


class MovingShapesNetwork(nn.Module):
    """(N, 8, F, 64, 64), F >= 2 -> (N, 64): a stem (16) and three residual blocks (48), averaged over time and place.

    The stem's own averages are there because noise and blur show best before anything is pooled.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(8, WIDTHS[0], stride=(1, 2, 2))
        steps = zip(WIDTHS[:-1], WIDTHS[1:], ((1, 2, 2), (2, 2, 2), (2, 2, 2)), strict=True)
        self.blocks = nn.Sequential(*(_Block(inputs, outputs, stride) for inputs, outputs, stride in steps))
        # A fixed map, found after training, under which no direction of clean clips outweighs the others.
        # (On the CPU even where the rest has no memory: there torch's `eye` waits a second for its compiler.)
        self.whitening = nn.Parameter(torch.eye(DIMENSIONS, device="cpu"), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pooled(x) @ self.whitening

    def pooled(self, x: Tensor) -> Tensor:
        """The features before the map, (N, 64)."""
        stem = functional.relu(self.stem(x))
        return torch.cat([stem.mean(dim=(2, 3, 4)), self.blocks(stem).mean(dim=(2, 3, 4))], dim=1)


class _Convolution(nn.Module):
    """Convolution 3x3x3 and batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int, int] = (1, 1, 1)) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.convolution(x))
        return normed


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.first = _Convolution(inputs, outputs, stride)
        self.second = _Convolution(outputs, outputs)
        self.shortcut = nn.Conv3d(inputs, outputs, kernel_size=1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.shortcut(x) + self.second(functional.relu(self.first(x))))
