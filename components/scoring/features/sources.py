"""Where the videos of a score come from: a prepared dataset, or arrays of clips as sampling writes them."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from components.data.prepare import Prepared
from components.data.video.reader import VideoError
from components.scoring.features.clip_selection import Video
from registry.errors import RunError
from registry.runs.arrays import DamagedError, has_footer, problem_of

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
            Video(number, r.path, r.sha256, r.frames, r.height, r.width, self._stored(r.path, r.reader), r.caption)
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

    Every file is read once as a whole; one that has checksums (`registry.runs.arrays`) is verified by them.

    Args:
        folder: with the files.
        files: those that count; all .npy files of the folder if left out.
        captions: what each clip was asked to show, by its number; left out: nobody says.

    Raises:
        RunError: no file can be used.
    """

    def __init__(self, folder: Path, files: Sequence[Path] | None = None, captions: Sequence[str] = ()) -> None:
        self.folder, self.name = folder, str(folder)
        self.rejected: list[tuple[str, str]] = []
        self._files: list[tuple[Path, int, tuple[int, ...]]] = []  # file, first number, shape (n, F, H, W, 3)
        self.listed: list[Video] = []
        for path in sorted(folder.glob("*.npy")) if files is None else files:
            try:
                clips = _clips_of(path)
                contents = [hashlib.sha256(clip.tobytes()).hexdigest() for clip in clips]
            except (RunError, OSError) as error:
                self.rejected.append((path.name, str(error).removeprefix(f"{path}: ")))
                continue
            first, (_, frames, height, width, _) = len(self.listed), clips.shape
            self._files.append((path, first, clips.shape))
            said = [*captions[first : first + len(contents)], *[""] * len(contents)]
            self.listed += [
                Video(first + place, f"{path.name} clip {place}", content, frames, height, width, "raw", said[place])
                for place, content in enumerate(contents)
            ]
        if not self._files:
            told = "".join(f"\n  {name}: {reason}" for name, reason in self.rejected[:3])
            raise RunError(f"{folder}: no clips; {len(self.rejected)} files cannot be used{told}")

    @cached_property
    def digest(self) -> str:
        """Of the contents of the clips, whatever files they are in."""
        return _digest(self.listed)

    def read(self, video: Video, indices: Sequence[int]) -> np.ndarray:
        path, first, shape = next(f for f in reversed(self._files) if f[1] <= video.number)
        try:
            clips = _mapped(path)
        except RunError as error:
            raise RunError(f"{error}; it could be before, so it changed while it was scored") from None
        if clips.size != np.prod(shape):
            raise RunError(f"{path}: changed while it was scored")
        frames: np.ndarray = np.array(clips.reshape(shape)[video.number - first][list(indices)])
        return frames


def _clips_of(path: Path) -> np.ndarray:
    """The clips of a file (n, F, H, W, 3), verified where there are checksums; RunError says why it cannot be used."""
    if has_footer(path) and (problem := problem_of(path)):
        raise DamagedError(problem)
    array = _mapped(path)
    if array.dtype != np.uint8 or array.ndim not in (4, 5) or array.shape[-1] != 3 or not array.size:
        raise RunError(f"is {array.dtype} {array.shape}, not uint8 (n, F, H, W, 3)")
    return array if array.ndim == 5 else array[None]


def _mapped(path: Path) -> np.ndarray:
    if path.exists() and not path.is_file():
        raise RunError(f"{path}: is not a regular file")  # a pipe would wait for someone to write into it
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # whatever a broken file does to NumPy is a reason to reject it
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{path}: cannot be read: {told}") from None
    return array


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
