"""Sampled clips as arrays and as videos: each batch is written as an array, and each of its clips filmed."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from components.data.video.writer import write_mp4
from components.scoring.features.preprocessing import FPS
from components.weights import sha256_of
from experiments.sampling.preview_pictures import enlarged
from experiments.sampling.sample_files import SampleFiles

ARRAYS, VIDEOS = "arrays", "videos"


class FilmedFiles(SampleFiles):
    """The files of sampled clips in a folder: `arrays/` as they were drawn, `videos/` to be looked at.

    Args:
        folder: where both lie; they are made if need be.
        clips: how many there are to be.
        owner: names what they are samples of; it stands in every array file.
    """

    def __init__(self, folder: Path, clips: int, owner: str) -> None:
        super().__init__(folder / ARRAYS, clips, owner)
        self.videos_folder = folder / VIDEOS
        for made in (self.folder, self.videos_folder):
            made.mkdir(parents=True, exist_ok=True)

    def video(self, number: int) -> Path:
        """Return where the video of a clip lies."""
        return self.videos_folder / f"clip-{number:06d}.mp4"

    def remove_halves(self) -> None:
        """Remove what processes that were killed left half written; nobody else may be at work in the folder."""
        for folder in (self.folder, self.videos_folder):
            for path in folder.glob(".*.tmp"):
                path.unlink(missing_ok=True)

    def write(self, numbers: range, clips: np.ndarray) -> None:
        """Write these clips, uint8 (n, F, H, W, 3), each file whole or not at all."""
        super().write(numbers, clips)
        for number, clip in zip(numbers, clips, strict=True):
            write_mp4(self.video(number), enlarged(clip), FPS)

    def film(self, known: Mapping[int, str]) -> None:
        """Write the videos of drawn clips that are missing, or are not what they were.

        Args:
            known: SHA-256 of the videos that were written before, by clip.
        """
        for numbers in self.whole():
            array = None
            for number in numbers:
                path = self.video(number)
                if not path.exists() or (number in known and sha256_of(path) != known[number]):
                    array = np.load(self.path(numbers), mmap_mode="r", allow_pickle=False) if array is None else array
                    write_mp4(path, enlarged(array[number - numbers.start]), FPS)

    def filmed(self) -> Iterator[tuple[int, Path]]:
        """Yield number and video of each clip that has both array and video."""
        for numbers in self.whole():
            yield from ((number, self.video(number)) for number in numbers if self.video(number).exists())
