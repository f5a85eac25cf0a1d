"""Slot `spatial_position`: how a token knows its place in the frame.

Contract: constructed with the width D and the (rows, columns) of a frame's tokens. A part may give a table that is
added to the tokens once, at the start (`table`), and may rotate queries and keys in every attention that looks across
places (`rotate`). Tokens behind those of the grid, such as a conditioning's own, have no place.
"""

import torch
from torch import Tensor

from components.model.positions import spatial_table, turned
from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveFloat


class SpatialPosition:
    """The contract: by default there is no table and nothing is rotated."""

    rotates = False

    def table(self) -> Tensor | None:
        """What is added to the tokens, (1, S, D)."""
        return None

    def rotate(self, q: Tensor, k: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Queries and keys (…, L, E) of the tokens of so many frames, one behind the other -> the same, rotated."""
        return q, k


@part("spatial_position", "absolute")
class Absolute(SpatialPosition):
    """The fixed sin-cos table over rows and columns, added to the tokens of every frame.

    Source: paper, section 3.3; golden README, 1 and 5
    Official code: yes (models/latte.py, pos_embed)
    """

    def __init__(self, width: int, grid: tuple[int, int]) -> None:
        self.width, self.grid = width, grid

    def table(self) -> Tensor:
        return spatial_table(self.width, *self.grid)


@part("spatial_position", "rotary")
class Rotary(SpatialPosition):
    """Axial rotary embedding: attention within a frame sees only the distance in rows and in columns.

    Of the pairs (i, i + E/2) of a head's E channels the first half turns by row * base^(-4i/E), the second half
    likewise by column. Tokens without a place are not turned. In full attention beside rotary positions in time both
    turn the same pairs, so that there a score depends on the distance in frames, rows and columns.

    Source: none in the paper; RoPE, arXiv 2104.09864, equation 34; axial: Heo et al. 2024, arXiv 2403.13298
    Official code: no, our addition
    """

    rotates = True
    requires = (
        (
            "",
            "model.heads % model.blocks.branches != 0 or model.width * model.blocks.branches // model.heads % 4 == 0",
            "{name} rotates pairs of channels by row and as many by column, so a head needs a width divisible by 4",
        ),
    )

    def __init__(self, width: int, grid: tuple[int, int], *, base: PositiveFloat = 10000.0) -> None:
        self.grid, self.base = grid, base

    def rotate(self, q: Tensor, k: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        (rows, columns), quarter = self.grid, q.shape[-1] // 4
        frequencies = self.base ** (-torch.arange(quarter, device=q.device, dtype=torch.float32) / quarter)
        places = torch.arange(rows * columns, device=q.device)
        angles = torch.cat([(of[:, None] * frequencies) for of in (places // columns, places % columns)], dim=1)
        unplaced = q.shape[-2] // frames - rows * columns
        angles = torch.nn.functional.pad(angles, (0, 0, 0, unplaced)).repeat(frames, 1)  # (L, E/2)
        cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)
        return turned(q, cos, sin), turned(k, cos, sin)
