"""Pictures of a folder of sampled clips: a contact sheet, a GIF, and a grid for papers."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from components.data.video.writer import write_mp4
from components.scoring.features.preprocessing import FPS
from experiments.sampling.filmed_files import ARRAYS
from experiments.sampling.preview_pictures import Pair, contact_sheet, tiled
from experiments.sampling.previews import (
    GRID_CRF,
    GRID_SECONDS,
    SHEET,
    about,
    one_line,
    rows_of,
    sample_files,
    save,
    shown_clips,
    turns_of,
)
from registry.errors import RunError

GIF = "samples.gif"


def write_pictures(
    folder: Path, names: Sequence[str], title: str, grid: tuple[int, int] | None, captioned: bool = False
) -> list[Path]:
    """Write the pictures of the clips in a folder's arrays, each whole or not at all, and return their files.

    Args:
        folder: of the samples.
        names: of the classes that take turns, or captions; empty for clips of neither.
        title: the first line of the sheet: what was sampled.
        grid: rows and columns of the grid, if one is wanted; there are as many clips.
        captioned: whether the names are captions.

    Raises:
        RunError: arrays that cannot be read, or a video that cannot be written.
        OSError: a picture that cannot be written.
    """
    clips, count = shown_clips(folder / ARRAYS)
    turns = turns_of(clips, names)
    pairs = [Pair(n, one_line(names[n % len(names)]) if names else "", clip, None) for n, clip in clips.items()]
    pairs.sort(key=lambda pair: (turns[pair.number], pair.number))
    rows = rows_of(pairs)
    sheet = contact_sheet(
        rows, one_line(title), about(rows, count, () if captioned else list(dict.fromkeys(names)), captioned)
    )
    save(folder / SHEET, lambda path: sheet.save(path, "PNG"))
    shown = [clips[number] for number in sorted(clips)]
    _write_gif(folder / GIF, list(tiled(shown, math.ceil(math.sqrt(len(shown))))))
    return [folder / SHEET, folder / GIF, *(_write_grid(folder, *grid) if grid else ())]


def _write_gif(path: Path, frames: list[np.ndarray]) -> None:
    """Frames uint8 (H, W, 3) as a GIF that plays for ever; GIFs count time in hundredths of a second."""
    first, *others = [Image.fromarray(frame) for frame in frames]
    how = {"save_all": True, "append_images": others, "duration": round(1000 / FPS), "loop": 0}
    save(path, lambda temporary: first.save(temporary, "GIF", **how))


def _write_grid(folder: Path, rows: int, columns: int) -> list[Path]:
    """The first clips as one picture of their middle frames, and as a video and a GIF that play again and again."""
    frames = list(tiled(_first(folder / ARRAYS, rows * columns), columns))
    picture, video, gif = (folder / f"grid-{rows}x{columns}.{kind}" for kind in ("png", "mp4", "gif"))
    save(picture, lambda path: Image.fromarray(frames[len(frames) // 2]).save(path, "PNG"))
    write_mp4(video, frames, FPS, loops=math.ceil(GRID_SECONDS * FPS / len(frames)), crf=GRID_CRF)
    _write_gif(gif, frames)
    return [picture, video, gif]


def _first(arrays: Path, count: int) -> list[np.ndarray]:
    """The first clips, each uint8 (F, H, W, 3) and still on the disk."""
    clips: list[np.ndarray] = []
    for numbers, path in sample_files(arrays):
        if numbers.start >= count:
            break
        clips += list(np.load(path, mmap_mode="r", allow_pickle=False)[: count - numbers.start])
    if len(clips) < count:
        raise RunError(f"{arrays}: has {len(clips)} clips of the {count} of the grid")
    return clips
