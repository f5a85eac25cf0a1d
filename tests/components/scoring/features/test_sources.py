"""Where videos come from: arrays of clips, and prepared folders of video files and frame folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.data.datasets.video_folder import VideoFolder
from components.data.prepare import prepare
from components.scoring.features.clip_selection import Video
from components.scoring.features.sources import ArrayVideos, PreparedVideos, one_size
from registry.errors import RunError
from tests.fixtures.made_videos import gradient_frames, write_video

FRAMES, SIDE = 4, 16


def clip_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (FRAMES, SIDE, SIDE, 3), np.uint8)


def test_different_sizes_are_refused_with_both_named() -> None:
    small, wide = Video(0, "a.mp4", "a", 9, 32, 32, "video"), Video(1, "b.mp4", "b", 9, 32, 48, "video")
    assert one_size([("real", [small]), ("fake", [small])], None) == (32, 32)
    assert one_size([("real", [small, wide])], 64) == (64, 64)
    with pytest.raises(RunError, match=r"a\.mp4 \(real\) is 32x32, b\.mp4 \(fake\) is 48x32.*resolution=…"):
        one_size([("real", [small]), ("fake", [wide])], None)


# ---------------------------------------------------------------- clips in arrays


def write_arrays(folder: Path) -> np.ndarray:
    clips = np.stack([clip_of(k) for k in range(5)])
    np.save(folder / "clips-000000-000003.npy", clips[:3])
    np.save(folder / "clips-000003-000004.npy", clips[3:4])
    np.save(folder / "single.npy", clips[4])
    return clips


def test_arrays_are_videos(tmp_path: Path) -> None:
    clips = write_arrays(tmp_path)
    videos = ArrayVideos(tmp_path)
    assert [video.number for video in videos.listed] == list(range(5))
    assert len({video.name for video in videos.listed}) == len({video.content for video in videos.listed}) == 5
    assert {(v.frames, v.height, v.width, v.stored) for v in videos.listed} == {(FRAMES, SIDE, SIDE, "raw")}
    for video in videos.listed:
        assert np.array_equal(videos.read(video, [2, 0]), clips[video.number][[2, 0]])


def test_arrays_that_cannot_be_used_are_listed(tmp_path: Path) -> None:
    write_arrays(tmp_path)
    before = ArrayVideos(tmp_path).digest
    (tmp_path / "broken.npy").write_bytes(b"no array")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "floats.npy", np.zeros((2, FRAMES, 8, 8, 3), np.float32))
    np.save(tmp_path / "grey.npy", np.zeros((2, FRAMES, 8, 8, 1), np.uint8))
    videos = ArrayVideos(tmp_path)
    assert [name for name, _ in videos.rejected] == ["broken.npy", "empty.npy", "floats.npy", "grey.npy"]
    assert len(videos.listed) == 5
    assert videos.digest == before
    for name in ("clips-000000-000003.npy", "clips-000003-000004.npy", "single.npy"):
        (tmp_path / name).unlink()
    with pytest.raises(RunError, match=r"no clips; 4 files cannot be used\n  broken\.npy: cannot be read"):
        ArrayVideos(tmp_path)


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    clips = write_arrays(tmp_path)
    before = ArrayVideos(tmp_path).digest
    clips[4, 0, 0, 0, 0] ^= 1
    np.save(tmp_path / "single.npy", clips[4])
    assert ArrayVideos(tmp_path).digest != before


def test_an_array_that_vanishes_is_told(tmp_path: Path) -> None:
    write_arrays(tmp_path)
    videos = ArrayVideos(tmp_path)
    last = videos.listed[4]
    (tmp_path / "single.npy").unlink()
    with pytest.raises(RunError, match=r"single\.npy: cannot be read: .*changed while it was scored"):
        videos.read(last, [0])


# ---------------------------------------------------------------- prepared folders


def write_frames(folder: Path, frames: np.ndarray, ending: str) -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:03d}.{ending}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos in two splits: a video file and a folder of JPEG frames, a folder of PNG frames; and a stray file."""
    root = tmp_path_factory.mktemp("folder") / "videos"
    write_video(root / "train" / "file.mp4", gradient_frames(9, 32, 48, seed=1))
    write_frames(root / "train" / "jpegs", gradient_frames(8, 32, 48, seed=2), "JPG")
    write_frames(root / "test" / "pngs", gradient_frames(7, 32, 48, seed=3), "png")
    (root / "train" / "stray.mp4").write_bytes(b"no video")
    return root


def opened(folder: Path, runs: Path, split: str, only: list[int] | None = None) -> PreparedVideos:
    return PreparedVideos(prepare(VideoFolder(str(folder), 0, class_folders=False), runs), split, only)


def test_prepared_videos_say_how_they_are_stored(folder: Path, tmp_path: Path) -> None:
    videos = opened(folder, tmp_path, "all")
    about = {video.name: (video.frames, video.height, video.width, video.stored) for video in videos.listed}
    assert about == {
        "test/pngs": (7, 32, 48, "raw"),
        "train/file.mp4": (9, 32, 48, "video"),
        "train/jpegs": (8, 32, 48, "jpeg"),
    }
    assert videos.name == str(folder)
    ((name, reason),) = videos.rejected
    assert (name, bool(reason)) == ("train/stray.mp4", True)

    by_name = {video.name: video for video in videos.listed}
    frames = gradient_frames(7, 32, 48, seed=3)
    assert np.array_equal(videos.read(by_name["test/pngs"], [6, 0, 3]), frames[[6, 0, 3]])
    jpeg = np.asarray(Image.open(folder / "train" / "jpegs" / "002.JPG"))
    assert np.array_equal(videos.read(by_name["train/jpegs"], [2])[0], jpeg)

    train, test = opened(folder, tmp_path, "train"), opened(folder, tmp_path, "test")
    assert [video.name for video in train.listed] == ["train/file.mp4", "train/jpegs"]
    assert [video.name for video in test.listed] == ["test/pngs"]
    one = opened(folder, tmp_path, "all", only=[by_name["train/jpegs"].number])
    assert [video.name for video in one.listed] == ["train/jpegs"]
    assert len({of.digest for of in (videos, train, test, one)}) == 4
    with pytest.raises(RunError):
        opened(folder, tmp_path, "validation")


def test_a_prepared_video_that_changed_is_told(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "videos"
    write_frames(root / "a", gradient_frames(4, 16, 16), "png")
    write_frames(root / "b", gradient_frames(4, 16, 16, seed=1), "png")
    videos = opened(root, tmp_path / "runs", "all")
    before = videos.digest
    (root / "a" / "001.png").unlink()
    with pytest.raises(RunError, match="a: changed since the dataset was prepared; run prepare again"):
        videos.read(videos.listed[0], [0])
    assert videos.read(videos.listed[1], [0]).shape == (1, 16, 16, 3)
    again = opened(root, tmp_path / "runs", "all")
    assert again.digest != before
    assert again.listed[0].frames == 3
