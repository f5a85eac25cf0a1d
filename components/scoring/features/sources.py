"""Where the videos of a score come from: a prepared dataset, or arrays of clips as sampling writes them."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from components.data.prepare import Prepared
from components.data.video.reader import VideoError
from components.scoring.features.clip_selection import Video
from registry.errors import RunError

FROM_FILES = {"decord": "video", "pyav": "video", "made": "raw"}  # reader -> how the frames were stored


class Videos(Protocol):
    """The videos of one side; can be sent to another process."""

    name: str

    @property
    def listed(self) -> Sequence[Video]:
        """All videos, each with what planning needs."""

    @property
    def rejected(self) -> list[tuple[str, str]]:
        """(name, reason) of what cannot be read."""

    @property
    def digest(self) -> str:
        """SHA-256 hex digits of the content."""

    def read(self, video: Video, indices: Sequence[int]) -> np.ndarray:
        """Frames uint8 (n, H, W, 3); RunError where they cannot be read any more."""


class PreparedVideos:
    """The videos of one split of a prepared dataset.

    Args:
        prepared: the dataset.
        split: `train`, `test`, or `all`.
        only: numbers of the videos to be used, such as one of two halves; all of the split if left out.

    Raises:
        RunError: no video in the split.
    """

    def __init__(self, prepared: Prepared, split: str, only: Sequence[int] | None = None) -> None:
        self.prepared, self.split = prepared, split
        self.name = str(getattr(prepared.dataset, "root", prepared.folder.name))
        usable = prepared.videos(None if split == "all" else split)
        self.numbers = usable if only is None else list(only)

    @cached_property
    def listed(self) -> Sequence[Video]:
        """All videos of the split."""
        records = self.prepared.records
        return [
            Video(number, r.path, r.sha256, r.frames, r.height, r.width, self._stored(r.path, r.reader))
            for number in self.numbers
            for r in (records[number],)
        ]

    def _stored(self, path: str, reader: str) -> str:
        if reader != "pictures":
            return FROM_FILES.get(reader, "raw")
        return self.prepared.dataset.picture_format(path)  # type: ignore[attr-defined]

    @property
    def rejected(self) -> list[tuple[str, str]]:
        return self.prepared.rejected

    @cached_property
    def digest(self) -> str:
        """Of the contents of the videos, wherever they lie and whatever their labels."""
        return _digest(self.listed)

    def read(self, video: Video, indices: Sequence[int]) -> np.ndarray:
        try:
            return self.prepared.reader(video.number).frames(list(indices))
        except VideoError as error:
            raise RunError(str(error)) from None


class ArrayVideos:
    """Clips in .npy files, uint8 (n, F, H, W, 3) or one video (F, H, W, 3) a file; each clip is a video.

    Args:
        folder: with the files.

    Raises:
        RunError: no file can be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, str(folder)
        self.rejected: list[tuple[str, str]] = []
        self._files: list[tuple[Path, int, tuple[int, ...]]] = []  # file, first number, shape (n, F, H, W, 3)
        first = 0
        for path in sorted(folder.glob("*.npy")):
            shape = self._shape(path)
            if shape is not None:
                self._files.append((path, first, shape))
                first += shape[0]
        if not self._files:
            told = "".join(f"\n  {name}: {reason}" for name, reason in self.rejected[:3])
            raise RunError(f"{folder}: no clips; {len(self.rejected)} files cannot be used{told}")

    def _shape(self, path: Path) -> tuple[int, ...] | None:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            self.rejected.append((path.name, f"cannot be read: {error}"))
            return None
        if array.dtype != np.uint8 or array.ndim not in (4, 5) or array.shape[-1] != 3 or not array.size:
            self.rejected.append((path.name, f"is {array.dtype} {array.shape}, not uint8 (n, F, H, W, 3)"))
            return None
        return tuple(array.shape) if array.ndim == 5 else (1, *array.shape)

    @cached_property
    def listed(self) -> Sequence[Video]:
        """All clips of all files, each a video."""
        return [
            Video(first + place, f"{path.name} clip {place}", content, shape[1], shape[2], shape[3], "raw")
            for path, first, shape in self._files
            for place, content in enumerate(self._contents(path, shape))
        ]

    def _contents(self, path: Path, shape: tuple[int, ...]) -> Iterator[str]:
        """SHA-256 of each clip of a file, read one at a time."""
        for place in range(shape[0]):
            clip = np.load(path, mmap_mode="r", allow_pickle=False).reshape(shape)[place]
            yield hashlib.sha256(clip.tobytes()).hexdigest()

    @cached_property
    def digest(self) -> str:
        """Of the contents of the clips, whatever files they are in."""
        return _digest(self.listed)

    def read(self, video: Video, indices: Sequence[int]) -> np.ndarray:
        path, first, shape = next(f for f in reversed(self._files) if f[1] <= video.number)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False).reshape(shape)
        except (OSError, ValueError, EOFError) as error:
            raise RunError(f"{path}: cannot be read any more: {error}") from None
        frames: np.ndarray = np.array(array[video.number - first][list(indices)])
        return frames


def _digest(videos: Iterable[Video]) -> str:
    rows = sorted([video.content, video.frames, video.height, video.width] for video in videos)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def one_size(sides: Iterable[tuple[str, Iterable[Video]]], resolution: int | None) -> tuple[int, int]:
    """(height, width) of the frames that are measured.

    Args:
        sides: (`real` or `fake`, the videos that clips are cut from).
        resolution: that everything is brought to, or None.

    Raises:
        RunError: no resolution is given and the sizes differ; two videos are named.
    """
    if resolution is not None:
        return resolution, resolution
    first: tuple[str, Video] | None = None
    for side, videos in sides:
        for video in videos:
            first = first or (side, video)
            if (video.height, video.width) != (first[1].height, first[1].width):
                raise RunError(
                    f"videos of different sizes: {first[1].name} ({first[0]}) is {first[1].width}x{first[1].height}, "
                    f"{video.name} ({side}) is {video.width}x{video.height}; bring all to one square with resolution=…"
                )
    assert first is not None, "both sides have clips"
    return first[1].height, first[1].width
