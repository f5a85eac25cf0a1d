"""The guard around decoders that hang or take their process down, with stand-ins for them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.data.video.index import _probes, decode_all, rows_run_together
from components.data.video.index_worker import index_video, index_videos
from components.data.video.reader import DecordReader, PyAVReader, VideoError
from components.data.video.readers import open_reader
from registry.errors import RunError
from tests.fixtures.made_videos import gradient_frames, write_video

SILENCE = 15.0  # so long a child that has started would have to be kept from its small file before it counts as hung
DECORD = """
import os, time
class DECORDError(Exception): pass
class logging:
    QUIET = 0
    set_level = staticmethod(lambda level: None)
cpu = lambda number: number
class VideoReader:
    def __init__(self, path, ctx, num_threads):
        {deed}
"""
AV = """
import os, time
def open(path, **_):
    if "bad" in path:
        {deed}
    raise OSError("stand-in")
class error:
    FFmpegError = RuntimeError
"""


def _stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """A package of that name, found first by the child; this process has imported the real one already."""
    package = folder / "stand_ins" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(text)
    monkeypatch.syspath_prepend(package.parent)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "videos" / "good.avi", gradient_frames(20))


def test_decord_is_chosen_where_it_agrees(video: Path) -> None:
    pytest.importorskip("decord")
    index = index_video(video)
    assert (index.frames, index.height, index.width, index.reader) == (20, 48, 64, "decord")
    reader = open_reader(video, index)
    assert isinstance(reader, DecordReader)
    wanted = [19, 3, 3, 12, 0]
    np.testing.assert_array_equal(reader.frames(wanted), PyAVReader(video, index).frames(wanted))
    np.testing.assert_array_equal(np.concatenate(list(reader.chunks(6))), reader.frames(range(20)))


def test_a_sign_of_life_comes_with_every_frame_that_is_sought(tmp_path: Path) -> None:
    """Far keyframes of large videos take longer than a decoder may be silent."""
    video, signs = write_video(tmp_path / "far.avi", gradient_frames(60), keyframe_every=30), []
    index = decode_all(video, lambda: signs.append(1)).index
    assert index.keyframes == (0, 30)
    before = len(signs)
    assert PyAVReader(video, index).by_seeking([29, 59], lambda: signs.append(1)) is not None
    assert len(signs) - before >= 58  # but for the first frame, and where it seeks
    assert before >= 60 + len(_probes(60, (0, 30)))


@pytest.mark.parametrize(("deed", "told"), [("time.sleep(600)", "hung"), ("os.abort()", "took its process down")])
def test_decord_that_is_lost_costs_only_decord(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, told: str
) -> None:
    _stand_in(tmp_path, monkeypatch, "decord", DECORD.format(deed=deed))
    index = index_video(video, silence=SILENCE)
    assert index.reader == "pyav"
    assert f"decord {told}" in index.note
    assert index.frames == 20


def _decord_from_pyav(shift: int) -> str:
    """A stand-in that gives right frames, but that many too early where a fresh reader starts in the middle."""
    return (
        DECORD.format(deed="self.path, self.fresh, self.index = path, True, None")
        + f"""
        from pathlib import Path
        from components.data.video.index import decode_all
        self.index = decode_all(Path(path)).index
    def __len__(self):
        return self.index.frames
    def get_batch(self, numbers):
        from pathlib import Path
        from components.data.video.reader import PyAVReader
        if self.fresh and numbers[0] > 0:
            numbers = [max(0, number - {shift}) for number in numbers]
        self.fresh = False
        class Batch:
            asnumpy = staticmethod(lambda: PyAVReader(Path(self.path), self.index).frames(numbers))
        return Batch
"""
    )


def test_decord_with_wrong_frames_is_not_chosen(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(tmp_path, monkeypatch, "decord", _decord_from_pyav(shift=1))
    index = index_video(video)
    assert index.reader == "pyav"
    assert "decord" not in index.note  # it neither hung nor died: it was compared and found wrong
    # elsewhere: Python takes a file of the same size, written within the same second, for the one that it compiled
    _stand_in(tmp_path / "right", monkeypatch, "decord", _decord_from_pyav(shift=0))
    assert index_video(video).reader == "decord"


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("one_keyframe_b.avi", {"keyframe_every": 100, "b_frames": 2}),  # UCF-101's kind: right or wrong by luck
        ("one_keyframe_b.mp4", {"keyframe_every": 100, "b_frames": 2}),
        ("several_keyframes_b.avi", {"keyframe_every": 6, "b_frames": 2}),
        ("stream.ts", {}),
    ],
)
def test_right_frames_do_not_earn_trust_that_a_rule_denies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, made: dict[str, int]
) -> None:
    _stand_in(tmp_path, monkeypatch, "decord", _decord_from_pyav(shift=0))
    assert index_video(write_video(tmp_path / name, gradient_frames(20), **made)).reader == "pyav"


@pytest.mark.parametrize("size", [(47, 64), (48, 65)])
def test_odd_sizes_are_read_by_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    _stand_in(tmp_path, monkeypatch, "decord", _decord_from_pyav(shift=0))
    assert index_video(write_video(tmp_path / "odd.avi", gradient_frames(9, *size))).reader == "pyav"


@pytest.mark.parametrize(("deed", "told"), [("time.sleep(600)", "hung"), ("os.abort()", "took its process down")])
def test_a_decoder_that_is_lost_costs_the_file_and_not_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, told: str
) -> None:
    _stand_in(tmp_path, monkeypatch, "av", AV.format(deed=deed))
    paths = [tmp_path / name for name in ("bad.mp4", "other.mp4")]
    for path in paths:
        path.write_bytes(b"something")
    found = {
        path.name: (index, reason, repeatable) for path, index, reason, repeatable in index_videos(paths, 1, SILENCE)
    }
    index, reason, repeatable = found["bad.mp4"]
    assert index is None
    assert told in reason
    assert not repeatable  # it is tried again by the next prepare
    assert found["other.mp4"] == (None, "not a video that can be opened (stand-in)", True)


@pytest.fixture
def deaths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a stand-in for PyAV notes how often it looked into `bad.mp4`; MOST_DEATHS times it is killed over it."""
    monkeypatch.setenv("DEATHS", str(tmp_path / "deaths"))
    deed = """with builtins.open(os.environ["DEATHS"], "a") as file:
            file.write("x")
        if os.path.getsize(os.environ["DEATHS"]) <= int(os.environ["MOST_DEATHS"]):
            os.kill(os.getpid(), 9)"""
    _stand_in(tmp_path, monkeypatch, "av", "import builtins\n" + AV.format(deed=deed))
    for name in ("bad.mp4", "other.mp4"):
        (tmp_path / name).write_bytes(b"something")
    return tmp_path / "deaths"


def test_a_decoder_that_is_killed_once_tries_again(deaths: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOST_DEATHS", "1")
    ((_, index, reason, repeatable),) = index_videos([deaths.with_name("bad.mp4")], 1, SILENCE)
    assert (index, reason, repeatable) == (None, "not a video that can be opened (stand-in)", True)
    assert deaths.read_text() == "xx"


def test_a_decoder_that_is_killed_twice_leaves_no_file_out(deaths: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the system, which is short of memory: the file may be healthy. The others are looked into all the same."""
    monkeypatch.setenv("MOST_DEATHS", "9")
    found = index_videos([deaths.with_name("bad.mp4"), deaths.with_name("other.mp4")], 1, SILENCE)
    assert next(found)[0].name == "other.mp4"
    with pytest.raises(RunError, match=r"bad\.mp4: the decoder was killed .*twice"):
        next(found)
    assert deaths.read_text() == "xx"


def test_a_decord_that_cannot_be_imported_is_not_used(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(tmp_path, monkeypatch, "decord", "raise OSError('libdecord.so: wrong machine')")
    assert index_video(video).reader == "pyav"


@pytest.mark.parametrize("width", [48, 72])
def test_widths_at_which_decord_shifts_pixels_are_read_by_pyav(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    _stand_in(tmp_path, monkeypatch, "decord", _decord_from_pyav(shift=0))
    assert index_video(write_video(tmp_path / "narrow.avi", gradient_frames(9, width=width))).reader == "pyav"


def test_widths_at_which_rows_run_together_are_those_measured() -> None:
    """facts/decoding.md lists those of decord 0.6.0 and of decord2 among 8, 12, ..., 256."""
    measured = {8, 12, 16, 24, 48, 72} | {8, 12, 16, 24, 32, 48, 96, 144}
    assert {width for width in range(8, 257, 4) if rows_run_together(width)} == measured


def test_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"nothing\.mp4: .*FileNotFoundError"):
        index_video(tmp_path / "nothing.mp4")


def test_b_frames_with_several_keyframes_are_read_right_without_decord(tmp_path: Path) -> None:
    video = write_video(tmp_path / "b.mp4", gradient_frames(40), keyframe_every=9, b_frames=2)
    index = index_video(video)
    assert index.reader == "pyav"
    truth = np.concatenate(list(PyAVReader(video, index).chunks(8)))
    for wanted in ([30], [0, 39], [20, 10, 20], list(range(39, -1, -3))):
        np.testing.assert_array_equal(PyAVReader(video, index).frames(wanted), truth[wanted])


def test_frames_outside_are_refused(video: Path) -> None:
    index = index_video(video)
    for wanted in ([20], [-1]):
        with pytest.raises(IndexError, match=r"good\.avi: no frame"):
            open_reader(video, index).frames(wanted)


def test_frames_too_large_for_memory_are_refused_before_decoding(tmp_path: Path) -> None:
    Image.new("P", (8192, 8192)).save(tmp_path / "large.gif")
    with pytest.raises(VideoError, match="frames of 8192x8192 pixels are too large"):
        index_video(tmp_path / "large.gif")


def test_a_size_that_changes_inside_rejects_the_file(tmp_path: Path) -> None:
    pictures = [Image.fromarray(frame) for width in (64, 80) for frame in gradient_frames(6, 48, width)]
    joined = tmp_path / "joined.mjpeg"
    with open(joined, "wb") as file:
        for picture in pictures:
            picture.save(file, "jpeg")
    with pytest.raises(VideoError, match="frame 6 is 80x48, those before it are 64x48"):
        index_video(joined)
