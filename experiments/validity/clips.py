"""The clips that detectors are tried with, and their halves: no video, and no group of videos, is on both sides.

A folder of videos may have a `groups.csv` (columns `path` and `group`) that says which videos belong together, such as
those of one person or a video and its mirror image.
"""

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from components.data.datasets.moving_shapes import MovingShapes
from components.data.transforms import to_pixels, to_uint8_frames
from components.data.video.index import decode_all
from components.data.video.reader import VideoError, VideoIndex
from components.data.video.readers import open_reader
from components.scoring.corruptions import Clips
from registry.errors import RunError, SpecError
from registry.parts.start_files import sha256_of

VIDEO_ENDINGS = {".mp4", ".avi", ".mkv", ".webm", ".mov"}
GROUPS_FILE = "groups.csv"


@dataclass(frozen=True)
class ClipSet:
    """Clips uint8 (N, 2 F, H, W, 3), of which the middle F frames count, with the class, video and group of each.

    Where nothing says which videos belong together, each is a group of its own.
    """

    name: str
    clips: Clips
    labels: tuple[str, ...]
    videos: tuple[str, ...]
    groups: tuple[str, ...]


def halves(groups: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """Places of a sequence in two parts that share no group, as near to equal as whole groups in random order allow.

    Args:
        groups: the group of each member.
        seed: of the order in which groups are taken.

    Raises:
        RunError: fewer than 2 groups.
    """
    members: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    if len(members) < 2:
        raise RunError(f"{len(members)} groups of videos cannot be halved; at least 2 are needed")
    names = list(members)
    order = [members[names[k]] for k in np.random.default_rng([seed, len(names)]).permutation(len(names))]
    taken = np.cumsum([len(part) for part in order])[:-1]
    cut = 1 + int(np.argmin(np.abs(taken - len(groups) / 2)))
    first, second = (sorted(place for part in parts for place in part) for parts in (order[:cut], order[cut:]))
    return first, second


def made_clips(count: int, frames: int, resolution: int, seed: int = 0) -> ClipSet:
    """Clips of the embedded data set, all four directions, each a video of its own."""
    dataset = MovingShapes(None, resolution, videos=count, length=2 * frames, classes=4, seed=seed)
    sources = dataset.sources()
    clips = []
    for source in sources:
        (found,) = dataset.inspect([source.path])
        assert found.index is not None
        clips.append(dataset.reader(source.path, found.index).frames(range(2 * frames)))
    paths = tuple(source.path for source in sources)
    return ClipSet("moving_shapes", np.stack(clips), tuple(source.label for source in sources), paths, paths)


def folder_clips(folder: Path, frames: int, resolution: int, limit: int) -> ClipSet:
    """Clips of the videos below a folder, each of its own frames; the folder that a video lies in is its class.

    Args:
        folder: where the videos are; those that cannot be read are left out, and said so.
        frames: clip length.
        resolution: side in pixels that the centre square is resized to.
        limit: at most so many clips, spread evenly over all.

    Raises:
        SpecError: no such folder, or a groups.csv that does not name every video.
        RunError: no video in it is long enough.
    """
    windows = [
        (path, index, first)
        for path, index in folder_videos(folder)
        for first in range(0, index.frames - 2 * frames + 1, frames)
    ]
    if not windows:
        raise RunError(f"{folder}: no video of at least {2 * frames} frames in it")
    picked = [windows[k] for k in np.linspace(0, len(windows) - 1, min(limit, len(windows))).astype(int)]
    clips = [
        _square(open_reader(path, index).frames(range(first, first + 2 * frames)), resolution)
        for path, index, first in picked
    ]
    paths = [path for path, _, _ in picked]
    names = tuple(path.relative_to(folder).as_posix() for path in paths)
    labels = tuple(path.parent.name for path in paths)
    return ClipSet(folder.resolve().name, np.stack(clips), labels, names, tuple(groups_of(folder, names)))


def folder_videos(folder: Path) -> list[tuple[Path, VideoIndex]]:
    """The videos below a folder by their paths; those that cannot be read are left out, and said so.

    Raises:
        SpecError: no such folder.
    """
    if not folder.is_dir():
        raise SpecError(f"--data: there is no folder {str(folder)!r}")
    found: list[tuple[Path, Any]] = []
    for path in _by_ending(folder):
        try:
            found.append((path, decode_all(path).index))
        except VideoError as error:
            click.echo(f"left out: {path}: {error}", err=True)
    return found


def _by_ending(folder: Path) -> list[Path]:
    """What is named as a video below a folder, in the order of the paths."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_ENDINGS)


def digest_of(folder: Path, tables: Sequence[str]) -> str:
    """A digest of a folder's place, its videos and the tables beside them: of every byte, as well as of their names.

    Args:
        folder: of videos.
        tables: names of files in it that say something of the videos; they need not be there.
    """
    files = [path for path in (*_by_ending(folder), *(folder / name for name in sorted(tables))) if path.is_file()]
    about = [[path.relative_to(folder).as_posix(), sha256_of(path)] for path in files]
    return hashlib.sha256(json.dumps([str(folder.resolve()), about]).encode()).hexdigest()


def groups_of(folder: Path, videos: Sequence[str]) -> list[str]:
    """The group of each video, by the folder's groups.csv; without one each video is its own.

    Raises:
        SpecError: the table has other columns, or does not name a video.
    """
    table = folder / GROUPS_FILE
    return column_of(table, "group", videos) if table.is_file() else list(videos)


def column_of(table: Path, column: str, videos: Sequence[str]) -> list[str]:
    """The value of each video in a column of a table that has the column `path`.

    Raises:
        SpecError: no such table, other columns, or a video that it does not name.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise SpecError(f"{table}: {error.strerror or error}") from None
    if not rows or not {"path", column} <= rows[0].keys():
        raise SpecError(f"{table}: must have the columns path and {column}")
    values = {row["path"]: row[column] for row in rows}
    missing = list(dict.fromkeys(video for video in videos if not values.get(video)))
    if missing:
        raise SpecError(f"{table}: says no {column} of {len(missing)} videos, the first: {missing[0]}")
    return [values[video] for video in videos]


def _square(frames: NDArray[np.uint8], resolution: int) -> Clips:
    return to_uint8_frames(to_pixels(frames, resolution, "center_square_then_resize", antialias=True))
