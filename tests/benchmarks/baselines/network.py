"""The official Latte network as its description says, plain and in float32: what the speed of ours is compared with.

Written from the description of the golden fixtures alone (golden README, 1 and 2), with the official entry names.
Nothing is done for its speed: attention is softmax(Q K^T) V with the whole matrix in memory, and the condition is
repeated for every frame or place before each block, as the original repeats it.
"""

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn


class Attention(nn.Module):
    """Explicit multi-head attention over the tokens (B, N, D) of a row."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b n (three h e) -> three b h n e", three=3, h=self.heads)
        weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(dim=-1)
        return self.proj(rearrange(weights @ v, "b h n e -> b n (h e)"))


class MLP(nn.Module):
    """Two layers with a tanh-form GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Rows (B, N, D) by vectors (B, D)."""
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class Block(nn.Module):
    """Rows of tokens (B, N, D), each with a condition (B, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6, elementwise_affine=False) for _ in range(2))
        self.attn, self.mlp = Attention(width, heads), MLP(width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(c).chunk(6, dim=1)
        x = x + gate_a.unsqueeze(1) * self.attn(modulate(self.norm1(x), shift_a, scale_a))
        return x + gate_m.unsqueeze(1) * self.mlp(modulate(self.norm2(x), shift_m, scale_m))


class TimestepEmbedder(nn.Module):
    """(B,) -> (B, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        frequencies = torch.exp(-torch.log(torch.tensor(10000.0)) * torch.arange(128, dtype=torch.float32) / 128).to(
            t.device
        )
        angles = t[:, None].float() * frequencies
        return self.mlp(torch.cat([angles.cos(), angles.sin()], dim=1))


class LabelEmbedder(nn.Module):
    """Labels (B,) -> (B, D); the last row means "no class"."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(classes + 1, width)

    def forward(self, labels: Tensor) -> Tensor:
        return self.embedding_table(labels)


class PatchEmbed(nn.Module):
    """(B, C, H, W) -> (B, N, D)."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class FinalLayer(nn.Module):
    """Rows (B, N, D) with a condition (B, D) -> (B, N, p p C_out)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(width, out)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(c).chunk(2, dim=1)
        return self.linear(modulate(self.norm(x), shift, scale))


class OfficialLatte(nn.Module):
    """Latents (B, F, C, H, W), timesteps (B,) and, with classes, labels (B,) -> (B, F, 2 C, H, W).

    Args:
        frames, channels, side: F, C and H = W of the latents.
        width, depth, heads, patch: of the network.
        classes: 0 is unconditional.
    """

    def __init__(
        self, latents: tuple[int, int, int, int], width: int, depth: int, heads: int, patch: int, classes: int = 0
    ) -> None:
        super().__init__()
        self.frames, channels, side, _ = latents
        self.patch, self.out_channels = patch, 2 * channels
        tokens = (side // patch) ** 2
        self.x_embedder = PatchEmbed(channels, width, patch)
        self.t_embedder = TimestepEmbedder(width)
        self.y_embedder = LabelEmbedder(classes, width) if classes else None
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width), requires_grad=False)
        self.temp_embed = nn.Parameter(torch.zeros(1, self.frames, width), requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.final_layer = FinalLayer(width, patch * patch * self.out_channels)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        batch = len(x)
        x = self.x_embedder(rearrange(x, "b f c h w -> (b f) c h w")) + self.pos_embed
        c = self.t_embedder(t)
        if self.y_embedder is not None:
            c = c + self.y_embedder(labels)
        of_frames = repeat(c, "b d -> (b f) d", f=self.frames)
        of_places = repeat(c, "b d -> (b n) d", n=x.shape[1])
        for index in range(0, len(self.blocks), 2):
            x = self.blocks[index](x, of_frames)
            x = rearrange(x, "(b f) n d -> (b n) f d", b=batch)
            if index == 0:
                x = x + self.temp_embed
            x = self.blocks[index + 1](x, of_places)
            x = rearrange(x, "(b n) f d -> (b f) n d", b=batch)
        x = self.final_layer(x, of_frames)
        pattern, rows = "(b f) (h w) (p q c) -> b f c (h p) (w q)", int(x.shape[1] ** 0.5)
        return rearrange(x, pattern, b=batch, h=rows, p=self.patch, q=self.patch)

    def forward_with_cfg(self, x: Tensor, t: Tensor, labels: Tensor, scale: float, channels: int) -> Tensor:
        """The guided output of a doubled batch (golden README, 2); the reference fixes `channels` to 4."""
        half = x[: len(x) // 2]
        output = self(torch.cat([half, half]), t, labels)
        noise, rest = output[:, :, :channels], output[:, :, channels:]
        conditional, null = noise.chunk(2)
        guided = null + scale * (conditional - null)
        return torch.cat([torch.cat([guided, guided]), rest], dim=2)
