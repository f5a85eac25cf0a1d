"""A made-up video set: one coloured shape that moves along a curve on black, its class the direction."""

from collections.abc import Sequence

import numpy as np

from components.data.datasets.made import MadeVideo, MadeVideos
from components.data.shapes import DIRECTIONS as WAYS
from components.data.shapes import Seen, coverage, nearest_colour
from components.data.video.reader import VideoIndex
from registry.errors import SpecError
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count, Fraction, NonNegativeInt, PositiveInt

DIRECTIONS = {f"moves_{name}": way for name, way in WAYS.items()}  # (x, y) by class


@part("dataset", "moving_shapes")
class MovingShapes(MadeVideos):
    """Videos of a square or disc that crosses a black picture on a curve; made on the fly, the same for a seed.

    Source: none in the paper; after the shape motion set of MoCoGAN (Tulyakov et al. 2018, section 4).
    Official code: no, our own renderer.

    Every video has its own random stream, so it does not depend on which others are read. Shape, colour, size, place
    and curve vary and carry no label: the direction alone is the class, so a sample's label can be checked by sight.
    The caption says which of seven colours is nearest, the shape and the direction: `a green circle moves left`.
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

    set_name = "moving_shapes"
    captions_by_class = False
    renderer = 1

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
        if classes > len(DIRECTIONS):
            raise SpecError(f"data.dataset.classes: {classes} is more than the {len(DIRECTIONS)} directions there are")
        parameters = {"videos": videos, "length": length, "classes": classes, "seed": seed}
        super().__init__(path, resolution, list(DIRECTIONS)[:classes], parameters, test_fraction)

    def reader(self, path: str, index: VideoIndex) -> "MovingShape":
        """A reader that draws the frames that it is asked for."""
        return self._video(path)

    def _video(self, path: str) -> "MovingShape":
        """The video of a path, which needs no index."""
        direction = DIRECTIONS[path.split("/")[0]]
        return MovingShape(path, direction, self.resolution, self.length, self.stream(path))

    def caption(self, path: str) -> str:
        """What is seen, such as `a green circle moves left`."""
        video = self._video(path)
        direction = path.split("/")[0].removeprefix("moves_")
        return Seen(nearest_colour(video.colour), video.shape, direction).caption()

    def mirrored_labels(self) -> dict[str, str]:
        """Left and right change places.

        Raises:
            SpecError: one of the two is not among the classes.
        """
        swapped = {"moves_left": "moves_right", "moves_right": "moves_left"}
        inside = [name for name in swapped if name in self.names]
        if len(inside) == 1:
            raise SpecError(
                f"data.flip: a mirrored clip of {inside[0]} is one of {swapped[inside[0]]}, which is not among the "
                f"{len(self.names)} classes of moving_shapes; set data.flip to 0, or data.dataset.classes to 4"
            )
        return swapped if inside else {}


class MovingShape(MadeVideo):
    """One video: a shape on its way.

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
        super().__init__(name, resolution, length)
        self.shape = "circle" if draw.random() < 0.5 else "square"
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

    def draw(self, numbers: Sequence[int]) -> np.ndarray:
        """Frames uint8 (n, R, R, 3) of those numbers."""
        x, y = self.centres[numbers].T
        cover = coverage(self.shape, x, y, self.half * self.resolution, self.resolution)
        pictures: np.ndarray = np.rint(cover[..., None] * self.colour).astype(np.uint8)
        return pictures
