"""Previews: which clips are shown, that no others are read, and what happens where something cannot be shown."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from experiments.sampling import previews
from experiments.sampling.preview_pictures import Pair
from experiments.sampling.previews import SHOWN, shown_clips, write_previews

FRAMES = 4


def write(folder: Path, count: int, each: int = 8, side: int = 16) -> Path:
    """Files of sampled clips; a clip's number is its brightness."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, count, each):
        numbers = np.arange(first, min(first + each, count), dtype=np.uint8)[:, None, None, None, None]
        clips = np.broadcast_to(numbers, (len(numbers), FRAMES, side, side, 3))
        np.save(folder / f"clips-{first:06d}-{first + len(numbers):06d}.npy", np.ascontiguousarray(clips))
    return folder


class Real:
    """Real clips of one brightness a class; notes what it is asked for."""

    def __init__(self, problems: Sequence[str] = ()) -> None:
        self.asked: list[int | None] = []
        self.problems = list(problems)

    def matched(self, classes: Sequence[int | None]) -> tuple[list[np.ndarray | None], list[str]]:
        self.asked = list(classes)
        return [np.full((FRAMES, 16, 16, 3), 100 + (rank or 0), np.uint8) for rank in classes], self.problems


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Pair]]:
    """The pairs that sheet and grid are given."""
    given: dict[str, list[Pair]] = {}

    def noting(name: str, really: Any) -> Any:
        def draw(pairs: list[Pair], title: str, about: str) -> Any:
            given[name] = list(pairs)
            return really(pairs, title, about)

        return draw

    for name in ("contact_sheet", "grid"):
        monkeypatch.setattr(previews, name, noting(name, getattr(previews, name)))
    return given


def written(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def test_all_files_are_there_and_play(tmp_path: Path) -> None:
    found = write_previews(write(tmp_path / "samples", 20), Real(), ["a", "b"], tmp_path / "out", title="title")  # type: ignore[arg-type]
    assert found.problems == []
    names = [f"clip-{number:03d}.mp4" for number in range(8)]
    assert (
        written(tmp_path / "out")
        == sorted(path.name for path in found.files)
        == [*names, "contact_sheet.png", "grid.mp4"]
    )
    with av.open(str(tmp_path / "out" / "clip-003.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.shape(frames) == (FRAMES, 256, 256, 3)
    assert np.abs(np.array(frames) - 3.0).max() <= 2  # black of 3, rounded to 8-bit limited range
    with av.open(str(tmp_path / "out" / "grid.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.frames == 12 * FRAMES  # 48 frames: six seconds
        assert (stream.average_rate, stream.codec_context.pix_fmt) == (8, "yuv420p")
        assert stream.width >= 8 * 128
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert min(sheet.size) > 8 * 128


def test_the_first_clips_are_shown_by_class_beside_real_ones_of_the_class(
    tmp_path: Path, drawn: dict[str, list[Pair]]
) -> None:
    real, classes = Real(), ["a", "b", "c"]
    write_previews(write(tmp_path / "samples", 40), real, classes, tmp_path / "out")  # type: ignore[arg-type]
    assert len(drawn["grid"]) == SHOWN == 16
    assert [pair.number for pair in drawn["grid"]] == [*range(0, 16, 3), *range(1, 16, 3), *range(2, 16, 3)]
    assert [pair.number for pair in drawn["contact_sheet"]] == [0, 3, 1, 4, 2, 5]
    for pair in [*drawn["grid"], *drawn["contact_sheet"]]:
        assert pair.real is not None
        assert pair.label == classes[pair.number % 3]
        assert (int(pair.sampled[0, 0, 0, 0]), int(pair.real[0, 0, 0, 0])) == (pair.number, 100 + pair.number % 3)


@pytest.mark.parametrize(
    ("classes", "count", "rows"),
    [(0, 40, list(range(8))), (1, 40, list(range(8))), (2, 40, [0, 2, 4, 6, 1, 3, 5, 7]), (8, 9, list(range(8))),
     (9, 40, list(range(9))), (101, 40, list(range(16))), (101, 3, [0, 1, 2]), (4, 1, [0])],
)  # fmt: skip
def test_rows_of_the_sheet(
    tmp_path: Path, drawn: dict[str, list[Pair]], classes: int, count: int, rows: list[int]
) -> None:
    names = [f"class {rank:03d}" for rank in range(classes)]
    found = write_previews(write(tmp_path / "samples", count), None, names, tmp_path / "out")
    assert found.problems == []
    assert [pair.number for pair in drawn["contact_sheet"]] == rows
    assert [pair.label for pair in drawn["contact_sheet"]] == [
        names[number % classes] if names else "" for number in rows
    ]
    assert all(pair.real is None for pair in drawn["contact_sheet"])


def test_without_classes_any_real_clips_are_asked_for(tmp_path: Path) -> None:
    real = Real()
    write_previews(write(tmp_path / "samples", 4), real, (), tmp_path / "out")  # type: ignore[arg-type]
    assert real.asked == [None] * 4


def test_what_is_not_shown_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = write(tmp_path / "samples", 64)
    opened: list[str] = []
    really = np.load

    def noting(path: Path, mmap_mode: str | None = None, **how: Any) -> np.ndarray:
        assert mmap_mode == "r"  # nothing of it is in memory before it is drawn
        opened.append(path.name)
        return really(path, mmap_mode=mmap_mode, **how)

    monkeypatch.setattr(np, "load", noting)
    clips, count = shown_clips(samples)
    assert (list(clips), count) == (list(range(16)), 64)
    assert opened == ["clips-000000-000008.npy", "clips-000008-000016.npy"]
    assert all(isinstance(clip, np.memmap) for clip in clips.values())


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "clips-000008-000016.npy: cannot be read"), (np.zeros((8, 4, 16, 16), np.uint8), "not uint8"),
     (np.zeros((7, 4, 16, 16, 3), np.uint8), r"not uint8 \(8, F"), (np.zeros((8, 4, 16, 16, 3)), "is float64")],
)  # fmt: skip
def test_a_damaged_file_is_named_and_nothing_is_drawn(tmp_path: Path, content: Any, told: str) -> None:
    path = write(tmp_path / "samples", 16) / "clips-000008-000016.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    found = write_previews(tmp_path / "samples", None, (), tmp_path / "out")
    assert found.files == []
    (problem,) = found.problems
    assert re.search(told, problem)
    assert "\n" not in problem


def test_no_samples_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    for folder in ("empty", "gone"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        found = write_previews(tmp_path / folder, None, (), tmp_path / "out")
        assert found.problems == [f"{tmp_path / folder}: has no sampled clips to show"]


def test_without_an_encoder_the_sheet_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    real = Real(["bend/1.mp4: is gone"])
    found = write_previews(write(tmp_path / "samples", 4), real, ["a", "b"], tmp_path / "out")  # type: ignore[arg-type]
    assert written(tmp_path / "out") == ["contact_sheet.png"]
    assert found.files == [tmp_path / "out" / "contact_sheet.png"]
    gone, encoder = found.problems
    assert gone == "bend/1.mp4: is gone"
    assert "grid.mp4: not written, since this PyAV" in encoder
    assert "\n" not in encoder


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = write_previews(write(tmp_path / "samples", 4), None, (), tmp_path / "file" / "out")
    assert found.files == []
    assert len(found.problems) == 1
    assert "Not a directory" in found.problems[0]


def test_names_may_have_any_characters_and_any_length(tmp_path: Path, drawn: dict[str, list[Pair]]) -> None:
    names = ["two\nlines", "a \x1b[31m red \udcff name", "名前" * 300]
    found = write_previews(write(tmp_path / "samples", 3), None, names, tmp_path / "out", title="arm\n" * 5000)
    assert found.problems == []
    assert [pair.label for pair in drawn["grid"]] == ["two�lines", "a �[31m red � name", "名前" * 300]
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert sheet.width <= 24 + 900 + 24
    with av.open(str(tmp_path / "out" / "grid.mp4")) as container:
        assert container.streams.video[0].width <= 24 + 900 + 24


def test_previews_of_an_earlier_attempt_are_replaced_and_the_same_samples_look_the_same(tmp_path: Path) -> None:
    samples = write(tmp_path / "samples", 4)
    write_previews(write(tmp_path / "others", 4, side=32), None, (), tmp_path / "out")
    write_previews(samples, None, (), tmp_path / "out")
    write_previews(samples, None, (), tmp_path / "again")
    assert written(tmp_path / "out") == written(tmp_path / "again")
    sheets = [np.asarray(Image.open(tmp_path / name / "contact_sheet.png")) for name in ("out", "again")]
    assert np.array_equal(*sheets)
