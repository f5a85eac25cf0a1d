"""A file of features in the making: rows by clip, and which clips are done, so that a failure loses nothing."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.scoring.contracts import BLOCK, Extractor


class Rows:
    """A file of features in the making: `.<key>.part` and beside it which clips are done.

    Args:
        folder: of the features.
        key: of the extractor.
        of: the process whose own file it is, `.<key>.<of>.part`; left out, the file that becomes the features.
    """

    def __init__(self, folder: Path, key: str, of: str | None = None) -> None:
        self.folder, self.key = folder, key
        name = f".{key}" if of is None else f".{key}.{of}"
        self.path, self.part, self.marks = folder / f"{key}.npy", folder / f"{name}.part", folder / f"{name}.done"

    def make(self, clips: int, frames: int, extractor: Extractor) -> "Rows":
        """Make the file for so many clips of so many frames, unless one is there from before."""
        rows = frames if extractor.rows_per_clip == "frames" else int(extractor.rows_per_clip)
        if not (self.part.exists() and self.marks.exists() and self.marks.stat().st_size == clips):
            np.lib.format.open_memmap(self.part, "w+", np.float32, (clips, rows, extractor.dimensions)).flush()
            self.marks.write_bytes(bytes(clips))
        return self

    def gather(self) -> None:
        """Take what processes of an earlier attempt left in files of their own."""
        for part in sorted(self.folder.glob(f".{glob.escape(self.key)}.*.part")):
            self.take(Rows(self.folder, self.key, part.name.removeprefix(f".{self.key}.").removesuffix(".part")))

    def take(self, other: "Rows") -> None:
        """Take the rows that another process measured, and remove its file."""
        if other.marks.exists() and other.marks.stat().st_size == self.marks.stat().st_size:
            theirs = np.load(other.part, mmap_mode="r", allow_pickle=False)
            numbers = sorted(self.missing() - other.missing())
            for first in range(0, len(numbers), BLOCK):
                some = numbers[first : first + BLOCK]
                self.write(some, theirs[some])
        other.part.unlink(missing_ok=True)
        other.marks.unlink(missing_ok=True)

    def missing(self) -> set[int]:
        """The clips that are not done."""
        return {number for number, mark in enumerate(self.marks.read_bytes()) if not mark}

    def write(self, numbers: Sequence[int], features: np.ndarray) -> None:
        """Rows first, then the marks, so that a mark always tells the truth."""
        array = np.lib.format.open_memmap(self.part, "r+")
        array[list(numbers)] = features
        array.flush()
        with self.marks.open("r+b") as file:
            for number in numbers:
                file.seek(number)
                file.write(b"\1")

    def finish(self) -> None:
        """All are done: from here on the file is the features."""
        os.replace(self.part, self.path)
        self.marks.unlink()
