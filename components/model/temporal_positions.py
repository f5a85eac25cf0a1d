"""Slot `temporal_position`: how a token knows which frame it belongs to.

A part may add a table to the clip's tokens once, before the first temporal attention (`add`), and may rotate queries
and keys inside every attention that looks across frames (`rotate`). Stills have no position in time.
"""

import torch
from torch import Tensor, nn

from components.model.positions import temporal_table, turned
from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveFloat


class TemporalPosition(nn.Module):
    """The contract: by default neither adds nor rotates. Learned tables are drawn normal with the deviation `std`."""

    rotates = False
    std: float = 0.02

    def add(self, tokens: Tensor) -> Tensor:
        """Clip tokens (B, T, S, D) -> the same shape, with the position added."""
        return tokens

    def rotate(self, q: Tensor, k: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys (…, L, E) of tokens in the given frames (L,) -> the same shapes, rotated."""
        return q, k


@part("temporal_position", "absolute")
class Absolute(TemporalPosition):
    """A fixed sin-cos table over frames, added once before the first temporal attention.

    Source: paper, section 3.3 "temporal positional embedding"; golden README, 1 and 5
    Official code: yes (models/latte.py, temp_embed)
    """

    table: Tensor
    fixed_length = "its table has a row for each trained frame, and the network has never seen the waves of others"

    def __init__(self, frames: int, width: int) -> None:
        super().__init__()
        self.register_buffer("table", temporal_table(width, frames))  # (1, T, D)

    def add(self, tokens: Tensor) -> Tensor:
        return tokens + self.table[:, :, None].to(tokens.dtype)


@part("temporal_position", "rotary")
class Rotary(TemporalPosition):
    """Rotary embedding: temporal attention sees only the distance between frames.

    Pairs (i, i + E/2) of a head's E channels turn by frame * base^(-2i/E).

    Source: paper, section 3.3 "relative positional embedding"; RoPE, arXiv 2104.09864, equation 34
    Official code: no, our reading of the paper (which attentions rotate, and the base, are not stated)
    """

    rotates = True
    requires = (
        (
            "",
            "model.heads % model.blocks.branches != 0 or model.width * model.blocks.branches // model.heads % 2 == 0",
            "{name} rotates pairs of channels, so a head needs an even width",
        ),
    )

    def __init__(self, frames: int, width: int, *, base: PositiveFloat = 10000.0) -> None:
        super().__init__()
        self.base = base

    def rotate(self, q: Tensor, k: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        half = q.shape[-1] // 2
        exponents = torch.arange(half, device=q.device, dtype=torch.float32) / half
        angles = frames.to(device=q.device, dtype=torch.float32)[:, None] * self.base ** (-exponents)  # (L, E/2)
        cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)
        return turned(q, cos, sin), turned(k, cos, sin)


@part("temporal_position", "learned")
class Learned(TemporalPosition):
    """A learned table over frames, added once before the first temporal attention: a control.

    It is drawn normal with the deviation `std`, 0.02 if left out, as tables of ViTs are. That starts far below the
    fixed table of `absolute`, whose rms is 0.7: frames can hardly be told apart until it has grown. `std: 0.7` starts
    alike.

    Source: none in the paper; the usual ViT table (arXiv 2010.11929, section 3.1)
    Official code: no, a control of ours
    """

    fixed_length = "its learned table has a row for each trained frame, and no others"
    only_if_said = ("std",)

    def __init__(self, frames: int, width: int, *, std: PositiveFloat = 0.02) -> None:
        super().__init__()
        self.std = std
        self.table = nn.Parameter(torch.zeros(1, frames, width))

    def add(self, tokens: Tensor) -> Tensor:
        return tokens + self.table[:, :, None]


@part("temporal_position", "none")
class NoPosition(TemporalPosition):
    """No temporal position at all: frames are a set. A control.

    Source: none in the paper
    Official code: no, a control of ours
    """

    def __init__(self, frames: int, width: int) -> None:
        super().__init__()
