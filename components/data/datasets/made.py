"""What sets share whose videos are drawn when they are read: names, splits, stamps, and readers that render."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from components.data.datasets import Inspected, Source
from components.data.video.reader import VideoIndex, check_indices
from registry.errors import SpecError

FPS = 25.0  # as the index states it; nothing depends on it


class MadeVideos(ABC):
    """A set of videos that nobody stored: each is drawn from its own random stream, whatever else is read.

    A subclass says `set_name` and `renderer`, draws a video in `reader`, says in `caption` what is seen in it, and
    tells what mirroring does to its classes.

    Args:
        path: not used; must be None.
        resolution: side of the frames in pixels.
        names: the classes, by turns.
        parameters: `videos`, `length`, `seed` and whatever else names the content.
        test_fraction: part of each class that goes to the split `test`, its last videos.

    Raises:
        SpecError: a path is given.
    """

    needs_path = False
    captions_by_class = True  # whether all videos of a class have the same caption
    set_name: ClassVar[str]
    renderer: ClassVar[int]  # counted up when the same parameters give other pixels, so that old caches are not taken

    def __init__(
        self, path: str | None, resolution: int, names: Sequence[str], parameters: dict[str, Any], test_fraction: float
    ) -> None:
        if path is not None:
            raise SpecError(
                f"data.path: the dataset {self.set_name} is made on the fly and reads no path; leave it out"
            )
        self.resolution, self.names, self.test_fraction = resolution, list(names), test_fraction
        self.length, self.seed = int(parameters["length"]), int(parameters["seed"])
        self._parameters = parameters
        # A path of zeros and a number, so that the manifest's order is that of the numbers within a class.
        many = len(self.names)
        self.numbers = {f"{self.names[k % many]}/{k // many:06d}": k for k in range(parameters["videos"])}

    def identity(self) -> dict[str, Any]:
        """What the folder of the manifest is named by."""
        return {
            "name": self.set_name,
            "resolution": self.resolution,
            "renderer": self.renderer,
            "test_fraction": self.test_fraction,
            **self._parameters,
        }

    def sources(self) -> list[Source]:
        """All videos; the last ones of each class are the test split."""
        per_class: dict[str, list[str]] = {name: [] for name in self.names}
        for path in sorted(self.numbers):
            per_class[path.split("/")[0]].append(path)
        found = []
        for name, paths in per_class.items():
            in_train = len(paths) - round(len(paths) * self.test_fraction)
            found += [
                Source(path, name, "train" if rank < in_train else "test", self.stamp(path), caption=self.caption(path))
                for rank, path in enumerate(paths)
            ]
        return sorted(found, key=lambda source: source.path)

    def made_from(self, path: str) -> list[Any]:
        """Everything that a video's pixels follow from, as plain values."""
        return [self.renderer, self.resolution, self.length, self.seed, path, self.numbers[path]]

    def inspect(self, paths: Sequence[str], workers: int = 1) -> Iterator[Inspected]:
        """What each video will be; its hash is that of everything it is made from."""
        for path in paths:
            digest = hashlib.sha256(json.dumps(self.made_from(path)).encode()).hexdigest()
            side = self.resolution
            yield Inspected(path, VideoIndex(self.length, side, side, fps=FPS, sha256=digest, reader="made"))

    @abstractmethod
    def reader(self, path: str, index: VideoIndex) -> "MadeVideo":
        """A reader that draws the frames that it is asked for."""

    @abstractmethod
    def caption(self, path: str) -> str:
        """What is seen in a video, in words."""

    def stream(self, path: str) -> np.random.Generator:
        """The video's own random stream, from its beginning."""
        return np.random.default_rng([self.seed, self.numbers[path]])

    def stamp(self, path: str) -> str:
        """Changes with the renderer alone."""
        return f"made-{self.renderer}"

    @abstractmethod
    def mirrored_labels(self) -> dict[str, str]:
        """The class of a mirrored clip by that of the clip, where they differ; SpecError where it has none."""


class MadeVideo(ABC):
    """One video: a `VideoReader` that renders.

    Args:
        name: for error messages.
        resolution: side R of the frames in pixels.
        length: frames.
    """

    def __init__(self, name: str, resolution: int, length: int) -> None:
        self.name, self.resolution, self.length = name, resolution, length

    @abstractmethod
    def draw(self, numbers: Sequence[int]) -> np.ndarray:
        """Frames uint8 (n, R, R, 3) of numbers that the video has."""

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """Frames uint8 (n, R, R, 3) of those numbers."""
        return self.draw(check_indices(Path(self.name), indices, self.length))

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """All frames in order, `size` at a time."""
        for first in range(0, self.length, size):
            yield self.frames(range(first, min(first + size, self.length)))
