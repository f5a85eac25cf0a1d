"""Latte's forward pass on one page: patches, position, condition, blocks, head."""

from typing import Protocol

import torch
from torch import Tensor, nn

from components.model.attention import MLP, Attention, CrossAttention
from components.model.blocks import BlockStack
from components.model.conditioning import Condition, Conditioning
from components.model.patch_embeddings import PatchEmbedding
from components.model.spatial_positions import Absolute, SpatialPosition
from components.model.temporal_positions import TemporalPosition
from components.model.text_conditioning import LayerEmbedding


class QKNorm(Protocol):
    """What norms queries and keys; see `qk_norms.py`."""

    def norm(self, channels: int) -> nn.Module | None: ...


class Latte(nn.Module):
    """The latent diffusion transformer for video, put together from its parts.

    Args:
        patch_embedding: latents to tokens and back.
        temporal_position: how tokens know their frame.
        conditioning: how timestep and class reach the tokens.
        blocks: the stack of attention blocks.
        spatial: how tokens know their place; left out, the fixed table.
        qk_norm: what norms queries and keys; left out, nothing.

    Source: paper, section 3; golden README, 1 to 3.
    """

    spatial_position: Tensor | None

    def __init__(
        self,
        patch_embedding: PatchEmbedding,
        temporal_position: TemporalPosition,
        conditioning: Conditioning,
        blocks: BlockStack,
        spatial: SpatialPosition | None = None,
        qk_norm: QKNorm | None = None,
    ) -> None:
        super().__init__()
        self.patch_embedding, self.temporal_position = patch_embedding, temporal_position
        self.conditioning, self.blocks = conditioning, blocks
        spatial = spatial or Absolute(conditioning.width, patch_embedding.grid)
        self.register_buffer("spatial_position", spatial.table())  # (1, S, D)
        for attention in blocks.modules():
            if isinstance(attention, Attention):
                attention.spatial = spatial if spatial.rotates else None
                if qk_norm is not None:
                    attention.q_norm, attention.k_norm = (qk_norm.norm(attention.channels) for _ in range(2))
        self.head_norm = conditioning.norm()
        self.head_modulation = conditioning.head_modulation()

    @property
    def null_label(self) -> int | None:
        """The label that means "no class", or None where none was learned."""
        return self.conditioning.null_label

    def forward(
        self,
        latents: Tensor,
        t: Tensor,
        labels: Tensor | None = None,
        still_labels: Tensor | None = None,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> Tensor:
        """Latents (B, F + n, C, H, W) of a clip and n stills behind it -> (B, F + n, C_out, H, W).

        Args:
            latents: the first F frames are the clip.
            t: (B,) timesteps, shared by clip and stills; whole or fractional.
            labels: (B,) classes of the clips; the null label stands for none.
            still_labels: (B, n) classes of the stills, where the network is class-conditional.
            text: (B, L, E) embeddings of the captions, where the network is text-conditional.
            text_mask: (B, L) which of them count, at least one of each caption; None: all.

        Raises:
            ValueError: fewer frames than the network has, stills where the patch embedding takes none, no labels, or
                text where none is taken or none where it is needed.
        """
        stills = latents.shape[1] - self.patch_embedding.frames
        if stills < 0 or (stills and not self.patch_embedding.takes_stills):
            raise ValueError(f"expected {self.patch_embedding.frames} frames, got {latents.shape[1]}")
        frames = self.patch_embedding.token_frames
        condition = self.conditioning.embed(t, labels, still_labels, frames, stills)
        condition.text = self.conditioning.read(text, text_mask)
        tokens = self.patch_embedding.embed(latents)  # (B, T + n, S, D)
        if self.spatial_position is not None:
            tokens = tokens + self.spatial_position[:, None]
        tokens = self.conditioning.attach(tokens, condition)
        tokens = self.blocks(tokens, condition, self.temporal_position, frames)
        return self.head(self.conditioning.strip(tokens, condition), condition)

    def head(self, tokens: Tensor, condition: Condition) -> Tensor:
        """Tokens (B, T + n, S, D) behind the last block -> (B, F + n, C_out, H, W); in float32 also under autocast.

        In bfloat16 the output would be off by 0.2 % whatever the weights, and guidance multiplies that by its scale.
        """
        kind = tokens.device.type
        if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
            return self._head(tokens, condition.frames)
        with torch.autocast(kind, enabled=False):
            return self._head(tokens.float(), condition.frames.float())

    def _head(self, tokens: Tensor, frames: Tensor) -> Tensor:
        """As `head`, of the condition of the frames (B, T + n or 1, 1, D), in the precision of what is given."""
        tokens = self.head_norm(tokens)
        if self.head_modulation is not None:
            shift, scale = self.head_modulation(frames).chunk(2, dim=-1)
            tokens = tokens * (1 + scale) + shift
        return self.patch_embedding.unembed(tokens)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Fresh weights: Xavier-uniform matrices, zero biases, normal 0.02 embedders, zero modulations and head.

        A conditioning may ask that blocks start as the identity; a table of positions in time says its own spread.

        Source: golden README, 1 "Initialisation in the original".
        """
        zeroed = {self.patch_embedding.head, *_modulation_layers(self)}
        zeroed |= {module.proj for module in self.modules() if isinstance(module, CrossAttention)}
        if self.conditioning.zero_init:
            zeroed |= {module.proj for module in self.blocks.modules() if isinstance(module, Attention)}
            zeroed |= {module.fc2 for module in self.blocks.modules() if isinstance(module, MLP)}
        for module in self.modules():
            if isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and module.elementwise_affine:
                nn.init.ones_(module.weight)
                if isinstance(module, nn.LayerNorm):
                    nn.init.zeros_(module.bias)
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose3d)):
                if module in zeroed:
                    nn.init.zeros_(module.weight)
                else:
                    nn.init.xavier_uniform_(module.weight.flatten(1), generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            if isinstance(module, LayerEmbedding):
                nn.init.zeros_(module.table)
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02, generator=generator)
        for layer in self.conditioning.timestep.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02, generator=generator)
        for table in self.temporal_position.parameters():
            nn.init.normal_(table, std=self.temporal_position.std, generator=generator)


def _modulation_layers(model: Latte) -> list[nn.Module]:
    networks = [getattr(block, "adaLN_modulation", None) for block in model.blocks]
    networks += [model.head_modulation, getattr(model.conditioning, "adaLN_single", None)]
    return [network[1] for network in networks if isinstance(network, nn.Sequential)]
