"""Frame folders: a folder of numbered pictures is a video.

Rules: pictures are ordered by the last number in their name, then by name with its numbers read as numbers. Missing
numbers are no gap in the frame count; the first of them are listed in the note. A picture that cannot be decoded is
left out and counted as damaged, like a damaged packet; so is one of more than 8 bits a channel that is not read as
RGB, since nobody knows what its white is. Grey and transparent pictures become RGB (transparency is
dropped). Pictures of different size make the folder unusable. Files that are not pictures are passed over.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from components.data.video.reader import MAX_FRAME_BYTES, VideoError, VideoIndex, check_indices

LISTED = 10  # gaps, and damaged pictures, that the note names
PICTURE_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


def is_picture(path: Path) -> bool:
    """By its name: a known ending in any case, and not a hidden file."""
    return path.suffix.lower() in PICTURE_ENDINGS and not path.name.startswith(".")


def pictures_of(folder: Path) -> list[Path]:
    """The folder's pictures in the order of their frame numbers."""
    return sorted((path for path in folder.iterdir() if is_picture(path) and path.is_file()), key=_order)


def frame_number(path: Path) -> int:
    """The last number in the name, -1 where there is none."""
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else -1


def index_folder(folder: Path, alive: Callable[[], None] = lambda: None) -> VideoIndex:
    """Decode every picture once.

    Args:
        folder: the frame folder.
        alive: called after every picture.

    Raises:
        VideoError: no picture can be decoded, or their sizes differ.
    """
    digest = hashlib.sha256()
    good: list[tuple[Path, tuple[int, int]]] = []
    damaged: list[Path] = []
    why = ""
    for path in pictures_of(folder):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        try:
            height, width, _ = _read(path).shape
            good.append((path, (height, width)))
        except VideoError as error:
            damaged.append(path)
            why = why or str(error)
        alive()
    if not good:
        raise VideoError(f"no picture in the folder can be decoded ({len(damaged)} damaged): {why}")
    height, width = good[0][1]
    for path, size in good:
        if size != (height, width):
            raise VideoError(f"{path.name} is {size[1]}x{size[0]}, the pictures before it are {width}x{height}")
    gaps = _gaps([frame_number(path) for path, _ in good] + [frame_number(path) for path in damaged])
    note = [_listed("gap", gaps), _listed("damaged", [path.name for path in damaged])]
    return VideoIndex(
        frames=len(good),
        height=height,
        width=width,
        fps=0.0,
        sha256=digest.hexdigest(),
        damaged=len(damaged),
        reader="pictures",
        note="; ".join(filter(None, note)),
        left_out=tuple(path.name for path in damaged),
    )


class FrameFolderReader:
    """A `VideoReader` of a frame folder.

    Args:
        folder: the frame folder.
        index: what `index_folder` found in it.
    """

    def __init__(self, folder: Path, index: VideoIndex) -> None:
        self.folder, self.index = folder, index
        self._pictures = [path for path in pictures_of(folder) if path.name not in set(index.left_out)]

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """Frames uint8 (n, H, W, 3); VideoError where a picture changed since it was indexed."""
        wanted = check_indices(self.folder, indices, self.index.frames)
        shape = (self.index.height, self.index.width, 3)
        pictures = np.empty((len(wanted), *shape), np.uint8)
        if len(self._pictures) != self.index.frames:
            raise VideoError(f"{self.folder}: has other pictures than when it was indexed; run prepare again")
        for place, number in enumerate(wanted):
            picture = _read(self._pictures[number])
            if picture.shape != shape:
                raise VideoError(f"{self._pictures[number]}: changed since it was indexed; run prepare again")
            pictures[place] = picture
        return pictures

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """All frames in order, `size` at a time."""
        for first in range(0, self.index.frames, size):
            yield self.frames(range(first, min(first + size, self.index.frames)))


def _read(path: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.width * picture.height * 3 > MAX_FRAME_BYTES:
                raise VideoError(f"{path}: {picture.width}x{picture.height} pixels are too many")
            if picture.mode[0] in "IF":  # which `convert` would clip to black or white
                raise VideoError(f"{path}: has more than 8 bits a channel; convert it to 8 bits")
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise VideoError(f"{path}: cannot be decoded: {error}") from None


def _order(path: Path) -> tuple[int, list[tuple[int, int, str]]]:
    parts = re.split(r"(\d+)", path.name)
    return frame_number(path), [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts]


def _listed(what: str, found: Sequence[str]) -> str:
    """The first of what was found, in words for the note."""
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return f"{what}: {', '.join(found[:LISTED])}{more}" if found else ""


def _gaps(numbers: list[int]) -> list[str]:
    """The runs of missing numbers, as `10 to 13`; none where numbers repeat."""
    found = sorted(numbers)
    if len(set(found)) < len(found):
        return []
    return [
        f"{before + 1}" if after == before + 2 else f"{before + 1} to {after - 1}"
        for before, after in pairwise(found)
        if after > before + 1
    ]
