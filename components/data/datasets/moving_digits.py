"""A made-up video set of real handwriting: one digit that floats over a textured ground, its class the digit."""

import gzip
import hashlib
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

from components.data.datasets.made import MadeVideo, MadeVideos
from components.data.video.reader import VideoIndex
from registry.errors import RunError, SpecError
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count, Fraction, NonNegativeInt

SIDE = 8  # of a stored digit, in pixels; a drawn one is no smaller
INK = 16  # the value of a pixel that is all ink
NAMES = tuple(f"digit_{digit}" for digit in range(10))
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PERIODS = (32, 64)  # frames that a digit takes to come back to a place, least and most
WAVES = 5  # of the ground


@part("dataset", "moving_digits")
class MovingDigits(MadeVideos):
    """Videos of one handwritten digit that floats over a textured ground; made on the fly, the same for a seed.

    Source: none in the paper; after Moving MNIST (Srivastava et al. 2015, arXiv 1502.04681), with the 1,797 digits of
        8x8 pixels that scikit-learn has in its package (UCI optical recognition of handwritten digits, its test part).
    Official code: no, our own renderer.

    Every video has its own random stream, so it does not depend on which others are read. The digit is the class, and a
    person can read it; handwriting, colours, way and ground vary and carry no label. Videos of the split `train` and of
    `test` show different handwritten pictures: the last `test_fraction` of each digit's pictures are for testing. A
    class with more videos than pictures shows some again, on other ways. The caption names the digit: `the digit seven
    floats`. Mirroring (`data.flip`) is refused: a mirrored digit is none of the ten.

    Args:
        path: not used; must be None.
        resolution: side of the frames in pixels.
        videos: how many, the digits by turns.
        length: frames of each.
        size: height of the digit, as a part of the picture's side; 8 pixels at least.
        ground: contrast of the ground's texture; 0 is a plain dark ground.
        seed: of everything random.
        test_fraction: part of each class, and of each digit's pictures, that goes to the split `test`.

    Raises:
        SpecError: a path is given, there are fewer videos than digits, or the digit is too small to be read.
        RunError: scikit-learn's pictures are not there.
    """

    set_name = "moving_digits"
    renderer = 1

    def __init__(
        self,
        path: str | None,
        resolution: int,
        *,
        videos: Count = 400,
        length: Count = 32,
        size: Fraction = 0.6,
        ground: Fraction = 0.5,
        seed: NonNegativeInt = 0,
        test_fraction: Fraction = 0.2,
    ) -> None:
        if videos < len(NAMES):
            raise SpecError(f"data.dataset.videos: {videos} videos cannot show each of the {len(NAMES)} digits")
        if size * resolution < SIDE:
            raise SpecError(
                f"data.dataset.size: a digit of {size} of {resolution} pixels is too small to be read; "
                f"{SIDE / resolution:.2g} is the least" + (" (data.resolution is too small)" * (resolution < SIDE))
            )
        self.size, self.ground, self.handwriting = size, ground, handwriting()
        parameters = {
            "videos": videos, "length": length, "size": size, "ground": ground, "seed": seed,
            "digits": self.handwriting.digest,
        }  # fmt: skip
        super().__init__(path, resolution, NAMES, parameters, test_fraction)
        self.pictures = self._pictures()

    def _pictures(self) -> dict[str, int]:
        """Which handwritten picture each video shows: those of its split by turns, in an order of the seed's."""
        turns: dict[tuple[str, str], np.ndarray] = {}
        shown, used = {}, dict.fromkeys(((name, split) for name in NAMES for split in ("train", "test")), 0)
        for digit, name in enumerate(NAMES):
            own = np.flatnonzero(self.handwriting.labels == digit)
            in_train = min(max(1, len(own) - round(len(own) * self.test_fraction)), len(own) - 1)
            for split, part_ in (("train", own[:in_train]), ("test", own[in_train:])):
                order = np.random.default_rng([self.seed, digit, split == "test"])
                turns[name, split] = order.permutation(part_)
        for source in self.sources():
            key = source.label, source.split
            shown[source.path] = int(turns[key][used[key] % len(turns[key])])
            used[key] += 1
        return shown

    def made_from(self, path: str) -> list[Any]:
        """Everything that a video's pixels follow from, as plain values."""
        return [*super().made_from(path), self.size, self.ground, self.handwriting.digest, self.pictures[path]]

    def reader(self, path: str, index: VideoIndex) -> "MovingDigit":
        """A reader that draws the frames that it is asked for."""
        picture = self.handwriting.pictures[self.pictures[path]]
        return MovingDigit(path, picture, self.size, self.ground, self.resolution, self.length, self.stream(path))

    def caption(self, path: str) -> str:
        """What is seen, such as `the digit seven floats`: it turns within a video, so no direction is said."""
        return f"the digit {WORDS[NAMES.index(path.split('/')[0])]} floats"

    def mirrored_labels(self) -> dict[str, str]:
        """Refuse: mirrored, most digits are no digits."""
        raise SpecError("data.flip: a mirrored digit is none of the ten classes of moving_digits; set data.flip to 0")


class Handwriting(NamedTuple):
    """The stored digits: pictures (N, 8, 8) of ink in [0, 1], labels (N,), and a hash of both."""

    pictures: np.ndarray
    labels: np.ndarray
    digest: str


@cache
def handwriting() -> Handwriting:
    """Read scikit-learn's digits from its package, without importing it: that takes longer than all the rest.

    Raises:
        RunError: the package or its file is not there, or is not readable as one.
    """
    found = importlib.util.find_spec("sklearn")
    file = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz" if found and found.origin else None
    advice = "install scikit-learn (make env)"
    if file is None:
        raise RunError(f"data.dataset moving_digits: scikit-learn, whose pictures it shows, is not installed: {advice}")
    try:
        content = gzip.decompress(file.read_bytes())
        table = np.array([line.split(",") for line in content.decode().split()], dtype=float)  # (N, 64 + 1)
        pictures = table[:, :-1].reshape(-1, SIDE, SIDE) / INK
    except (OSError, EOFError, ValueError) as error:
        raise RunError(f"data.dataset moving_digits: {file} cannot be read ({error}): {advice}") from None
    return Handwriting(pictures, table[:, -1].astype(int), hashlib.sha256(content).hexdigest()[:16])


class MovingDigit(MadeVideo):
    """One video: a digit on its way.

    Args:
        name: for error messages.
        picture: ink (8, 8) in [0, 1].
        size: height of the digit, as a part of the picture's side.
        ground: contrast of the ground's texture.
        resolution: side R of the frames in pixels.
        length: frames.
        draw: the video's own random stream.
    """

    def __init__(
        self, name: str, picture: np.ndarray, size: float, ground: float, resolution: int, length: int,
        draw: np.random.Generator,
    ) -> None:  # fmt: skip
        super().__init__(name, resolution, length)
        self.picture, self.side = picture, size * resolution
        self.colour = 255 * draw.uniform(0.75, 1.0, size=3)  # light, on a ground that is dark
        periods, phases = draw.uniform(*PERIODS, size=2), draw.uniform(0, 2 * np.pi, size=2)
        sway = (1 - size) / 2 * draw.uniform(0.6, 1.0, size=2)  # the digit stays within the picture
        time = np.arange(length)[:, None]
        self.centres = (0.5 + sway * np.sin(2 * np.pi * time / periods + phases)) * resolution  # (length, 2): x, y
        self.ground = self._ground(ground, draw)

    def _ground(self, contrast: float, draw: np.random.Generator) -> np.ndarray:
        """A still texture (R, R, 3): a dark colour, brighter and darker along a few waves that cross each other."""
        colour = 255 * draw.uniform(0.1, 0.3, size=3)
        place = (np.arange(self.resolution) + 0.5) / self.resolution
        directions, phases = draw.uniform(0, 2 * np.pi, size=(2, WAVES))
        waves = draw.uniform(1.0, 3.0, size=WAVES)  # over the picture's side
        angle = np.cos(directions) * place[None, :, None] + np.sin(directions) * place[:, None, None]
        texture = np.sin(2 * np.pi * waves * angle + phases).mean(-1)  # (R, R), in [-1, 1]
        return colour * (1 + contrast * np.clip(2 * texture, -1, 1))[..., None]

    def draw(self, numbers: Sequence[int]) -> np.ndarray:
        """Frames uint8 (n, R, R, 3) of those numbers."""
        pixel = np.arange(self.resolution) + 0.5
        drawn = []
        for x, y in self.centres[list(numbers)]:
            column, row = ((pixel - centre) * SIDE / self.side + (SIDE - 1) / 2 for centre in (x, y))
            ink = map_coordinates(self.picture, np.meshgrid(row, column, indexing="ij"), order=3, mode="grid-constant")
            cover = np.clip((ink - 0.2) / 0.5, 0, 1)[..., None]  # strokes with a firm edge
            drawn.append(self.ground + cover * (self.colour - self.ground))
        frames: np.ndarray = np.rint(np.stack(drawn)).astype(np.uint8)
        return frames
