"""From decoded frames to the model's pixels, and back: the one place where anything is resized.

Frames come as uint8 `(N, H, W, 3)`; pixels are float32 `(N, 3, R, R)` in [-1, 1] with `(v / 255 - 0.5) / 0.5`.
"""

import math

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor
from torch.nn import functional

from registry.errors import SpecError

TRANSFORMS = ("short_side_then_center_crop", "center_square_then_resize")


def to_pixels(
    frames: np.ndarray | Tensor, resolution: int, transform: str, antialias: bool, kernel: str = "bilinear"
) -> Tensor:
    """Frames uint8 (N, H, W, 3) as float32 pixels (N, 3, R, R) in [-1, 1].

    Args:
        frames: decoded frames of one video; crop and scale are the same for all of them.
        resolution: R, the side of the square in pixels.
        transform: `short_side_then_center_crop` (FaceForensics, UCF-101 in the reference) or
            `center_square_then_resize` (SkyTimelapse).
        antialias: low-pass before shrinking; the reference does not.
        kernel: `bilinear`, as the reference, or `bicubic`.

    Raises:
        SpecError: no such transform.
    """
    pixels = rearrange(torch.as_tensor(frames), "n h w c -> n c h w").to(torch.float32) / 255
    if transform == "short_side_then_center_crop":
        pixels = center_crop(_short_side_to(pixels, resolution, antialias, kernel), resolution)
    elif transform == "center_square_then_resize":
        pixels = center_crop(pixels, min(pixels.shape[-2:]))
        pixels = _resize(pixels, antialias, kernel, size=(resolution, resolution))
    else:
        raise SpecError(f"data.transform: no transform {transform!r}; valid: {', '.join(TRANSFORMS)}")
    return (pixels - 0.5) / 0.5


def center_crop(pixels: Tensor, side: int) -> Tensor:
    """The middle square (..., side, side); offsets are half the excess, ties to even."""
    height, width = pixels.shape[-2:]
    top, left = round((height - side) / 2), round((width - side) / 2)
    return pixels[..., top : top + side, left : left + side]


def quantise(pixels: Tensor) -> Tensor:
    """Pixels in [-1, 1] as uint8 of the same shape: floor(clamp(127.5 v + 127.5 + 0.5, 0, 255))."""
    return (127.5 * pixels + 127.5 + 0.5).clamp(0, 255).to(torch.uint8)


def to_uint8_frames(pixels: Tensor) -> np.ndarray:
    """Pixels (N, 3, H, W) in [-1, 1] as uint8 frames (N, H, W, 3)."""
    return rearrange(quantise(pixels), "n c h w -> n h w c").cpu().numpy()


def lanczos_frames(frames: np.ndarray, resolution: int, transform: str) -> np.ndarray:
    """Frames uint8 (N, H, W, 3) through Pillow's Lanczos, which always antialiases: uint8 (N, R, R, 3).

    `center_square_then_resize` is how the official evaluation prepares real videos, `short_side_then_center_crop` how
    StyleGAN-V does.

    Raises:
        SpecError: no such transform.
    """
    if transform not in TRANSFORMS:
        raise SpecError(f"no transform {transform!r}; valid: {', '.join(TRANSFORMS)}")
    height, width = frames.shape[1:3]
    side = min(height, width)
    if transform == "center_square_then_resize":
        frames, shape = _middle(frames, side), (resolution, resolution)
    else:
        shape = (resolution * width // side, resolution * height // side)
    pictures = [np.asarray(Image.fromarray(frame).resize(shape, Image.Resampling.LANCZOS)) for frame in frames]
    return _middle(np.stack(pictures), resolution)


def _middle(frames: np.ndarray, side: int) -> np.ndarray:
    """The middle square (N, side, side, 3); offsets are half the excess, ties to even."""
    top, left = round((frames.shape[1] - side) / 2), round((frames.shape[2] - side) / 2)
    return frames[:, top : top + side, left : left + side]


def _short_side_to(pixels: Tensor, resolution: int, antialias: bool, kernel: str) -> Tensor:
    """Scale by resolution / shorter side; sizes are floored, the shorter side is exactly `resolution`."""
    shorter = min(pixels.shape[-2:])
    scale = resolution / shorter
    # 256 / 98 * 98 is just below 256: the reference floors it to 255 and then cannot crop. The next double is enough.
    while math.floor(shorter * scale) < resolution:
        scale = math.nextafter(scale, math.inf)
    return _resize(pixels, antialias, kernel, scale_factor=scale)


def _resize(pixels: Tensor, antialias: bool, kernel: str, **target: object) -> Tensor:
    result: Tensor = functional.interpolate(
        pixels,
        mode=kernel,
        align_corners=False,
        antialias=antialias,
        **target,  # type: ignore[arg-type]
    )
    return result
