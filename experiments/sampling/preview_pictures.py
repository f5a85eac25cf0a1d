"""Drawing clips for the eye: real ones beside sampled ones of the same class, as a sheet of frames or a moving grid.

Small frames are enlarged by whole factors with hard edges, so that every pixel is seen as it is; large ones are reduced
by whole factors. Real clips stand left under a blue bar, sampled ones right under a vermilion one.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

REAL, SAMPLED = "#0072B2", "#D55E00"  # of Okabe and Ito's colours, as in the figures
INK, GREY, RULE, EMPTY = "#1a1a1a", "#5f5f5f", "#d9d9d9", "#f2f2f2"
MARGIN, GAP, BETWEEN, BETWEEN_CLASSES = 24, 6, 32, 14  # pixels: around all, and between tiles, sides, classes
THIN = 2  # pixels between tiles that stand without words
HEAD = 96  # pixels from the margin to the first tile: two lines, the name of a side, and its bar
CAPTION, NUMBER_WIDTH = 28, 76  # pixels: below a tile of the grid, and for the number of a clip on the sheet
LEAST = 128  # pixels of a tile's shorter side, at least
LABEL_WIDTH, TITLE_WIDTH = 220, 900  # pixels, at most: of class names on the sheet, and what a title may widen it to


@dataclass(frozen=True)
class Pair:
    """A sampled clip, and a real one of the same class beside it.

    Attributes:
        number: of the sampled clip.
        label: name of the class, "" where there are no classes.
        sampled: uint8 (F, H, W, 3), perhaps still on the disk.
        real: uint8 (F', H, W, 3), or None where there is none.
    """

    number: int
    label: str
    sampled: np.ndarray
    real: np.ndarray | None


def contact_sheet(pairs: Sequence[Pair], title: str, about: str) -> Image.Image:
    """Return evenly spaced frames of every clip: a row a pair, the class written before the first of its rows.

    Args:
        pairs: at least one, those of a class one behind the other.
        title: the first line.
        about: the second line, smaller.
    """
    sides, tile = _sides(pairs), _scaled(pairs[0].sampled[0], LEAST).size
    labels = [pair.label for pair in pairs]
    names = min(LABEL_WIDTH, math.ceil(max(_font(15, True).getlength(name) for name in labels)))
    at, starts = MARGIN + (names + 16 if names else 0), []
    for side in sides:
        at += NUMBER_WIDTH if side.name == "sampled" else 0
        starts.append(at)
        at += _strip_width(side.frames, tile[0]) + GAP
    top = MARGIN + HEAD + 20
    tops = _row_tops(labels, top, tile[1])
    width = max(at - GAP, MARGIN + _widest(title, about)) + MARGIN
    sheet, draw = _canvas(width, tops[-1] + tile[1] + MARGIN, title, about)
    for side, x in zip(sides, starts, strict=True):
        strip = _strip_width(side.frames, tile[0])
        _heading(draw, side, (x, strip))
        for place, number in enumerate(_evenly(side.frames)):
            text = f"frame {number}" if place == 0 else str(number)
            draw.text((x + place * (tile[0] + GAP), top - 6), text, GREY, _font(12), anchor="ls")
        for pair, y in zip(pairs, tops, strict=True):
            clip = side.of(pair)
            if clip is None:
                _empty(draw, (x, y, strip, tile[1]))
                continue
            for place, number in enumerate(_evenly(len(clip))):
                sheet.paste(_scaled(clip[number], LEAST), (x + place * (tile[0] + GAP), y))
    for row, (pair, y) in enumerate(zip(pairs, tops, strict=True)):
        draw.text((starts[-1] - 12, y), f"clip {pair.number}", GREY, _font(12), anchor="ra")
        if row == 0 or labels[row - 1] != pair.label:
            draw.text((MARGIN, y), _fitted(pair.label, _font(15, True), names), INK, _font(15, True))
            if row:
                line = y - (GAP + BETWEEN_CLASSES) // 2 - 1
                draw.line((MARGIN, line, width - MARGIN - 1, line), RULE)
    return sheet


def grid(pairs: Sequence[Pair], title: str, about: str) -> Iterator[np.ndarray]:
    """Yield frames uint8 (H, W, 3) with all pairs playing at once: real clips left, sampled ones right, in one order.

    A real clip with another number of frames than the sampled ones begins again where it ends.

    Args:
        pairs: at least one, of equally many sampled frames.
        title: the first line.
        about: the second line, smaller.
    """
    sides, tile = _sides(pairs), _scaled(pairs[0].sampled[0], 2 * LEAST).size
    columns = math.ceil(math.sqrt(len(pairs)))
    step = tile[0] + GAP, tile[1] + GAP + CAPTION
    panel, top = columns * step[0] - GAP, MARGIN + HEAD
    rows = math.ceil(len(pairs) / columns)
    starts = [MARGIN + place * (panel + BETWEEN) for place in range(len(sides))]
    width = max(starts[-1] + panel, MARGIN + _widest(title, about)) + MARGIN
    still, draw = _canvas(width, top + rows * step[1] - GAP + MARGIN, title, about)
    moving: list[tuple[np.ndarray, tuple[int, int]]] = []
    for side, start in zip(sides, starts, strict=True):
        _heading(draw, side, (start, panel))
        for place, pair in enumerate(pairs):
            x, y = start + place % columns * step[0], top + place // columns * step[1]
            _caption(draw, pair, (x, y + tile[1] + 17, tile[0]), numbered=side.name == "sampled")
            if (clip := side.of(pair)) is None:
                _empty(draw, (x, y, *tile))
            else:
                moving.append((clip, (x, y)))
    for time in range(len(pairs[0].sampled)):
        frame = still.copy()
        for clip, place_of in moving:
            frame.paste(_scaled(clip[time % len(clip)], 2 * LEAST), place_of)
        yield np.asarray(frame)


def tiled(clips: Sequence[np.ndarray], columns: int) -> Iterator[np.ndarray]:
    """Yield frames uint8 (H, W, 3) with clips playing side by side, row by row, without words; sides are even.

    Args:
        clips: uint8 (F, H, W, 3), at least one, all of one shape.
        columns: of the grid; a last row may be shorter.
    """
    width, height = _scaled(clips[0][0], 2 * LEAST).size
    rows = math.ceil(len(clips) / columns)
    size = columns * (width + THIN) - THIN, rows * (height + THIN) - THIN
    for time in range(len(clips[0])):
        picture = Image.new("RGB", (size[0] + size[0] % 2, size[1] + size[1] % 2), "white")
        for place, clip in enumerate(clips):
            at = place % columns * (width + THIN), place // columns * (height + THIN)
            picture.paste(_scaled(clip[time], 2 * LEAST), at)
        yield np.asarray(picture)


def enlarged(clip: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the frames of a clip uint8 (F, H, W, 3), small ones enlarged by a whole factor to 256 pixels or more."""
    factor = max(1, -(-2 * LEAST // min(clip.shape[1:3])))
    for frame in clip:
        yield np.asarray(frame).repeat(factor, axis=0).repeat(factor, axis=1)


def _scaled(frame: np.ndarray, most: int) -> Image.Image:
    """A frame uint8 (H, W, 3) whose shorter side is LEAST pixels or more, and less than twice `most`."""
    picture, shorter = Image.fromarray(np.ascontiguousarray(frame)), min(frame.shape[:2])
    if shorter < LEAST:
        factor = -(-LEAST // shorter)
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    return picture.reduce(shorter // most) if shorter >= 2 * most else picture


@dataclass(frozen=True)
class _Side:
    """What is drawn under one bar: its name, its colour, and the frames of its clips."""

    name: str
    colour: str
    frames: int

    def of(self, pair: Pair) -> np.ndarray | None:
        """The clip of a pair on this side."""
        return pair.real if self.name == "real" else pair.sampled


def _sides(pairs: Sequence[Pair]) -> list[_Side]:
    """From left to right; without a single real clip there is one side."""
    real = [len(pair.real) for pair in pairs if pair.real is not None]
    left = [_Side("real", REAL, max(real))] if real else []
    return [*left, _Side("sampled", SAMPLED, len(pairs[0].sampled))]


def _evenly(frames: int) -> list[int]:
    """Numbers of evenly spaced frames, the first and the last among them: 5 to 8, where these divide the clip."""
    exact = (count for count in range(min(8, frames), 4, -1) if (frames - 1) % (count - 1) == 0)
    return [int(number) for number in np.linspace(0, frames - 1, next(exact, min(6, frames))).round()]


def _strip_width(frames: int, tile: int) -> int:
    return len(_evenly(frames)) * (tile + GAP) - GAP


def _row_tops(labels: Sequence[str], top: int, height: int) -> list[int]:
    """Where the rows begin; a new class begins a little lower."""
    tops = [top]
    for before, label in pairwise(labels):
        tops.append(tops[-1] + height + GAP + (BETWEEN_CLASSES if before != label else 0))
    return tops


def _canvas(width: int, height: int, title: str, about: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A white picture with its two lines, of even sides."""
    picture = Image.new("RGB", (width + width % 2, height + height % 2), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), _fitted(title, _font(17, True), width - 2 * MARGIN), INK, _font(17, True))
    draw.text((MARGIN, MARGIN + 26), _fitted(about, _font(12), width - 2 * MARGIN), GREY, _font(12))
    return picture, draw


def _widest(title: str, about: str) -> int:
    return min(TITLE_WIDTH, math.ceil(max(_font(17, True).getlength(title), _font(12).getlength(about))))


def _heading(draw: ImageDraw.ImageDraw, side: _Side, place: tuple[int, int]) -> None:
    """The name of a side over a bar in its colour; `place` is left and width."""
    x, width = place
    draw.text((x, MARGIN + 76), side.name, side.colour, _font(15, True), anchor="ls")
    draw.rectangle((x, MARGIN + 82, x + width - 1, MARGIN + 85), fill=side.colour)


def _caption(draw: ImageDraw.ImageDraw, pair: Pair, place: tuple[int, int, int], numbered: bool) -> None:
    """The class below a tile, and the number of a sampled clip; `place` is left, base line, and width."""
    x, y, width = place
    name, small = _font(13), _font(12)
    number = f"clip {pair.number}" if numbered else ""
    if numbered and name.getlength(pair.label) + 8 + small.getlength(number) > width:
        number = str(pair.number)
    draw.text((x, y), _fitted(pair.label, name, width - 8 - small.getlength(number)), INK, name, anchor="ls")
    draw.text((x + width, y), number, GREY, small, anchor="rs")


def _empty(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    """What stands in the place of a real clip that there is not; `box` is left, top, width and height."""
    x, y, width, height = box
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=EMPTY)
    draw.text((x + width / 2, y + height / 2), "no real clip", GREY, _font(12), anchor="mm")


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """The text, cut with an ellipsis where it is wider than that."""
    if font.getlength(text) <= width:
        return text
    # By halves: the width of one more character is measured anew each time, which took a minute for a long title.
    fitting = bisect_right(range(len(text)), width, key=lambda length: font.getlength(f"{text[:length]}…"))
    return f"{text[: max(fitting - 1, 0)]}…"


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The figures' font, which has Latin, Greek and Cyrillic; Pillow's own where it is missing."""
    matplotlib = find_spec("matplotlib")  # its fonts without importing it
    folders = matplotlib.submodule_search_locations if matplotlib else None
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    try:
        return ImageFont.truetype(str(Path(folders[0], "mpl-data", "fonts", "ttf", name) if folders else name), size)
    except OSError:
        return ImageFont.load_default(size)
