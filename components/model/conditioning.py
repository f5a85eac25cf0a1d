"""Slot `conditioning`: how timestep and class reach the tokens.

A part owns the embedders, decides which norms and modulations the blocks get, and may put tokens of its own into
the sequence. `Condition` is what it hands to the blocks.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from components.model.attention import CrossAttention, Text
from components.model.positions import timestep_waves
from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveFloat


@dataclass
class Condition:
    """Conditioning vectors in the tokens' layout: one a clip, and one a frame where stills have labels of their own.

    Args:
        clip: (B, 1, 1, D), used by attention across frames and wherever all frames share it.
        frames: (B, T + n, 1, D), or the same tensor as `clip` when no still differs from the clip.
        tokens: (B, T + n, K, D) conditioning tokens for every frame, or None.
        text: the caption, which blocks read by cross-attention, or None.
    """

    clip: Tensor
    frames: Tensor
    tokens: Tensor | None = None
    text: Text | None = None


class Modulation(NamedTuple):
    """Shift, scale and gate of one sub-layer, each broadcastable to (B, T, S, D)."""

    shift: Tensor
    scale: Tensor
    gate: Tensor


class TimestepEmbedder(nn.Module):
    """256 cosine and sine waves of t, then Linear, SiLU, Linear: (B,) -> (B, D)."""

    waves = 256

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(self.waves, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        return self.mlp(timestep_waves(t, self.waves))


def drop_labels(labels: Tensor, null_label: int, probability: float, uniforms: Tensor) -> Tensor:
    """Labels (B,) or (B, n), made null where the sample's uniform number (B,) is below the probability.

    All stills of a sample are dropped together.

    Source: golden README, 2 and 3; classifier-free guidance, arXiv 2207.12598, algorithm 1.
    """
    dropped = (uniforms < probability).reshape(-1, *[1] * (labels.dim() - 1))
    return torch.where(dropped, torch.full_like(labels, null_label), labels)


class Conditioning(nn.Module):
    """The contract, and what both parts share: embedders, and the vector of timestep plus class.

    Args:
        width: D.
        classes: number of classes; 0 is unconditional.
        null_label: whether the label table has a last row for the dropped label.

    `text_width` is the width E of the text that the network reads, or None where it reads none; `zero_init` says
    whether the outputs of attention and MLP in blocks start at zero, so that each block starts as the identity.
    """

    text_width: int | None = None
    zero_init: bool = False

    def __init__(self, width: int, classes: int, null_label: bool) -> None:
        super().__init__()
        self.width, self.classes = width, classes
        self.null_label = classes if classes and null_label else None
        self.timestep = TimestepEmbedder(width)
        rows = torch.zeros(classes + int(null_label), width)  # to draw them on `meta`, torch imports its compiler: 2 s
        self.label = nn.Embedding.from_pretrained(rows, freeze=False) if classes else None

    def embed(
        self, t: Tensor, labels: Tensor | None, still_labels: Tensor | None, frames: int, stills: int
    ) -> Condition:
        """Timesteps (B,), clip labels (B,), labels of stills (B, n) -> the condition of T + n frames."""
        raise NotImplementedError

    def norm(self) -> nn.LayerNorm:
        """The norm that stands before a sub-layer."""
        raise NotImplementedError

    def modulation(self, chunks: int) -> nn.Module | None:
        """The network from condition to `chunks` vectors of a block or the head, or None for plain blocks."""
        raise NotImplementedError

    def head_modulation(self) -> nn.Module | None:
        """The network from condition to shift and scale of the head, or None for a plain head."""
        return self.modulation(2)

    def read(self, text: Tensor | None, mask: Tensor | None) -> Text | None:
        """Text (B, L, E) and its mask (B, L) -> what the blocks read of it.

        Raises:
            ValueError: there is text, and the network takes none; or the other way round.
        """
        if text is not None or mask is not None:
            raise ValueError(f"a network with the conditioning {type(self).__name__} takes no text")
        return None

    def cross_attention(self, heads: int) -> CrossAttention | None:
        """The cross-attention of a block that sees whole frames, or None where there is no text."""
        return None

    def attach(self, tokens: Tensor, condition: Condition) -> Tensor:
        """Put the conditioning tokens, if any, behind every frame's tokens (B, T + n, S, D)."""
        return tokens if condition.tokens is None else torch.cat([tokens, condition.tokens.to(tokens.dtype)], dim=2)

    def strip(self, tokens: Tensor, condition: Condition) -> Tensor:
        """Take away what `attach` put in."""
        return tokens if condition.tokens is None else tokens[:, :, : -condition.tokens.shape[2]]

    def _labels(self, labels: Tensor | None) -> Tensor | None:
        if self.label is None:
            return None
        if labels is None:
            raise ValueError(f"a class-conditional network of {self.classes} classes needs labels")
        return self.label(labels)


def modulations(network: nn.Module | None, condition: Tensor, sublayers: int) -> list[Modulation | None]:
    """A block's modulation network and a condition (B, T or 1, 1, D) -> one `Modulation` a sub-layer, None if plain."""
    if network is None:
        return [None] * sublayers
    chunks = network(condition).chunk(3 * sublayers, dim=-1)
    return [Modulation(*chunks[3 * i : 3 * i + 3]) for i in range(sublayers)]


def modulate(x: Tensor, by: Modulation | None) -> Tensor:
    """`x * (1 + scale) + shift`."""
    return x if by is None else x * (1 + by.scale) + by.shift


def gated(update: Tensor, by: Modulation | None) -> Tensor:
    """A sub-layer's output as it is added to the residual."""
    return update if by is None else by.gate * update


@part("conditioning", "s_adaln")
class SAdaLN(Conditioning):
    """Scalable adaptive layer norm: timestep plus class give each sub-layer a shift, a scale and a gate.

    At the start the modulation networks are zero: every gate is shut, and each block is the identity.

    Source: paper, section 3.3, equation 3 (DiT's adaLN-Zero)
    Official code: yes (models/latte.py)
    """

    def __init__(self, width: int, classes: int, null_label: bool) -> None:
        super().__init__(width, classes, null_label)

    def embed(
        self, t: Tensor, labels: Tensor | None, still_labels: Tensor | None, frames: int, stills: int
    ) -> Condition:
        time, label = self.timestep(t), self._labels(labels)
        clip = rearrange(time if label is None else time + label, "b d -> b 1 1 d")
        if stills == 0 or label is None:
            return Condition(clip, clip)
        own = rearrange(time[:, None] + self._labels(still_labels), "b n d -> b n 1 d")
        return Condition(clip, torch.cat([clip.expand(-1, frames, -1, -1), own], dim=1))

    def norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(self.width, eps=1e-6, elementwise_affine=False)

    def modulation(self, chunks: int) -> nn.Module:
        return nn.Sequential(nn.SiLU(), nn.Linear(self.width, chunks * self.width))


@part("conditioning", "all_tokens")
class AllTokens(Conditioning):
    """Timestep and class are tokens of the sequence: one token each behind every frame's, taken away before the head.

    Blocks are plain pre-norm with affine norms, and without gates. At the start they are not the identity, as those
    of `s_adaln` are: attention and MLP are Xavier-uniform and add to the tokens from the first step. `zero_init`
    starts the outputs of both at zero instead, which the paper does not say. The conditioning tokens start small: the
    table of classes is normal 0.02, and the timestep's token has an rms of 0.02 at a width of 64 and 0.08 at 1152,
    beside a table of positions of 0.7 on every patch. `token_scale` is what both kinds are multiplied by, always.

    Source: paper, section 3.3 "all tokens" (one sentence: the conditions are treated as tokens of the input)
    Official code: no, our reading: tokens are repeated for every frame, so that both kinds of attention see them
    """

    only_if_said = ("zero_init", "token_scale")

    def __init__(
        self, width: int, classes: int, null_label: bool, *, zero_init: bool = False, token_scale: PositiveFloat = 1.0
    ) -> None:
        super().__init__(width, classes, null_label)
        self.zero_init, self.token_scale = zero_init, token_scale

    def embed(
        self, t: Tensor, labels: Tensor | None, still_labels: Tensor | None, frames: int, stills: int
    ) -> Condition:
        time, label = self.timestep(t), self._labels(labels)
        clip = rearrange(time if label is None else time + label, "b d -> b 1 1 d")
        tokens = [repeat(time, "b d -> b t 1 d", t=frames + stills)]
        if label is not None:
            of_frames = repeat(label, "b d -> b t 1 d", t=frames)
            if stills:
                own = self._labels(still_labels)
                assert own is not None
                of_frames = torch.cat([of_frames, rearrange(own, "b n d -> b n 1 d")], dim=1)
            tokens.append(of_frames)
        joined = torch.cat(tokens, dim=2)
        return Condition(clip, clip, joined if self.token_scale == 1.0 else self.token_scale * joined)

    def norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(self.width, eps=1e-6)

    def modulation(self, chunks: int) -> None:
        return None
