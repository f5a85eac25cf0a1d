"""Plain shapes in plain colours: their words, how they are drawn, and captions that say what is seen.

The vocabulary is closed, so that a caption can be read back by rule and held against a video: seven colours, three
shapes, four directions.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

COLOURS = {
    "red": (255, 51, 51),
    "green": (51, 255, 51),
    "blue": (51, 51, 255),
    "yellow": (255, 255, 51),
    "magenta": (255, 51, 255),
    "cyan": (51, 255, 255),
    "white": (255, 255, 255),
}
SHAPES = ("square", "circle", "triangle")
# (x, y) from start to end of the way, in units of the way's length; y points down.
DIRECTIONS = {"up": (0, -1), "left": (-1, 0), "down": (0, 1), "right": (1, 0)}


class Seen(NamedTuple):
    """What is seen of a video of one moving shape, in words; "" for what is not said, or not seen."""

    colour: str
    shape: str
    direction: str

    def caption(self) -> str:
        """Return a sentence without a full stop, such as `a red circle moves left`."""
        return f"a {self.colour} {self.shape} moves {self.direction}"


def read_caption(caption: str) -> Seen:
    """Return what a caption says of colour, shape and direction; "" where it says none, or more than one."""
    words = set(re.findall(r"[a-z]+", caption.lower()))
    return Seen(_only(COLOURS, words), _only(SHAPES, words), _only(DIRECTIONS, words))


def _only(vocabulary: Iterable[str], words: set[str]) -> str:
    said = [word for word in vocabulary if word in words]
    return said[0] if len(said) == 1 else ""


def nearest_colour(colour: NDArray[np.float64]) -> str:
    """Return the name of the palette's colour that is nearest to a colour (3,), both at full brightness."""
    bright = colour * (255 / max(float(colour.max()), 1.0))
    return min(COLOURS, key=lambda name: float(((bright - COLOURS[name]) ** 2).sum()))


def coverage(shape: str, x: NDArray[np.float64], y: NDArray[np.float64], half: float, side: int) -> NDArray[np.float64]:
    """Return how much of each pixel a shape covers, (n, side, side) in [0, 1], with a smooth edge of one pixel.

    Args:
        shape: `square`, `circle`, or `triangle`, which stands on its base; all are as wide as high.
        x: of the middle, (n,), in pixels from the left edge.
        y: of the middle, (n,), in pixels from the upper edge.
        half: of the width, in pixels.
        side: of the picture, in pixels.
    """
    pixel = np.arange(side) + 0.5
    across = np.abs(pixel[None, None, :] - x[:, None, None])
    below = pixel[None, :, None] - y[:, None, None]  # of the middle, in pixels
    covered: NDArray[np.float64]
    if shape == "circle":
        covered = np.clip(half + 0.5 - np.hypot(across, np.abs(below)), 0, 1)
    elif shape == "square":
        covered = np.clip(half + 0.5 - across, 0, 1) * np.clip(half + 0.5 - np.abs(below), 0, 1)
    else:
        slanted = (half + below - 2 * across) / np.sqrt(5)  # within a slanted edge, at a right angle to it
        covered = np.clip(np.minimum(slanted, half - below) + 0.5, 0, 1)
    return covered
