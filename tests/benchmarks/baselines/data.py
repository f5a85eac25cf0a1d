"""How the official loop gets its latents, as its description says (golden README, 10.1 and 10.2), plain and in float32.

For each clip a whole video is decoded, some frames of it are taken, resized and cropped; the image autoencoder encodes
all frames of the batch, at every step anew.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def sd_vae(device: torch.device) -> Any:
    """An autoencoder of the shape of Stable Diffusion's, with random weights."""
    from diffusers import AutoencoderKL

    channels = (128, 256, 512, 512)
    down, up = (("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4)
    network = AutoencoderKL(
        down_block_types=down, up_block_types=up, block_out_channels=channels, layers_per_block=2, latent_channels=4
    )
    return network.eval().to(device)


def encoded(network: Any, clips: Tensor) -> Tensor:
    """Clips (B, F, 3, R, R) in [-1, 1] -> latents (B, F, 4, R/8, R/8), a sample of the posterior times 0.18215."""
    with torch.no_grad():
        latents = network.encode(clips.flatten(0, 1)).latent_dist.sample() * 0.18215
    return latents.unflatten(0, clips.shape[:2])


def decoded(paths: Sequence[Path], frames: Sequence[Sequence[int]], side: int) -> Tensor:
    """Clips (B, F, 3, side, side) in [-1, 1] of frames of videos, each of which is decoded whole."""
    from decord import VideoReader, cpu

    clips = []
    for path, numbers in zip(paths, frames, strict=True):
        reader = VideoReader(str(path), ctx=cpu(0), num_threads=1)
        whole = torch.from_numpy(reader.get_batch(range(len(reader))).asnumpy())
        clip = whole[list(numbers)].permute(0, 3, 1, 2).float() / 255
        scale = side / min(clip.shape[-2:])
        clip = F.interpolate(clip, scale_factor=scale, mode="bilinear", align_corners=False)
        top, left = ((size - side) // 2 for size in clip.shape[-2:])
        clips.append((clip[..., top : top + side, left : left + side] - 0.5) / 0.5)
    return torch.stack(clips)
