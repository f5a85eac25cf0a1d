"""A file of features in the making: rows by clip, and which clips are done, so that a failure loses nothing."""

import glob
import os
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from components.scoring.contracts import BLOCK, Extractor
from registry.errors import RunError
from registry.runs.arrays import DIGEST, array_writer, checksum
from registry.runs.files import naming

NOT_DONE = bytes(DIGEST)


class Rows:
    """A file of features in the making: `.<key>.part`, and beside it a checksum of every clip that is done.

    Args:
        folder: of the features.
        key: of the extractor.
        identity: what the features are of, and by what.
        of: the process whose own file it is, `.<key>.<of>.part`; left out, the file that becomes the features.
    """

    def __init__(self, folder: Path, key: str, identity: str, of: str | None = None) -> None:
        self.folder, self.key, self.identity = folder, key, identity
        name = f".{key}" if of is None else f".{key}.{of}"
        self.path, self.part, self.marks = folder / f"{key}.npy", folder / f"{name}.part", folder / f"{name}.done"
        self.shape: tuple[int, int, int] = (0, 0, 0)

    def make(self, clips: int, frames: int, extractor: Extractor) -> "Rows":
        """Make the file for so many clips of so many frames, or take what is there from before and is not damaged."""
        rows = frames if extractor.rows_per_clip == "frames" else int(extractor.rows_per_clip)
        self.shape = (clips, rows, extractor.dimensions)
        header, size = _header(self.shape), 4 * int(np.prod(self.shape))
        if self._is_there(header, size):
            self._unmark_damaged()
            return self
        with naming(self.part), self.part.open("wb") as file:
            file.write(header)
            file.truncate(len(header) + size)
        with naming(self.marks):
            self.marks.write_bytes(NOT_DONE * clips)
        return self

    def gather(self) -> None:
        """Take what processes of an earlier attempt left in files of their own."""
        for part in sorted(self.folder.glob(f".{glob.escape(self.key)}.*.part")):
            self.take(part.name.removeprefix(f".{self.key}.").removesuffix(".part"))

    def take(self, of: str) -> None:
        """Take the rows that another process measured, and remove its file."""
        other = Rows(self.folder, self.key, self.identity, of)
        other.shape = self.shape
        if other._is_there(_header(self.shape), 4 * int(np.prod(self.shape))):
            other._unmark_damaged()
            for some in _blocks(sorted(self.missing() - other.missing())):
                self.write(some, other._read()[some])
        other._remove()

    def missing(self) -> set[int]:
        """The clips that are not done."""
        return {number for number, mark in enumerate(self._marks()) if mark == NOT_DONE}

    def write(self, numbers: Sequence[int], features: np.ndarray) -> None:
        """Write the rows (n, rows, D) of clips, and then their checksums, which say that they are done."""
        start, size = len(_header(self.shape)), 4 * int(np.prod(self.shape[1:]))
        whole = np.ascontiguousarray(features, np.float32).reshape(len(numbers), *self.shape[1:])
        with naming(self.part), self.part.open("r+b") as file:
            for number, rows in zip(numbers, whole, strict=True):
                file.seek(start + number * size)
                file.write(rows.tobytes())
        marks = {number: checksum(self.identity, number, rows) for number, rows in zip(numbers, whole, strict=True)}
        self._mark(marks)

    def finish(self) -> None:
        """All are done: write the features, which from here on are verified as a whole.

        Raises:
            RunError: what was written was damaged before it was finished.
        """
        if damaged := self._unmark_damaged():
            raise RunError(
                f"{self.part}: the features of {len(damaged)} clips are not what was written (first: clip "
                f"{damaged[0]}); the disk may be failing; run it again, and they are measured again"
            )
        with array_writer(self.path, self.shape, np.float32, self.identity) as append:
            for some in _blocks(range(self.shape[0])):
                append(self._read()[some])
        self._remove()

    def _is_there(self, header: bytes, size: int) -> bool:
        if not (self.part.is_file() and self.marks.is_file()):
            return False
        with self.part.open("rb") as file:
            same = file.read(len(header)) == header and file.seek(0, os.SEEK_END) == len(header) + size
        return same and self.marks.stat().st_size == DIGEST * self.shape[0]

    def _unmark_damaged(self) -> list[int]:
        """Take the mark off every clip whose rows have another checksum, and return these clips."""
        marks, rows = self._marks(), self._read()
        damaged = [
            number
            for number, mark in enumerate(marks)
            if mark != NOT_DONE and checksum(self.identity, number, rows[number]) != mark
        ]
        self._mark(dict.fromkeys(damaged, NOT_DONE))
        return damaged

    def _read(self) -> np.ndarray:
        return np.memmap(self.part, np.float32, "r", len(_header(self.shape)), self.shape)

    def _marks(self) -> list[bytes]:
        content = self.marks.read_bytes()
        return [content[place : place + DIGEST] for place in range(0, len(content), DIGEST)]

    def _mark(self, marks: dict[int, bytes]) -> None:
        with naming(self.marks), self.marks.open("r+b") as file:
            for number, mark in marks.items():
                file.seek(number * DIGEST)
                file.write(mark)

    def _remove(self) -> None:
        self.part.unlink(missing_ok=True)
        self.marks.unlink(missing_ok=True)


def clips_done(folder: Path) -> int:
    """Return how many clips are marked as done in files of features in the making, below a folder."""
    marks = [np.frombuffer(path.read_bytes(), np.uint8) for path in folder.rglob(".*.done")]
    return sum(int(mark[: len(mark) // DIGEST * DIGEST].reshape(-1, DIGEST).any(axis=1).sum()) for mark in marks)


def _header(shape: tuple[int, ...]) -> bytes:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _blocks(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(numbers), BLOCK):
        yield list(numbers[first : first + BLOCK])
