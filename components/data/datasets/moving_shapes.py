"""A made-up video set: one coloured shape that moves along a curve on black, its class the direction."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from components.data.datasets import Inspected, Source
from components.data.video.reader import VideoIndex, check_indices
from registry.errors import SpecError
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count, Fraction, NonNegativeInt, PositiveInt

RENDERER = 1  # counted up when the same parameters give other pixels, so that old caches are not taken
# (x, y) from start to end of the way, in units of the way's length; y points down.
DIRECTIONS = {"moves_up": (0, -1), "moves_left": (-1, 0), "moves_down": (0, 1), "moves_right": (1, 0)}


@part("dataset", "moving_shapes")
class MovingShapes:
    """Videos of a square or disc that crosses a black picture on a curve; made on the fly, the same for a seed.

    Source: none in the paper; after the shape motion set of MoCoGAN (Tulyakov et al. 2018, section 4).
    Official code: no, our own renderer.

    Every video has its own random stream, so it does not depend on which others are read. Shape, colour, size, place
    and curve vary and carry no label: the direction alone is the class, so a sample's label can be checked by sight.
    Mirroring (`data.flip`) makes a clip that moves to the left one that moves to the right, so the labels of these two
    classes change places; where only one of the two is among the classes, mirroring is refused.

    Args:
        path: not used; must be None.
        resolution: side of the frames in pixels.
        videos: how many, the classes by turns.
        length: frames of each.
        classes: how many directions, of moves_up, moves_left, moves_down, moves_right.
        seed: of everything random.
        test_fraction: part of each class that goes to the split `test`.

    Raises:
        SpecError: a path is given, or more than four classes.
    """

    needs_path = False

    def __init__(
        self,
        path: str | None,
        resolution: int,
        *,
        videos: Count = 200,
        length: Count = 32,
        classes: PositiveInt = 2,
        seed: NonNegativeInt = 0,
        test_fraction: Fraction = 0.2,
    ) -> None:
        if path is not None:
            raise SpecError("data.path: the dataset moving_shapes is made on the fly and reads no path; leave it out")
        if classes > len(DIRECTIONS):
            raise SpecError(f"data.dataset.classes: {classes} is more than the {len(DIRECTIONS)} directions there are")
        self.resolution, self.length, self.seed = resolution, length, seed
        self._names = list(DIRECTIONS)[:classes]
        # A path of zeros and a number, so that the manifest's order is that of the numbers within a class.
        self._numbers = {f"{self._names[k % classes]}/{k // classes:06d}": k for k in range(videos)}
        self._parameters = {"videos": videos, "length": length, "classes": classes, "seed": seed}
        self._test_fraction = test_fraction

    def identity(self) -> dict[str, Any]:
        """What the folder of the manifest is named by."""
        return {
            "name": "moving_shapes",
            "resolution": self.resolution,
            "renderer": RENDERER,
            "test_fraction": self._test_fraction,
            **self._parameters,
        }

    def sources(self) -> list[Source]:
        """All videos; the last ones of each class are the test split."""
        per_class: dict[str, list[str]] = {name: [] for name in self._names}
        for path in sorted(self._numbers):
            per_class[path.split("/")[0]].append(path)
        found = []
        for name, paths in per_class.items():
            in_train = len(paths) - round(len(paths) * self._test_fraction)
            found += [
                Source(path, name, "train" if rank < in_train else "test", self.stamp(path))
                for rank, path in enumerate(paths)
            ]
        return sorted(found, key=lambda source: source.path)

    def inspect(self, paths: Sequence[str], workers: int = 1) -> Iterator[Inspected]:
        """What each video will be; its hash is that of everything it is made from."""
        for path in paths:
            made_from = [RENDERER, self.resolution, self.length, self.seed, path, self._numbers[path]]
            digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
            side = self.resolution
            yield Inspected(path, VideoIndex(self.length, side, side, fps=25.0, sha256=digest, reader="made"))

    def reader(self, path: str, index: VideoIndex) -> "MovingShape":
        """A reader that draws the frames that it is asked for."""
        generator = np.random.default_rng([self.seed, self._numbers[path]])
        return MovingShape(path, DIRECTIONS[path.split("/")[0]], self.resolution, self.length, generator)

    def stamp(self, path: str) -> str:
        return f"made-{RENDERER}"

    def mirrored_labels(self) -> dict[str, str]:
        """Left and right change places.

        Raises:
            SpecError: one of the two is not among the classes.
        """
        swapped = {"moves_left": "moves_right", "moves_right": "moves_left"}
        inside = [name for name in swapped if name in self._names]
        if len(inside) == 1:
            raise SpecError(
                f"data.flip: a mirrored clip of {inside[0]} is one of {swapped[inside[0]]}, which is not among the "
                f"{len(self._names)} classes of moving_shapes; set data.flip to 0, or data.dataset.classes to 4"
            )
        return swapped if inside else {}


class MovingShape:
    """One video: a `VideoReader` that renders.

    Args:
        name: for error messages.
        direction: (x, y) of the motion, a unit vector along an axis.
        resolution: side of the frames in pixels.
        length: frames.
        draw: the video's own random stream.
    """

    def __init__(
        self, name: str, direction: tuple[int, int], resolution: int, length: int, draw: np.random.Generator
    ) -> None:
        self.name, self.resolution, self.length = name, resolution, length
        self.is_disc = bool(draw.random() < 0.5)
        self.half = draw.uniform(0.08, 0.14)  # of the shape, as a part of the picture's side
        colour = draw.uniform(0.0, 1.0, size=3)
        self.colour = 255 * (0.35 + 0.65 * colour / colour.max())  # bright enough to be seen on black
        along = np.array(direction, dtype=float)
        across = np.array([-along[1], along[0]])
        way = 1 - 2 * self.half - 0.08  # from one edge to the other, with a small margin
        sway = draw.uniform(0.03, 0.12) * draw.choice([-1.0, 1.0])
        half_waves = draw.integers(1, 3)
        middle = draw.uniform(self.half + 0.16, 1 - self.half - 0.16)
        time = np.linspace(0, 1, length) if length > 1 else np.zeros(1)
        # On the axis of the motion from edge to edge, beside it a sine that starts and ends at the same place.
        centre = np.where(across != 0, middle, 0.5)
        places = (time - 0.5)[:, None] * way * along + sway * np.sin(np.pi * half_waves * time)[:, None] * across
        self.centres = (centre + places) * resolution  # (length, 2) as x, y in pixels

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """Frames uint8 (n, R, R, 3) of those numbers."""
        from pathlib import Path

        wanted = check_indices(Path(self.name), indices, self.length)
        pixel = np.arange(self.resolution) + 0.5
        x, y = self.centres[wanted, 0, None, None], self.centres[wanted, 1, None, None]
        across, down = np.abs(pixel[None, None, :] - x), np.abs(pixel[None, :, None] - y)
        half = self.half * self.resolution
        # Coverage of each pixel, by its distance from the edge: a smooth edge of one pixel.
        if self.is_disc:
            cover = np.clip(half + 0.5 - np.hypot(across, down), 0, 1)
        else:
            cover = np.clip(half + 0.5 - across, 0, 1) * np.clip(half + 0.5 - down, 0, 1)
        pictures: np.ndarray = np.rint(cover[..., None] * self.colour).astype(np.uint8)
        return pictures

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """All frames in order, `size` at a time."""
        for first in range(0, self.length, size):
            yield self.frames(range(first, min(first + size, self.length)))
