"""The trunk of TransNet V2, a network that finds cuts in videos, and how clips are brought to it.

Layout (N, C, F, H, W) throughout.
"""

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional

HEIGHT, WIDTH = 27, 48  # pixels that every frame is resized to
FILTERS = (16, 32, 64)  # of the stages
DILATIONS = (1, 2, 4, 8)  # in time, of a cell's branches
DIMENSIONS = FILTERS[-1] * len(DILATIONS)
PREPROCESSING = "48x27 bilinear antialiased, / 255; mean over time, height and width; version 1"


def prepared(videos: Tensor) -> Tensor:
    """uint8 (N, F, H, W, 3) -> float (N, 3, F, 27, 48) in [0, 1], the aspect not kept."""
    frames = rearrange(videos, "n f h w c -> (n f) c h w").float()
    resized = functional.interpolate(frames, size=(HEIGHT, WIDTH), mode="bilinear", align_corners=False, antialias=True)
    return rearrange(resized / 255, "(n f) c h w -> n c f h w", n=len(videos))


class Trunk(nn.Module):
    """(N, 3, F, 27, 48) in [0, 1] -> (N, 256): three stages, averaged over time and place."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *(filters * len(DILATIONS) for filters in FILTERS[:-1]))
        self.stages = nn.Sequential(*(Stage(*sizes) for sizes in zip(inputs, FILTERS, strict=True)))

    def forward(self, x: Tensor) -> Tensor:
        return reduce(self.stages(x), "n c f h w -> n c", "mean")


class Stage(nn.Module):
    """Two cells, the second behind the first; their sum at half the height and width, rounded down."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.cells = nn.ModuleList([Cell(inputs, filters), Cell(filters * len(DILATIONS), filters)])

    def forward(self, x: Tensor) -> Tensor:
        first = functional.relu(self.cells[0](x))
        second = functional.relu(self.cells[1](first))
        return functional.avg_pool3d(first + second, (1, 2, 2))


class Cell(nn.Module):
    """Branches side by side that look further and further in time, and batch norm.

    A branch is a convolution in place to twice the filters, and one in time, dilated, to the filters.
    """

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(inputs, 2 * filters, (1, 3, 3), padding=(0, 1, 1), bias=False),
                nn.Conv3d(2 * filters, filters, (3, 1, 1), padding=(far, 0, 0), dilation=(far, 1, 1), bias=False),
            )
            for far in DILATIONS
        )
        self.norm = nn.BatchNorm3d(filters * len(DILATIONS), eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(torch.cat([branch(x) for branch in self.branches], dim=1))
        return normed


def own_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries of the published file that belong to the trunk, by the names that they have here."""
    renamed = {}
    for name, value in state.items():
        if name.startswith("SDDCNN."):
            short = name.replace("SDDCNN.", "stages.").replace(".DDCNN.", ".cells.").replace(".bn.", ".norm.")
            for number, far in enumerate(DILATIONS):
                short = short.replace(f".Conv3D_{far}.layers.", f".branches.{number}.")
            renamed[short] = value
    return renamed
