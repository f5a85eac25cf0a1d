"""The network of the detector moving_shapes_r3d, and how clips are brought to it; its weights come from training.

Layout (N, C, F, H, W) throughout.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

SIDE = 64  # pixels, height and width, that every clip is resized to
WIDTHS = (16, 32, 48, 64)
DIMENSIONS = WIDTHS[-1]
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
    """(N, 8, F, 64, 64), F >= 2 -> (N, 64): a stem and three residual blocks, averaged over time and place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(8, WIDTHS[0], stride=(1, 2, 2))
        steps = zip(WIDTHS[:-1], WIDTHS[1:], ((1, 2, 2), (2, 2, 2), (2, 2, 2)), strict=True)
        self.blocks = nn.Sequential(*(_Block(inputs, outputs, stride) for inputs, outputs, stride in steps))
        # What each feature is divided by, so that those of the training set's clean clips have total variance 1.
        self.scale = nn.Parameter(torch.ones(DIMENSIONS), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pooled(x) / self.scale

    def pooled(self, x: Tensor) -> Tensor:
        """The features before they are scaled, (N, 64)."""
        pooled: Tensor = self.blocks(functional.relu(self.stem(x))).mean(dim=(2, 3, 4))
        return pooled


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
