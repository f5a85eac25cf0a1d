"""Contact sheet and grid: what is drawn where, found by its colour."""

from collections.abc import Sequence

import numpy as np
import pytest

from experiments.sampling.preview_pictures import REAL, SAMPLED, Pair, contact_sheet, enlarged, grid

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def clip(colour: tuple[int, int, int], frames: int = 4, height: int = 16, width: int = 16) -> np.ndarray:
    """A clip uint8 (F, H, W, 3) of one colour, a tenth darker in every frame."""
    shades = 1 - np.arange(frames) / 10
    return np.broadcast_to(shades[:, None, None, None] * np.array(colour), (frames, height, width, 3)).astype(np.uint8)


def hexed(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def box(picture: np.ndarray, colour: Sequence[int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom), ends not included, of all areas of that very colour; pixels of text are no areas."""
    there = (picture == np.array(colour)).all(-1)
    there[there.sum(1) < 60] = False
    ys, xs = np.nonzero(there)
    assert len(ys), f"nothing is {colour}"
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def darkness(picture: np.ndarray) -> int:
    """How many pixels text has."""
    return int((picture.max(-1) < 100).sum())


def test_the_sheet_has_real_clips_left_and_sampled_ones_right_a_row_a_pair() -> None:
    pairs = [Pair(0, "bend", clip(RED), clip(GREEN)), Pair(1, "jack", clip((250, 0, 0)), clip((0, 250, 0)))]
    sheet = np.asarray(contact_sheet(pairs, "title", "about"))
    assert sheet.shape[0] % 2 == sheet.shape[1] % 2 == 0
    first, second = box(sheet, RED), box(sheet, (250, 0, 0))
    assert (first[2] - first[0], first[3] - first[1]) == (128, 128)  # 16 pixels, enlarged by 8
    assert (first[0], second[1] > first[3]) == (second[0], True)
    real = box(sheet, GREEN)
    assert real[2] < first[0]
    assert (real[1], real[3]) == (first[1], first[3])
    for shade in range(4):  # four frames from left to right, all of the same height
        frame = box(sheet, clip(RED)[shade, 0, 0])
        assert (frame[1], frame[2] - frame[0]) == (first[1], 128)
        assert frame[0] == first[0] + shade * (128 + 6)
    for colour, side in ((REAL, real), (SAMPLED, first)):
        bar = box(sheet, hexed(colour))
        assert bar[0] == side[0]
        assert bar[2] == side[0] + 4 * 134 - 6
        assert bar[3] < side[1]
    for margin in (sheet[:23], sheet[-23:], sheet[:, :23], sheet[:, -23:]):
        assert margin.min() == 255


def test_the_sheet_writes_every_class_once_beside_its_rows() -> None:
    pairs = [Pair(n, name, clip(RED), clip(GREEN)) for n, name in enumerate(["bend", "bend", "jack"])]
    sheet = np.asarray(contact_sheet(pairs, "title", "about"))
    left, top = box(sheet, GREEN)[:2]
    rows = np.nonzero((sheet[:, left] == GREEN).all(-1))[0]
    starts = [int(row) for row in rows if row - 1 not in rows]
    assert len(starts) == 3
    written = [darkness(sheet[start : start + 128, : left - 4]) > 0 for start in starts]
    assert written == [True, False, True]
    assert starts[0] == top
    assert starts[2] - starts[1] > starts[1] - starts[0] == 134  # another class begins lower
    long = [Pair(0, "a very long name of a class that does not fit " * 4, clip(RED), clip(GREEN))]
    assert box(np.asarray(contact_sheet(long, "", "")), GREEN)[0] <= 24 + 220 + 16


def test_without_classes_and_without_real_clips_there_is_nothing_empty() -> None:
    sheet = np.asarray(contact_sheet([Pair(n, "", clip(RED), None) for n in range(3)], "title", "about"))
    with pytest.raises(AssertionError, match="nothing is"):
        box(sheet, hexed(REAL))
    assert box(sheet, RED)[0] == 24 + 76  # the margin and the number of the clip
    frames = list(grid([Pair(n, "", clip(RED), None) for n in range(3)], "t", "a"))
    assert len(frames) == 4
    assert box(frames[0], RED)[0] == 24


def test_where_a_real_clip_is_missing_the_others_are_drawn() -> None:
    pairs = [Pair(0, "a", clip(RED), clip(GREEN)), Pair(1, "b", clip(RED), None)]
    sheet = np.asarray(contact_sheet(pairs, "", ""))
    real, empty = box(sheet, GREEN), box(sheet, (0xF2, 0xF2, 0xF2))
    assert (empty[0], empty[2]) == (real[0], real[0] + 4 * 134 - 6)
    assert empty[1] > real[3]
    frames = list(grid(pairs, "", ""))
    assert box(frames[0], (0xF2, 0xF2, 0xF2))[1] == box(frames[0], GREEN)[1]


@pytest.mark.parametrize(
    ("side", "on_sheet", "in_grid", "alone"),
    [(16, 128, 128, 256), (33, 132, 132, 264), (100, 200, 200, 300), (128, 128, 128, 256), (200, 200, 200, 400),
     (255, 255, 255, 510), (256, 128, 256, 256), (512, 128, 256, 512)],
)  # fmt: skip
def test_small_frames_are_enlarged_and_large_ones_reduced_by_whole_factors(
    side: int, on_sheet: int, in_grid: int, alone: int
) -> None:
    pairs = [Pair(0, "", clip(RED, 1, side, side), None)]
    assert box(np.asarray(contact_sheet(pairs, "", "")), RED)[2:][0] - 100 == on_sheet
    (frame,) = grid(pairs, "", "")
    left, top, right, bottom = box(frame, RED)
    assert (right - left, bottom - top) == (in_grid, in_grid)
    (frame,) = enlarged(clip(RED, 1, side, side))
    assert frame.shape == (alone, alone, 3)


def test_enlarging_keeps_hard_edges() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 32, 48, 3), dtype=np.uint8)
    for small, large in zip(frames, enlarged(frames), strict=True):
        assert np.array_equal(large[::8, ::8], small)
        assert np.array_equal(large[7::8, 7::8], small)


@pytest.mark.parametrize(
    ("frames", "shown"),
    [(1, [0]), (2, [0, 1]), (4, [0, 1, 2, 3]), (8, list(range(8))), (9, [0, 2, 4, 6, 8]), (16, [0, 3, 6, 9, 12, 15]),
     (12, [0, 2, 4, 7, 9, 11])],
)  # fmt: skip
def test_frames_on_the_sheet_are_evenly_spaced(frames: int, shown: list[int]) -> None:
    moving = np.broadcast_to(np.arange(frames, dtype=np.uint8)[:, None, None, None] * 9 + 100, (frames, 16, 16, 3))
    sheet = np.asarray(contact_sheet([Pair(0, "", moving, None)], "", ""))
    row = sheet[box(sheet, (100, 100, 100))[3] - 64]
    assert [int(row[100 + 134 * place, 0] - 100) // 9 for place in range(len(shown))] == shown
    assert (row[100 + 134 * len(shown) - 6 :] == 255).all()


def test_the_grid_moves_and_a_shorter_real_clip_begins_again() -> None:
    pairs = [Pair(n, "abc"[n], clip(RED), clip(GREEN, 2)) for n in range(3)]
    frames = list(grid(pairs, "title", "about"))
    assert len(frames) == 4
    assert {frame.shape for frame in frames} == {frames[0].shape}
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    for time, frame in enumerate(frames):
        real, sampled = box(frame, clip(GREEN, 2)[time % 2, 0, 0]), box(frame, clip(RED)[time, 0, 0])
        assert (real[1], real[3]) == (sampled[1], sampled[3])
        assert real[2] < sampled[0]
        assert (sampled[2] - sampled[0], sampled[3] - sampled[1]) == (2 * 134 - 6, 2 * 128 + 6 + 28)  # two by two
