"""Slot `blocks`: how spatial and temporal attention are arranged.

Contract: `forward(tokens (B, T + n, S, D), condition, position, frames=T) -> tokens`. The first T frames are the
clip; n stills behind it take the spatial path only. The class facts (`registry.parts.facts`) are read without torch:
`block_parameters` (learned parameters of a block in units of D^2, for the paper's depth rule), `depth_multiple`,
`branches` and `requires`, what a stack asks of depth and heads.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from components.model.attention import MLP, Attention, Axis, CrossAttention, Text
from components.model.conditioning import Condition, Conditioning, gated, modulate, modulations
from components.model.temporal_positions import TemporalPosition
from registry.parts.catalogue import part


def on_clip(change: Callable[[Tensor], Tensor], x: Tensor, frames: int) -> Tensor:
    """Apply `change` to the clip's frames and let the stills behind it pass."""
    return change(x) if x.shape[1] == frames else torch.cat([change(x[:, :frames]), x[:, frames:]], dim=1)


def reading(cross: CrossAttention | None, x: Tensor, text: Text | None) -> Tensor:
    """Add what the tokens x (B, T, S, D) read in the caption; x itself where the network has no text.

    Neither normed nor gated, as in PixArt.
    """
    return x if cross is None or text is None else x + cross(x, text)


class Block(nn.Module):
    """One attention and one MLP, each with its norm, modulation and residual; between them, the caption may be read.

    Source: golden README, 1 "Block"; the DiT block, arXiv 2212.09748, figure 3.
    """

    def __init__(self, width: int, heads: int, conditioning: Conditioning, reads_text: bool = True) -> None:
        super().__init__()
        self.norm1, self.norm2 = conditioning.norm(), conditioning.norm()
        self.attn = Attention(width, heads)
        self.cross_attn = conditioning.cross_attention(heads) if reads_text else None
        self.mlp = MLP(width)
        self.adaLN_modulation = conditioning.modulation(6)

    def forward(
        self, x: Tensor, condition: Tensor, axis: Axis, position: TemporalPosition, text: Text | None = None
    ) -> Tensor:
        """Tokens (B, T, S, D) and condition (B, T or 1, 1, D) -> tokens."""
        attend, feed = modulations(self.adaLN_modulation, condition, 2)
        x = x + gated(self.attn(modulate(self.norm1(x), attend), axis, rotation(x, axis, position)), attend)
        x = reading(self.cross_attn, x, text)
        return x + gated(self.mlp(modulate(self.norm2(x), feed)), feed)


def rotation(
    x: Tensor, axis: Axis, position: TemporalPosition
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """The rotation of queries and keys for attention across the frames of x (B, T, S, D), if the position rotates."""
    if axis == "spatial" or not position.rotates:
        return None
    frames = torch.arange(x.shape[1], device=x.device)
    if axis == "full":
        frames = frames.repeat_interleave(x.shape[2])
    return lambda q, k: position.rotate(q, k, frames)


class BlockStack(nn.ModuleList):
    """A list of blocks that knows in which order, and over which tokens, they attend."""

    depth_multiple = 1
    branches = 1
    requires: tuple[tuple[str, str, str], ...] = (
        (
            "model.depth",
            "model.depth % depth_multiple == 0",
            "{name} needs a depth that is a multiple of {depth_multiple}, got {model.depth}",
        ),
        (
            "model.heads",
            "model.heads % branches == 0",
            "{name} splits the heads in {branches} branches, got {model.heads}",
        ),
    )

    def reference_modulation_rows(self, index: int, frames: int, tokens: int) -> int:
        """How many rows a clip's modulation of block `index` has in the reference, which repeats the condition.

        Needed only to count MACs as the paper does; here the condition of a clip is one row.
        """
        raise NotImplementedError

    def spatial(self, block: nn.Module, x: Tensor, condition: Condition, position: TemporalPosition) -> Tensor:
        """Tokens of one frame attend to each other, in the clip and in stills alike."""
        return block(x, condition.frames, "spatial", position, condition.text)

    def temporal(
        self, block: nn.Module, x: Tensor, condition: Condition, position: TemporalPosition, frames: int
    ) -> Tensor:
        """The clip's tokens at one location attend to each other; stills pass unchanged."""
        return on_clip(lambda clip: block(clip, condition.clip, "temporal", position), x, frames)


class EvenStack(BlockStack):
    """As many spatial blocks as temporal ones, in whatever order."""

    block_parameters = 18
    depth_multiple = 2
    requires = (
        (
            "model.depth",
            "model.depth % depth_multiple == 0",
            "{name} has as many spatial as temporal blocks: depth must be even, got {model.depth}",
        ),
    )

    def __init__(self, depth: int, width: int, heads: int, conditioning: Conditioning) -> None:
        super().__init__(
            Block(width, heads, conditioning, reads_text=self.is_spatial(index, depth)) for index in range(depth)
        )

    def is_spatial(self, index: int, depth: int) -> bool:
        """Whether a block is spatial; those read the caption, where there is one, and temporal ones do not."""
        raise NotImplementedError


@part("blocks", "variant_1")
class Variant1(EvenStack):
    """Spatial and temporal blocks alternate.

    Source: paper, figure 2a and section 3.2
    Official code: yes (models/latte.py)
    """

    def is_spatial(self, index: int, depth: int) -> bool:
        return index % 2 == 0

    def reference_modulation_rows(self, index: int, frames: int, tokens: int) -> int:
        return tokens if index % 2 else frames

    def forward(self, x: Tensor, condition: Condition, position: TemporalPosition, frames: int) -> Tensor:
        for index, block in enumerate(self):
            if index == 1:
                x = on_clip(position.add, x, frames)
            if index % 2 == 0:
                x = self.spatial(block, x, condition, position)
            else:
                x = self.temporal(block, x, condition, position, frames)
        return x


@part("blocks", "variant_2")
class Variant2(EvenStack):
    """Late fusion: the first half of the blocks is spatial, the second half temporal.

    Source: paper, figure 2b and section 3.2
    Official code: no, our reading
    """

    def is_spatial(self, index: int, depth: int) -> bool:
        return index < depth // 2

    def reference_modulation_rows(self, index: int, frames: int, tokens: int) -> int:
        return frames if index < len(self) // 2 else tokens

    def forward(self, x: Tensor, condition: Condition, position: TemporalPosition, frames: int) -> Tensor:
        half = len(self) // 2
        for block in list(self)[:half]:
            x = self.spatial(block, x, condition, position)
        x = on_clip(position.add, x, frames)
        for block in list(self)[half:]:
            x = self.temporal(block, x, condition, position, frames)
        return x


class SequentialBlock(nn.Module):
    """Spatial attention, then temporal attention, then one MLP.

    Six modulation vectors: both attentions share shift, scale and gate, as the paper's parameter count says.
    """

    def __init__(self, width: int, heads: int, conditioning: Conditioning) -> None:
        super().__init__()
        self.norm1, self.norm_temporal, self.norm2 = (conditioning.norm() for _ in range(3))
        self.attn = Attention(width, heads)
        self.attn_temporal = Attention(width, heads)
        self.cross_attn = conditioning.cross_attention(heads)
        self.mlp = MLP(width)
        self.adaLN_modulation = conditioning.modulation(6)

    def forward(self, x: Tensor, condition: Condition, position: TemporalPosition, frames: int, first: bool) -> Tensor:
        attend, feed = modulations(self.adaLN_modulation, condition.frames, 2)
        across, _ = (attend, feed) if condition.frames is condition.clip else modulations(
            self.adaLN_modulation, condition.clip, 2)  # fmt: skip
        x = x + gated(self.attn(modulate(self.norm1(x), attend), "spatial"), attend)
        x = reading(self.cross_attn, x, condition.text)

        def attend_across(clip: Tensor) -> Tensor:
            clip = position.add(clip) if first else clip
            normed = modulate(self.norm_temporal(clip), across)
            return clip + gated(self.attn_temporal(normed, "temporal", rotation(clip, "temporal", position)), across)

        x = on_clip(attend_across, x, frames)
        return x + gated(self.mlp(modulate(self.norm2(x), feed)), feed)


@part("blocks", "variant_3")
class Variant3(BlockStack):
    """Each block has a spatial attention, then a temporal attention, then one MLP.

    Source: paper, figure 2c and section 3.2; depth and shared modulation from table 1's numbers (676.33 M, 6153.15 G)
    Official code: no, our reading
    """

    block_parameters = 22
    paper_counts_patch_convolution = False

    def __init__(self, depth: int, width: int, heads: int, conditioning: Conditioning) -> None:
        super().__init__(SequentialBlock(width, heads, conditioning) for _ in range(depth))

    def reference_modulation_rows(self, index: int, frames: int, tokens: int) -> int:
        return frames + tokens

    def forward(self, x: Tensor, condition: Condition, position: TemporalPosition, frames: int) -> Tensor:
        for index, block in enumerate(self):
            x = block(x, condition, position, frames, first=index == 0)
        return x


class ParallelBlock(nn.Module):
    """Two attentions side by side, each with half the heads (twice as wide), summed into one residual; then one MLP."""

    def __init__(self, width: int, heads: int, conditioning: Conditioning) -> None:
        super().__init__()
        self.norm1, self.norm2 = conditioning.norm(), conditioning.norm()
        self.attn = Attention(width, heads // 2)
        self.attn_temporal = Attention(width, heads // 2)
        self.cross_attn = conditioning.cross_attention(heads)
        self.mlp = MLP(width)
        self.adaLN_modulation = conditioning.modulation(6)

    def forward(self, x: Tensor, condition: Condition, position: TemporalPosition, frames: int) -> Tensor:
        attend, feed = modulations(self.adaLN_modulation, condition.frames, 2)
        normed = modulate(self.norm1(x), attend)
        update = self.attn(normed, "spatial")
        clip = normed[:, :frames]  # the clip's frames share one condition, also beside stills
        across = self.attn_temporal(clip, "temporal", rotation(clip, "temporal", position))
        if x.shape[1] > frames:
            across = torch.cat([across, torch.zeros_like(update[:, frames:])], dim=1)
        x = reading(self.cross_attn, x + gated(update + across, attend), condition.text)
        return x + gated(self.mlp(modulate(self.norm2(x), feed)), feed)


@part("blocks", "variant_4")
class Variant4(BlockStack):
    """Attention is split in two parallel branches, spatial and temporal, whose results are added.

    Source: paper, figure 2d and section 3.2; full projections in both branches from table 1's 676.44 M
    Official code: no, our reading (where the sum stands is not stated)
    """

    block_parameters = 22
    branches = 2
    paper_counts_patch_convolution = False

    def __init__(self, depth: int, width: int, heads: int, conditioning: Conditioning) -> None:
        super().__init__(ParallelBlock(width, heads, conditioning) for _ in range(depth))

    def reference_modulation_rows(self, index: int, frames: int, tokens: int) -> int:
        return frames + tokens

    def forward(self, x: Tensor, condition: Condition, position: TemporalPosition, frames: int) -> Tensor:
        x = on_clip(position.add, x, frames)
        for block in self:
            x = block(x, condition, position, frames)
        return x


@part("blocks", "full_attention")
class FullAttention(BlockStack):
    """Every block attends over all tokens of all frames: the control that the paper lacks.

    Stills attend within themselves. With one frame and no temporal position this is DiT.

    Source: none in the paper; Open-Sora report 01 compares it
    Official code: no, a control of ours
    """

    block_parameters = 18

    def __init__(self, depth: int, width: int, heads: int, conditioning: Conditioning) -> None:
        super().__init__(Block(width, heads, conditioning) for _ in range(depth))

    def reference_modulation_rows(self, index: int, frames: int, tokens: int) -> int:
        return frames

    def forward(self, x: Tensor, condition: Condition, position: TemporalPosition, frames: int) -> Tensor:
        x = on_clip(position.add, x, frames)
        for block in self:
            clip = block(x[:, :frames], condition.clip, "full", position, condition.text)
            if x.shape[1] > frames:
                own = condition.frames if condition.frames is condition.clip else condition.frames[:, frames:]
                clip = torch.cat([clip, block(x[:, frames:], own, "spatial", position)], dim=1)
            x = clip
        return x
