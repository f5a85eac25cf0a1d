"""A tracker of one moving shape: reads its colour, shape and direction from a clip, or says that nothing is seen."""

import hashlib
import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from components.data.shapes import COLOURS, DIRECTIONS, SHAPES, Seen, coverage, nearest_colour

Array = NDArray[np.float64]
NOTHING = Seen("", "", "")
VOCABULARY = (tuple(COLOURS), SHAPES, tuple(DIRECTIONS))
STANDS_OUT = 0.25  # contrast with the ground, of 1, from which something is there
SMALLEST, LARGEST = 0.01, 0.5  # part of the picture that a shape may cover
MISFIT = 0.3  # mean squared error of the best template over the shape's area, beyond which no shape is seen
MOVES = 0.06  # way over a clip, in sides of the picture, below which nothing moves
# Area and height of the centre of gravity over the middle of a shape of half width 1.
AREA = {"square": 4.0, "circle": math.pi, "triangle": 2.0}
BELOW = {"square": 0.0, "circle": 0.0, "triangle": 1 / 3}


class ShapeTracker:
    """An extractor whose three features of a clip are the places of what is seen in `VOCABULARY`; -1 is nothing.

    The ground is the clip's median colour. What stands out by half of the clip's greatest contrast is segmented, and
    the largest connected patch of each frame is taken for the shape. Its colour is the nearest of the palette; its
    shape that whose drawing, with the same area and centre of gravity, has the least squared error over all frames; its
    direction the main axis of the straight line through the centres. Nothing is seen where too little stands out, where
    it is too small or too large in more than half of the frames, and where no drawing fits; a shape that stays where it
    is has no direction.

    Source: none in the paper; obedience to captions is measured by a detector of objects in T2V-CompBench (Sun et al.
        2024, arXiv 2407.14505), where shapes are not known beforehand
    Official code: no
    """

    label, layer, rows_per_clip, dimensions, minimum_frames = "shape_tracker", "seen", 1, 3, 2

    def features(self, videos: Tensor) -> Tensor:
        """Features float32 (N, 3) of clips uint8 (N, F, H, W, 3), H = W."""
        rows = [
            [-1 if not word else words.index(word) for words, word in zip(VOCABULARY, seen(clip), strict=True)]
            for clip in videos.cpu().numpy()
        ]
        return torch.tensor(rows, dtype=torch.float32, device=videos.device)

    def fingerprint(self) -> str:
        """SHA-256 of all that the features depend on besides the clips."""
        rules = [VOCABULARY, STANDS_OUT, SMALLEST, LARGEST, MISFIT, MOVES]
        return hashlib.sha256(f"shape_tracker 1 {rules}".encode()).hexdigest()


def words_of(features: NDArray[np.float32]) -> list[Seen]:
    """Return what the rows (n, 3) of `ShapeTracker` stand for, in words."""
    named = [*map(int, features.ravel())]
    words = ["" if place < 0 else VOCABULARY[k % 3][place] for k, place in enumerate(named)]
    return [Seen(*words[first : first + 3]) for first in range(0, len(words), 3)]


def seen(clip: NDArray[np.uint8]) -> Seen:
    """Return colour, shape and direction of what moves in a clip uint8 (F, H, W, 3), H = W."""
    frames: Array = clip.astype(np.float64)
    ground: Array = np.median(frames, axis=(0, 1, 2))
    contrast: Array = np.abs(frames - ground).max(axis=-1) / 255  # (F, H, W)
    strongest = float(np.quantile(contrast, 1 - SMALLEST / 2))
    if strongest < STANDS_OUT:
        return NOTHING
    patches = [_largest_patch(picture > strongest / 2) for picture in contrast]
    there = np.array([SMALLEST <= patch.mean() <= LARGEST for patch in patches])
    if there.sum() < max(2, len(frames) / 2):
        return NOTHING
    patch = np.stack(patches) & there[:, None, None]
    inside = patch & (contrast > 0.8 * strongest)
    colour: Array = frames[inside if inside.any() else patch].mean(axis=0)
    towards = (colour - ground) / ((colour - ground) ** 2).sum()
    cover: Array = np.clip((frames - ground) @ towards, 0, 1)  # (F, H, W): how much of a pixel is of the shape
    cover *= ndimage.binary_dilation(patch, iterations=1, structure=np.ones((1, 3, 3)))
    cover, numbers = cover[there], np.flatnonzero(there)
    area, x, y = _moments(cover)
    shape, misfit = _best_shape(cover, area, x, y)
    if misfit > MISFIT:
        return NOTHING
    return Seen(nearest_colour(colour), shape, _direction(numbers, x, y, len(frames), clip.shape[2]))


def _largest_patch(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest part (H, W) of a mask that hangs together."""
    parts, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(parts.ravel())
    largest: NDArray[np.bool_] = parts == 1 + int(sizes[1:].argmax())
    return largest


def _moments(cover: Array) -> tuple[Array, Array, Array]:
    """Area and centre of gravity x, y, each (n,), in pixels, of coverages (n, H, W)."""
    area = cover.sum(axis=(1, 2))
    across, down = (np.arange(side) + 0.5 for side in (cover.shape[2], cover.shape[1]))
    return area, cover.sum(axis=1) @ across / area, cover.sum(axis=2) @ down / area


def _best_shape(cover: Array, area: Array, x: Array, y: Array) -> tuple[str, float]:
    """The shape whose drawings have the least squared error, and that error over the shape's area, over all frames."""
    middling = float(np.median(area))  # a shape keeps its size
    errors = {}
    for shape in SHAPES:
        half = math.sqrt(middling / AREA[shape])
        drawn = coverage(shape, x, y - BELOW[shape] * half, half, cover.shape[1])
        errors[shape] = float(((cover - drawn) ** 2).sum() / area.sum())
    best = min(errors, key=lambda shape: errors[shape])
    return best, errors[best]


def _direction(numbers: NDArray[np.int64], x: Array, y: Array, frames: int, side: int) -> str:
    """The main axis of the way of a whole clip by the straight line through the centres, "" where it is too short."""
    way = np.polyfit(numbers, np.stack([x, y], axis=1), 1)[0] * (frames - 1) / side
    if np.abs(way).max() < MOVES:
        return ""
    return max(DIRECTIONS, key=lambda name: float(way @ DIRECTIONS[name]))
