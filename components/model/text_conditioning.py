"""The `conditioning` that reads a caption: adaLN-single for the timestep, cross-attention for the text.

All blocks share one modulation network of the timestep, to whose six vectors each block adds a small table of its own;
the caption's embeddings are projected to the width of the tokens once, and blocks that see whole frames attend to them.
"""

import torch
from einops import rearrange
from torch import Tensor, nn

from components.model.attention import CrossAttention, Text
from components.model.conditioning import Condition, Conditioning
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count


class LayerEmbedding(nn.Module):
    """What a block, or the head, adds to its share of the common vectors: a table (chunks, D).

    Args:
        chunks: vectors of D channels.
        width: D.
        first: number of the first of them among the common vectors.

    Source: PixArt-alpha, arXiv 2310.00426, section 2.3 "adaLN-single" (E^(i), the layer-specific embedding).
    """

    def __init__(self, chunks: int, width: int, first: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(chunks, width))
        self.share = slice(first * width, (first + chunks) * width)

    def forward(self, condition: Tensor) -> Tensor:
        """The common vectors (…, 8 D) -> this layer's (…, chunks D)."""
        return condition[..., self.share] + self.table.flatten()


@part("conditioning", "text_cross_attention")
class TextCrossAttention(Conditioning):
    """The timestep modulates all blocks by one network (adaLN-single); blocks that see whole frames read a caption.

    The caption's embeddings (B, L, E), with E = `text_width`, go through two linear layers. Spatial blocks attend to
    them between self-attention and MLP, without a norm and without a gate; temporal blocks do not. At the start the
    shared network, the tables and the outputs of cross-attention are zero: each block is the identity, as adaLN-Zero's.

    Source: paper, section 3.4 "Extension to text-to-video generation"; PixArt-alpha, arXiv 2310.00426, section 2.3
    Official code: yes (models/latte_t2v.py); ours is as diffusers' `LatteTransformer3DModel`, the zero start our own
    """

    requires = (
        (
            "data.text_encoder",
            "data.text_encoder is not None",
            "{name} reads captions: name what encodes them (`parts --slot text_encoder` lists what there is)",
        ),
        (
            "learning.joint_images",
            "learning.joint_images == 0",
            "{name} reads one caption a clip, and stills are of other videos: set it to 0",
        ),
        ("model.classes", "model.classes == 0", "{name} is conditioned by captions: no classes, got {model.classes}"),
    )

    def __init__(self, width: int, classes: int, null_label: bool, *, text_width: Count = 4096) -> None:
        super().__init__(width, classes, null_label)
        self.text_width = text_width
        self.caption = nn.Sequential(nn.Linear(text_width, width), nn.GELU(approximate="tanh"), nn.Linear(width, width))
        self.adaLN_single = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def embed(
        self, t: Tensor, labels: Tensor | None, still_labels: Tensor | None, frames: int, stills: int
    ) -> Condition:
        if stills:
            raise ValueError("text_cross_attention takes no stills: there is one caption a clip")
        time = self.timestep(t)
        # Six vectors for the blocks; the head takes the timestep itself as its shift and as its scale.
        shared = torch.cat([self.adaLN_single(time), time, time], dim=-1)
        clip = rearrange(shared, "b d -> b 1 1 d")
        return Condition(clip, clip)

    def read(self, text: Tensor | None, mask: Tensor | None) -> Text:
        if text is None:
            raise ValueError(f"text_cross_attention needs text: embeddings (B, L, {self.text_width}) of the captions")
        if text.dim() != 3 or text.shape[-1] != self.text_width:
            raise ValueError(f"text is {tuple(text.shape)}, the network reads (B, L, {self.text_width})")
        if mask is not None and mask.shape != text.shape[:2]:
            raise ValueError(f"text_mask is {tuple(mask.shape)}, the text has {tuple(text.shape[:2])}")
        return Text(self.caption(text), mask)

    def norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(self.width, eps=1e-6, elementwise_affine=False)

    def modulation(self, chunks: int) -> nn.Module:
        return LayerEmbedding(chunks, self.width, first=0)

    def head_modulation(self) -> nn.Module:
        return LayerEmbedding(2, self.width, first=6)

    def cross_attention(self, heads: int) -> CrossAttention:
        return CrossAttention(self.width, heads)
