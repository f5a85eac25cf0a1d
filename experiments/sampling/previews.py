"""Previews: sampled clips to be looked at, beside real clips of the same class.

    grid.mp4            the first 16 sampled clips at once, real ones of the same classes to their left; it loops
    clip-000.mp4, …     the first 8 sampled clips one by one, each once
    contact_sheet.png   evenly spaced frames by class, the class written before them

Sampled clip n is of class n modulo the number of classes, or has the caption n modulo their number. The clips are the
same ones for every arm and seed, so that pictures of two arms can be held side by side.
"""

import math
import os
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np

from components.data.video.writer import write_mp4
from components.scoring.features.preprocessing import FPS
from experiments.sampling.preview_pictures import Pair, contact_sheet, enlarged, grid
from registry.errors import RunError

SHOWN = 16  # the first so many sampled clips are shown; what `keep_samples: shown` keeps
ALONE = 8  # of these, as files of their own
ROWS = 8  # of the sheet, more only where there are more classes
GRID_SECONDS, GRID_CRF = 6.0, 20  # the grid plays again and again for so long; its constant rate factor
SHEET = "contact_sheet.png"
NAME = re.compile(r"clips-(\d+)-(\d+)\.npy")


class RealClips(Protocol):
    """Real clips to be held beside sampled ones."""

    def matched(self, wanted: Sequence[int | str | None]) -> tuple[list[np.ndarray | None], list[str]]:
        """Return a clip of each class, or of each caption, and a line for each that could not be had.

        Clips are uint8 (F, H, W, 3), or None where there is none.
        """
        ...


@dataclass(frozen=True)
class Previews:
    """What was written, and a line for everything that could not be."""

    files: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def write_previews(
    samples: Path,
    real: RealClips | None,
    classes: Sequence[str],
    out: Path,
    *,
    title: str = "",
    captions: Sequence[str] = (),
) -> Previews:
    """Write the previews of sampled clips; a picture that cannot be made stops no other.

    In memory are the frames that are drawn just now and the real clips that are shown, no other samples.

    Args:
        samples: folder of the sampled clips, `clips-<first>-<behind the last>.npy`, uint8 (n, F, H, W, 3).
        real: the real clips; None draws the sampled ones alone.
        classes: names by rank; empty for clips without a class.
        out: folder for the files, made if need be; files of the same names are replaced.
        title: the first line of grid and sheet: what was sampled.
        captions: of which clips are drawn, in place of classes; real ones of the same caption stand beside them.
    """
    found = Previews()
    try:
        out.mkdir(parents=True, exist_ok=True)
        clips, count = shown_clips(samples)
    except (RunError, OSError) as error:
        found.problems.append(str(error))
        return found
    names = captions or classes
    turns = turns_of(clips, names)
    wanted: list[int | str | None] = [
        captions[number % len(captions)] if captions else turns[number] if classes else None for number in clips
    ]
    matched: list[np.ndarray | None] = [None] * len(clips)
    if real is not None:
        matched, problems = real.matched(wanted)
        found.problems.extend(problems)
    pairs = [
        Pair(number, one_line(names[turns[number]]) if names else "", clips[number], partner)
        for number, partner in zip(clips, matched, strict=True)
    ]
    title = one_line(title)
    pairs.sort(key=lambda pair: (turns[pair.number], pair.number))
    captioned = bool(captions)

    def sheet() -> None:
        rows = rows_of(pairs)
        save(
            out / SHEET,
            lambda path: contact_sheet(rows, title, about(rows, count, classes, captioned)).save(path, "PNG"),
        )
        found.files.append(out / SHEET)

    def videos() -> None:
        loops = math.ceil(GRID_SECONDS * FPS / len(pairs[0].sampled))
        frames = grid(pairs, title, about(pairs, count, classes, captioned))
        write_mp4(out / "grid.mp4", frames, FPS, loops=loops, crf=GRID_CRF)
        found.files.append(out / "grid.mp4")
        for number in sorted(clips)[:ALONE]:
            path = out / f"clip-{number:03d}.mp4"
            write_mp4(path, enlarged(clips[number]), FPS)
            found.files.append(path)

    for write in (sheet, videos):
        try:
            write()
        except (RunError, OSError) as error:
            found.problems.append(str(error))
    return found


def sample_files(samples: Path) -> list[tuple[range, Path]]:
    """Return the files of sampled clips and the numbers of their clips, in ascending order."""
    named = [(NAME.fullmatch(path.name), path) for path in samples.glob("clips-*.npy")]
    found = [(range(int(match[1]), int(match[2])), path) for match, path in named if match]
    return sorted(found, key=lambda entry: (entry[0].start, entry[0].stop))


def shown_clips(samples: Path) -> tuple[dict[int, np.ndarray], int]:
    """Return the clips that are shown by number, each uint8 (F, H, W, 3) and still on the disk, and the count of all.

    Raises:
        RunError: a file cannot be read or holds something else, or the first clip is not there.
    """
    files = sample_files(samples)
    clips: dict[int, np.ndarray] = {}
    for numbers, path in files:
        if numbers.start >= SHOWN:
            break
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise RunError(f"{path}: cannot be read: {error}") from None
        if array.dtype != np.uint8 or array.ndim != 5 or array.shape[-1] != 3 or len(array) != len(numbers):
            raise RunError(f"{path}: is {array.dtype} {array.shape}, not uint8 ({len(numbers)}, F, H, W, 3)")
        clips |= {number: array[place] for place, number in enumerate(numbers) if number < SHOWN}
    if not clips:
        raise RunError(f"{samples}: has no sampled clips to show")
    return dict(sorted(clips.items())), max(numbers.stop for numbers, _ in files)


def turns_of(numbers: Iterable[int], names: Sequence[str]) -> dict[int, int]:
    """Return for each clip the place among the names of the first that is its own; 0 where there are no names."""
    return {number: names.index(names[number % len(names)]) if names else 0 for number in numbers}


def rows_of(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs on the sheet: as many of every class, at least one and so many that there are about `ROWS`."""
    by_class = [list(group) for _, group in groupby(pairs, key=lambda pair: pair.label)]
    each = max(1, ROWS // len(by_class))
    return [pair for group in by_class for pair in group[:each]]


def about(pairs: Sequence[Pair], count: int, classes: Sequence[str], captioned: bool = False) -> str:
    """Return the second line of a sheet: how many of how many, and what stands beside them."""
    shown = len({pair.label for pair in pairs})
    of = f", {shown} of {len(classes)} classes" if shown < len(classes) else ""
    same = "caption" if captioned else "class" if classes else ""
    real = f", each beside a real one of its {same}" if same else ", beside real ones"
    return f"{len(pairs)} of {count} sampled clips{of}{real if any(p.real is not None for p in pairs) else ''}"


def one_line(text: str) -> str:
    """Return the text without line ends and other characters that are not printed; folders can be named by any."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def save(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
