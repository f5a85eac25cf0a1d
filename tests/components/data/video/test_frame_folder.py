"""Frame folders: order by number, gaps, damage, odd pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.data.video.frame_folder import FrameFolderReader, index_folder, pictures_of
from components.data.video.reader import VideoError, VideoIndex
from tests.fixtures.made_videos import write_pictures


@pytest.mark.parametrize(
    "names",
    [
        ["frame1.png", "frame2.png", "frame10.png"],
        ["v_2_0009.png", "v_1_0010.png", "v_1_0011.JPG"],
        ["7.png", "008.jpg", "9.bmp"],
        ["a1_x2.png", "a2_x2.png", "a10_x2.png"],
    ],
)
def test_order_is_that_of_the_frame_numbers(tmp_path: Path, names: list[str]) -> None:
    write_pictures(tmp_path / "v", names[::-1])
    assert [path.name for path in pictures_of(tmp_path / "v")] == names


def test_frames_and_chunks(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "v", [f"{k}.png" for k in range(7)])
    index = index_folder(folder)
    reader = FrameFolderReader(folder, index)
    assert [int(frame[0, 0, 0]) for frame in reader.frames([6, 0, 0, 3])] == [60, 0, 0, 30]
    np.testing.assert_array_equal(np.concatenate(list(reader.chunks(3))), reader.frames(range(7)))


def test_damaged_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "v", [f"{k}.png" for k in range(6)])
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:40])
    (folder / "4.png").write_bytes(b"")
    index = index_folder(folder)
    assert (index.frames, index.damaged) == (4, 2)
    reader = FrameFolderReader(folder, index)
    assert [int(frame[0, 0, 0]) for frame in reader.frames(range(4))] == [0, 10, 30, 50]


def test_names_that_read_like_a_list_of_names_leave_out_only_themselves(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "v", [f"{k:03d}.png" for k in range(6)])
    (folder / "x; damaged: 005.png").write_bytes(b"")
    index = index_folder(folder)
    assert (index.frames, index.left_out) == (6, ("x; damaged: 005.png",))
    again = VideoIndex.from_dict(json.loads(json.dumps(index.to_dict())))
    assert int(FrameFolderReader(folder, again).frames([5])[0, 0, 0, 0]) == 50


def test_notes_are_short(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "v", [f"{2 * k}.png" for k in range(1, 24)])
    for number in range(100, 112):
        (folder / f"{number}.png").write_bytes(b"")
    note = index_folder(folder).note
    assert note.startswith("gap: 3, 5, 7, 9, 11, 13, 15, 17, 19, 21 and 13 more; damaged: 100.png, 101.png, ")
    assert note.endswith("109.png and 2 more")


def test_gaps_are_listed(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "v", ["1.png", "2.png", "4.png", "9.png"])
    assert index_folder(folder).note == "gap: 3, 5 to 8"


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 90).save(tmp_path / "1.png")
    Image.new("RGBA", (8, 8), (90, 90, 90, 7)).save(tmp_path / "2.png")
    Image.new("P", (8, 8)).save(tmp_path / "3.png")
    frames = FrameFolderReader(tmp_path, index_folder(tmp_path)).frames([0, 1])
    assert (frames == 90).all()
    assert frames.shape == (2, 8, 8, 3)


def test_pictures_of_more_than_8_bits_are_left_out(tmp_path: Path) -> None:
    """Read as RGB they would be all white, or all black."""
    folder = tmp_path / "v"
    folder.mkdir()
    Image.fromarray(np.full((48, 64), 20_000, np.uint16)).save(folder / "1.png")
    Image.fromarray(np.full((48, 64), 0.5, np.float32)).save(folder / "2.tiff")
    with pytest.raises(VideoError, match=r"\(2 damaged\): .*1\.png: has more than 8 bits a channel; convert it"):
        index_folder(folder)
    write_pictures(folder, ["3.png", "4.png"])
    index = index_folder(folder)
    assert (index.frames, index.damaged, index.left_out) == (2, 2, ("1.png", "2.tiff"))
    assert [int(frame[0, 0, 0]) for frame in FrameFolderReader(folder, index).frames([0, 1])] == [0, 10]


def test_other_sizes_and_no_pictures_are_refused(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "v", ["1.png", "2.png"])
    Image.new("RGB", (10, 20)).save(folder / "3.png")
    with pytest.raises(VideoError, match=r"3\.png is 10x20, the pictures before it are 64x48"):
        index_folder(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="no picture"):
        index_folder(tmp_path / "empty")


def test_a_picture_that_changed_since_is_noticed(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "v", ["1.png", "2.png"])
    reader = FrameFolderReader(folder, index_folder(folder))
    Image.new("RGB", (10, 20)).save(folder / "2.png")
    with pytest.raises(VideoError, match="prepare again"):
        reader.frames([1])
