"""A made-up video set whose captions say all that matters: one shape of one colour moves straight in one direction."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from components.data.datasets.made import MadeVideo, MadeVideos
from components.data.shapes import COLOURS, DIRECTIONS, SHAPES, Seen, coverage
from components.data.video.reader import VideoIndex
from registry.errors import SpecError
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count, Fraction, NonNegativeInt, PositiveInt


@part("dataset", "captioned_shapes")
class CaptionedShapes(MadeVideos):
    """Videos of one large shape of a plain colour that moves straight over a black picture; the same for a seed.

    Source: none in the paper; a set on which a text-to-video model of minutes can be seen to obey its caption.
    Official code: no, our own renderer.

    Every video has its own random stream, so it does not depend on which others are read. Each combination of colour,
    shape and direction is a class (`red_circle_left`), and its caption says all three: `a red circle moves left`. Size
    and place vary a little and are not said. Mirroring (`data.flip`) is refused: captions say left and right.

    Args:
        path: not used; must be None.
        resolution: side of the frames in pixels.
        videos: how many, the classes by turns.
        length: frames of each.
        colours: how many, of red, green, blue, yellow, magenta, cyan, white.
        shapes: how many, of square, circle, triangle.
        directions: how many, of up, left, down, right.
        size: mean width of the shapes, as a part of the picture's side.
        way: how far they move in a video, as a part of the picture's side.
        spread: how much of the room beside the way their places take up; 0 is the middle for all.
        seed: of everything random.
        test_fraction: part of each class that goes to the split `test`.

    Raises:
        SpecError: a path is given, more of something than there is, fewer videos than classes, or no room for the way.
    """

    set_name = "captioned_shapes"
    renderer = 1

    def __init__(
        self,
        path: str | None,
        resolution: int,
        *,
        videos: Count = 640,
        length: Count = 16,
        colours: PositiveInt = 4,
        shapes: PositiveInt = 2,
        directions: PositiveInt = 4,
        size: Fraction = 0.4,
        way: Fraction = 0.45,
        spread: Fraction = 1.0,
        seed: NonNegativeInt = 0,
        test_fraction: Fraction = 0.2,
    ) -> None:
        for key, wanted, there in (
            ("colours", colours, COLOURS), ("shapes", shapes, SHAPES), ("directions", directions, DIRECTIONS),
        ):  # fmt: skip
            if wanted > len(there):
                raise SpecError(f"data.dataset.{key}: {wanted} is more than there are: {', '.join(there)}")
        if size <= 0 or size * LARGEST + way > 1:
            raise SpecError(
                f"data.dataset.way: shapes of up to {size * LARGEST:.3g} of the picture cannot move by {way} of it; "
                f"{max(0.0, 1 - size * LARGEST):.3g} is the most"
            )
        seen = product(list(COLOURS)[:colours], SHAPES[:shapes], list(DIRECTIONS)[:directions])
        self.seen = {"_".join(words): Seen(*words) for words in seen}
        if videos < len(self.seen):
            raise SpecError(f"data.dataset.videos: {videos} videos cannot show each of the {len(self.seen)} captions")
        self.size, self.way, self.spread = size, way, spread
        parameters = {
            "videos": videos, "length": length, "colours": colours, "shapes": shapes, "directions": directions,
            "size": size, "way": way, "spread": spread, "seed": seed,
        }  # fmt: skip
        super().__init__(path, resolution, list(self.seen), parameters, test_fraction)

    def made_from(self, path: str) -> list[object]:
        """Everything that a video's pixels follow from, as plain values."""
        return [*super().made_from(path), self.size, self.way, self.spread]

    def caption(self, path: str) -> str:
        """What is seen, such as `a red circle moves left`."""
        return self.seen[path.split("/")[0]].caption()

    def reader(self, path: str, index: VideoIndex) -> "CaptionedShape":
        """A reader that draws the frames that it is asked for."""
        seen = self.seen[path.split("/")[0]]
        room = Room(self.size, self.way, self.spread)
        return CaptionedShape(path, seen, room, self.resolution, self.length, self.stream(path))

    def mirrored_labels(self) -> dict[str, str]:
        """Refuse: a caption says which way the shape moves."""
        raise SpecError("data.flip: captions of captioned_shapes say left and right; set data.flip to 0")


SMALLEST, LARGEST = 0.9, 1.1  # of the sizes, in mean sizes


class Room(NamedTuple):
    """Mean width of the shapes, how far they move, and how much their places vary; see `CaptionedShapes`."""

    size: float
    way: float
    spread: float


class CaptionedShape(MadeVideo):
    """One video: a shape on its way.

    Args:
        name: for error messages.
        seen: colour, shape and direction.
        room: size, way, and spread of the places.
        resolution: side R of the frames in pixels.
        length: frames.
        draw: the video's own random stream.
    """

    def __init__(
        self, name: str, seen: Seen, room: Room, resolution: int, length: int,
        draw: np.random.Generator,
    ) -> None:  # fmt: skip
        super().__init__(name, resolution, length)
        self.shape, self.colour = seen.shape, np.array(COLOURS[seen.colour], dtype=float)
        self.half = room.size * draw.uniform(SMALLEST, LARGEST) / 2  # of the shape, as a part of the picture's side
        along = np.array(DIRECTIONS[seen.direction], dtype=float)
        free = np.where(along != 0, 1 - room.way, 1.0) / 2 - self.half  # either side of the middle of the way
        middle = 0.5 + room.spread * free * draw.uniform(-1.0, 1.0, size=2)
        time = np.linspace(-0.5, 0.5, length) if length > 1 else np.zeros(1)
        self.centres = (middle + time[:, None] * room.way * along) * resolution  # (length, 2) as x, y in pixels

    def draw(self, numbers: Sequence[int]) -> np.ndarray:
        """Frames uint8 (n, R, R, 3) of those numbers."""
        x, y = self.centres[list(numbers)].T
        cover = coverage(self.shape, x, y, self.half * self.resolution, self.resolution)
        pictures: np.ndarray = np.rint(cover[..., None] * self.colour).astype(np.uint8)
        return pictures
