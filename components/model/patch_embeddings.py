"""Slot `patch_embedding`: latents -> tokens, and tokens -> latents.

Contract: `embed(latents (B, F, C, H, W)) -> tokens (B, T, S, D)`, `unembed(tokens) -> (B, F, C_out, H, W)`; T token
frames of S tokens each. `grid` is the (rows, columns) of one frame's tokens in row-major order.
"""

from collections.abc import Mapping

from einops import rearrange
from torch import Tensor, nn

from registry.errors import SpecError
from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveInt

LatentShape = tuple[int, int, int, int]  # (F, C, H, W)


class PatchEmbedding(nn.Module):
    """What both parts share: the grid of patches. Whoever takes stills behind the clip says so."""

    takes_stills = False
    requires: tuple[tuple[str, str, str], ...] = (
        (
            "learning.joint_images",
            "takes_stills or learning.joint_images == 0",
            "{name} takes no stills behind a clip (learning.joint_images {learning.joint_images}): a token of it spans "
            "several frames",
        ),
    )
    temporal_stride: int

    def __init__(self, latents: LatentShape, patch: int) -> None:
        super().__init__()
        frames, _, height, width = latents
        if height % patch or width % patch:
            raise SpecError(f"model.patch: patches of {patch} do not divide a latent of {height}x{width}")
        self.patch, self.frames = patch, frames
        self.grid = (height // patch, width // patch)

    @property
    def token_frames(self) -> int:
        """T."""
        return self.frames // self.temporal_stride

    @property
    def tokens_per_frame(self) -> int:
        """S."""
        return self.grid[0] * self.grid[1]

    @staticmethod
    def channels_of(entries: Mapping[str, Tensor], patch: int) -> tuple[int, int]:
        """Return C and C_out of the embedding that a state dict is of, for files that do not state them.

        Args:
            entries: of the embedding alone, under its own names.
            patch: side of a patch.
        """
        return entries["proj.weight"].shape[1], entries["head.weight"].shape[0] // patch**2

    def embed(self, latents: Tensor) -> Tensor:
        raise NotImplementedError

    def unembed(self, tokens: Tensor) -> Tensor:
        raise NotImplementedError

    def _to_frames(self, tokens: Tensor) -> Tensor:
        """Head outputs (B, T, S, p p C) -> (B, T, C, H, W); a token is (row in patch, column in patch, channel)."""
        pattern = "b t (h w) (p q c) -> b t c (h p) (w q)"
        return rearrange(tokens, pattern, h=self.grid[0], w=self.grid[1], p=self.patch, q=self.patch)


@part("patch_embedding", "uniform_frame")
class UniformFrame(PatchEmbedding):
    """ViT patches of each frame on its own: T = F.

    Source: paper, section 3.3 "uniform frame patch embedding"; golden README, 1
    Official code: yes (models/latte.py, x_embedder)
    """

    takes_stills = True
    temporal_stride = 1

    def __init__(self, latents: LatentShape, patch: int, width: int, out_channels: int) -> None:
        super().__init__(latents, patch)
        self.proj = nn.Conv2d(latents[1], width, kernel_size=patch, stride=patch)
        self.head = nn.Linear(width, patch * patch * out_channels)

    def embed(self, latents: Tensor) -> Tensor:
        batch = latents.shape[0]
        patches = self.proj(rearrange(latents, "b f c h w -> (b f) c h w"))
        return rearrange(patches, "(b t) d h w -> b t (h w) d", b=batch)

    def unembed(self, tokens: Tensor) -> Tensor:
        return self._to_frames(self.head(tokens))


@part("patch_embedding", "compression_frame")
class CompressionFrame(PatchEmbedding):
    """ViViT tubelets over `temporal_stride` frames, T = F / stride; a 3-D transposed convolution restores F.

    After the linear head and the reshape to `channel_multiplier * C_out` channels, a transposed convolution with kernel
    and stride (stride, 1, 1) makes `temporal_stride` frames of each token frame: `channel_multiplier * C_out` numbers
    become `temporal_stride * C_out`. A `channel_multiplier` below the stride is therefore a bottleneck. Noise is
    independent from frame to frame, so such a network can give back no more than the share channel_multiplier / stride
    of it, and the loss stays above the rest wherever the noise is what is asked for (`v_prediction` and `flow_matching`
    at low noise, `epsilon_learned_sigma` at high). Left out, `channel_multiplier` is the stride, and the map has full
    rank; `channel_multiplier: 1`, the narrowest bottleneck, is a control.

    Source: paper, section 3.3 "compression frame patch embedding"; tubelets: ViViT, arXiv 2103.15691, section 3.2
    Official code: no, our reading: the paper names the 3-D transposed convolution behind the linear decoder, and
        states neither its kernel nor its channels; kernel = stride, and as many channels as give full rank, are ours
    """

    requires = (
        (
            "temporal_stride",
            "data.frames % temporal_stride == 0",
            "tubelets of {temporal_stride} frames do not divide a clip of {data.frames}",
        ),
    )

    def __init__(
        self,
        latents: LatentShape,
        patch: int,
        width: int,
        out_channels: int,
        *,
        temporal_stride: PositiveInt = 2,
        channel_multiplier: PositiveInt | None = None,
    ) -> None:
        super().__init__(latents, patch)
        self.temporal_stride = temporal_stride
        kernel = (temporal_stride, patch, patch)
        inner = (channel_multiplier or temporal_stride) * out_channels
        self.proj = nn.Conv3d(latents[1], width, kernel_size=kernel, stride=kernel)
        self.head = nn.Linear(width, patch * patch * inner)
        stretch = (temporal_stride, 1, 1)
        self.stretch = nn.ConvTranspose3d(inner, out_channels, kernel_size=stretch, stride=stretch)

    @staticmethod
    def channels_of(entries: Mapping[str, Tensor], patch: int) -> tuple[int, int]:
        return entries["proj.weight"].shape[1], entries["stretch.weight"].shape[1]

    def embed(self, latents: Tensor) -> Tensor:
        return rearrange(self.proj(rearrange(latents, "b f c h w -> b c f h w")), "b d t h w -> b t (h w) d")

    def unembed(self, tokens: Tensor) -> Tensor:
        coarse = rearrange(self._to_frames(self.head(tokens)), "b t c h w -> b c t h w")
        return rearrange(self.stretch(coarse), "b c f h w -> b f c h w")
