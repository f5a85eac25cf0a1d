"""The two halves of TAEF2 as modules whose entries are named as in the published files.

Pictures (N, 3, H, W) in [0, 1] <-> latents (N, 32, H/8, W/8). The layers are those that the files' entry names and
shapes say; group norm spans a whole picture, so a part of a picture is not coded as it is within the whole.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = 32  # of the latents
LIMIT = 3.0  # of latents: the decoder presses larger ones towards it
WIDTH, WIDE, GROUPS = 64, 256, 4


class Block(nn.Module):
    """x -> relu(x + three 3x3 convolutions of x); with `pooled`, x first gains what looks at the whole picture."""

    def __init__(self, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH))
        self.pool: nn.Module | None = None
        if pooled:
            self.pool = nn.Sequential(
                nn.Conv2d(WIDTH, WIDE, 1, bias=False), nn.GroupNorm(GROUPS, WIDE), nn.ReLU(),
                nn.Conv2d(WIDE, WIDTH, 1, bias=False),
            )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, 64, h, w) -> the same shape."""
        if self.pool is not None:
            x = x + self.pool(x)
        return F.relu(x + self.conv(x))


class SoftLimit(nn.Module):
    """x -> 3 tanh(x / 3): what is far out is pressed together."""

    def forward(self, x: Tensor) -> Tensor:
        """Latents of any shape -> the same shape, within (-3, 3)."""
        return LIMIT * torch.tanh(x / LIMIT)


class Halves(nn.Module):
    """The encoder, latents (N, 32, H/8, W/8) of pictures (N, 3, H, W), and the decoder, its rough inverse."""

    def __init__(self) -> None:
        super().__init__()
        down: list[nn.Module] = [_conv(3, WIDTH), Block()]
        for pooled in (False, False, True):
            down += [nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False), *(Block(pooled) for _ in range(3))]
        self.encoder = nn.Sequential(*down, _conv(WIDTH, CHANNELS))
        up: list[nn.Module] = [SoftLimit(), _conv(CHANNELS, WIDTH), nn.ReLU(), *(Block(pooled=True) for _ in range(3))]
        for blocks in (3, 3, 1):
            up += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
                *(Block() for _ in range(blocks)),
            ]
        self.decoder = nn.Sequential(*up, _conv(WIDTH, 3))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def _conv(inside: int, outside: int) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, padding=1)


def fill(half: nn.Module, state: object) -> None:
    """Give a half these weights, in float32 and frozen.

    Raises:
        RuntimeError: they are not exactly the weights that the half has.
    """
    if not (isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())):
        raise RuntimeError("it does not hold tensors by name")
    half.load_state_dict({name: value.float() for name, value in state.items()}, strict=True, assign=True)
    half.eval().requires_grad_(False)
