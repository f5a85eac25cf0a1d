"""Writing an mp4: what a browser needs of it, and what happens where it cannot be written."""

from pathlib import Path

import av
import numpy as np
import pytest

from components.data.video.writer import write_mp4
from registry.errors import RunError


def coloured(count: int, height: int, width: int) -> np.ndarray:
    """Frames uint8 (n, H, W, 3) that go from dark to bright blue, on half of them red."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[..., 2] = np.linspace(40, 220, count).round()[:, None, None]
    frames[:, : height // 2, :, 0] = 200
    return frames


def decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize(("size", "even"), [((16, 16), (16, 16)), ((33, 50), (34, 50)), ((101, 77), (102, 78))])
def test_a_browser_plays_it(tmp_path: Path, size: tuple[int, int], even: tuple[int, int]) -> None:
    frames = coloured(6, *size)
    write_mp4(tmp_path / "clip.mp4", iter(frames), 8)
    content = (tmp_path / "clip.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # the index in front
    with av.open(str(tmp_path / "clip.mp4")) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.height, stream.width) == even
        assert (stream.frames, stream.average_rate, float(stream.duration * stream.time_base)) == (6, 8, 6 / 8)
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (1, 1)
    read = decoded(tmp_path / "clip.mp4")
    padded = np.pad(frames, ((0, 0), (0, even[0] - size[0]), (0, even[1] - size[1]), (0, 0)), mode="edge")
    off = np.abs(read.astype(int) - padded)
    away = np.ones(even, bool)
    away[even[0] // 2 - 3 : even[0] // 2 + 3] = False  # chroma of half the resolution bleeds over the edge of the red
    # A crf of 17 quantises in steps of about 6; half a step of luma and chroma is 3 * (1.16 + 2.1) = 10 of 255 in blue,
    # and rounding to 8 bits is 1.6. Colours by another matrix than BT.709 are 31 off.
    assert off[:, away].max() <= 12


def test_frames_play_again_and_again(tmp_path: Path) -> None:
    frames = coloured(5, 20, 20)
    write_mp4(tmp_path / "once.mp4", frames, 8)
    write_mp4(tmp_path / "grid.mp4", frames, 8, loops=3)
    assert np.array_equal(decoded(tmp_path / "grid.mp4"), np.tile(decoded(tmp_path / "once.mp4"), (3, 1, 1, 1)))
    with av.open(str(tmp_path / "grid.mp4")) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
        assert times == pytest.approx([number / 8 for number in range(15)])
        container.seek(int(10 / 8 * av.time_base))
        again = next(container.decode(video=0))
        assert np.array_equal(again.to_ndarray(format="rgb24"), decoded(tmp_path / "once.mp4")[0])


def test_one_frame_is_a_video_and_none_is_not(tmp_path: Path) -> None:
    write_mp4(tmp_path / "one.mp4", coloured(1, 16, 16), 25)
    assert len(decoded(tmp_path / "one.mp4")) == 1
    with pytest.raises(RunError, match=r"none\.mp4: there are no frames to write"):
        write_mp4(tmp_path / "none.mp4", [], 25)
    assert [path.name for path in tmp_path.iterdir()] == ["one.mp4"]


def test_frames_are_asked_for_one_by_one_and_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_mp4(path, coloured(2, 16, 16), 8)
    before = path.read_bytes()

    def breaking() -> object:
        yield from coloured(2, 16, 16)
        raise RunError("the clips are gone")

    with pytest.raises(RunError, match="the clips are gone"):
        write_mp4(path, breaking(), 8)  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, reason in (("gone/clip.mp4", "No such file or directory"), ("file/clip.mp4", "Not a directory")):
        (tmp_path / "file").write_text("")
        with pytest.raises(RunError, match=rf"{place}: cannot be written: {reason}$"):
            write_mp4(tmp_path / place, coloured(2, 16, 16), 8)
    monkeypatch.setattr(av, "codecs_available", {"h264", "mpeg4"})
    with pytest.raises(RunError, match=r"has no H\.264 encoder \(libx264\).*pip install [^\n]*$"):
        write_mp4(tmp_path / "clip.mp4", coloured(2, 16, 16), 8)


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    """Whatever was left in the memory that the encoder gets: of these frames four files in ten were others before."""
    random = np.random.default_rng(5)
    by_side = {side: random.integers(0, 256, (4, side, side, 3), dtype=np.uint8) for side in (16, 20)}
    contents: dict[int, set[bytes]] = {side: set() for side in by_side}
    for number in range(60):
        left = [random.integers(0, 256, int(random.integers(100, 200_000)), dtype=np.uint8) for _ in range(5)]
        if number % 7 == 0:
            write_mp4(tmp_path / "other.mp4", random.integers(0, 256, (3, 33, 50, 3), dtype=np.uint8), 8)
        for side, frames in by_side.items():
            write_mp4(tmp_path / "clip.mp4", frames, 8)
            contents[side].add((tmp_path / "clip.mp4").read_bytes())
    assert len(left) == 5
    assert {side: len(files) for side, files in contents.items()} == {16: 1, 20: 1}
