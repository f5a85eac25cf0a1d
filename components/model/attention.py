"""Multi-head attention over one of three token axes or a caption, and the MLP: what blocks are made of."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from components.model.attending import attend
from components.model.gelu import gelu_of
from components.model.spatial_positions import SpatialPosition

Axis = Literal["spatial", "temporal", "full"]

# Tokens are (B, T, S, D). The three axes differ only in which tokens attend to each other.
_SPLIT = {
    "spatial": "b t s (three h e) -> three (b t) h s e",
    "temporal": "b t s (three h e) -> three (b s) h t e",
    "full": "b t s (three h e) -> three b h (t s) e",
}
_JOIN = {
    "spatial": "(b t) h s e -> b t s (h e)",
    "temporal": "(b s) h t e -> b t s (h e)",
    "full": "b h (t s) e -> b t s (h e)",
}


class Attention(nn.Module):
    """Self-attention with one biased projection to [q | k | v] and a biased output projection, no dropout.

    The network that it stands in may give it norms of queries and keys, and what rotates them by their place.

    Args:
        width: D of the tokens.
        heads: number of heads; each takes width / heads consecutive channels.

    Source: golden README, 1 (the DiT block).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.q_norm: nn.Module | None = None
        self.k_norm: nn.Module | None = None
        self.spatial: SpatialPosition | None = None

    @property
    def channels(self) -> int:
        """E, of one head."""
        return self.proj.in_features // self.heads

    def forward(
        self, x: Tensor, axis: Axis, rotate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    ) -> Tensor:
        """Tokens (B, T, S, D) -> (B, T, S, D); `rotate(q, k)` may turn queries and keys by their position."""
        _, frames, tokens, _ = x.shape
        q, k, v = rearrange(self.qkv(x), _SPLIT[axis], three=3, h=self.heads)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = (q.to(self.qkv.weight.dtype), k.to(self.qkv.weight.dtype))  # in full precision under autocast
            q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        if self.spatial is not None and axis != "temporal":
            q, k = self.spatial.rotate(q, k, frames if axis == "full" else 1)
        if rotate is not None:
            q, k = rotate(q, k)
        attended = attend(q, k, v)
        return self.proj(rearrange(attended, _JOIN[axis], **_lengths(axis, frames, tokens)))


def _lengths(axis: Axis, frames: int, tokens: int) -> dict[str, int]:
    return {"spatial": {"t": frames}, "temporal": {"s": tokens}, "full": {"t": frames}}[axis]


class Text(NamedTuple):
    """A caption as the blocks read it: tokens (B, L, D), and which of them count, (B, L) bool, or None for all."""

    tokens: Tensor
    mask: Tensor | None = None


class CrossAttention(nn.Module):
    """Attention of video tokens to the caption's: queries of the one, keys and values of the other, biased, no dropout.

    Args:
        width: D of both.
        heads: number of heads; each takes width / heads consecutive channels.

    Source: PixArt-alpha, arXiv 2310.00426, section 2.3; LatteT2V has it in its spatial blocks.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, text: Text) -> Tensor:
        """Tokens (B, T, S, D) -> (B, T, S, D); every token of a clip looks at the same caption."""
        q = rearrange(self.q(x), "b t s (h e) -> b h (t s) e", h=self.heads)
        k, v = rearrange(self.kv(text.tokens), "b l (two h e) -> two b h l e", two=2, h=self.heads)
        mask = None if text.mask is None else rearrange(text.mask.bool(), "b l -> b 1 1 l")
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(rearrange(attended, "b h (t s) e -> b t s (h e)", t=x.shape[1]))


class MLP(nn.Module):
    """Two linear layers with a tanh-form GELU between them; hidden width is `ratio * width`."""

    def __init__(self, width: int, ratio: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, ratio * width)
        self.fc2 = nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(gelu_of(self.fc1, x))
