"""The manifest of a user's folder: what is used, what is rejected and why, and what a second call does."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from components.data.datasets import Inspected
from components.data.datasets.moving_shapes import MovingShapes
from components.data.datasets.video_folder import VideoFolder
from components.data.prepare import Prepared, _line, folder_of, prepare
from components.data.video.reader import PyAVReader
from registry.errors import RunError, SpecError
from tests.fixtures.made_videos import gradient_frames, write_pictures, write_video


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two classes: two files of 20 and 9 frames, a frame folder of 12, and strays."""
    root = tmp_path / "videos"
    write_video(root / "run" / "long.avi", gradient_frames(20))
    write_video(root / "run" / "short.avi", gradient_frames(9, seed=1))
    write_pictures(root / "jump" / "pictures", [f"{k}.png" for k in range(12)])
    (root / "jump" / "notes.txt").write_text("not a video")
    (root / "run" / ".hidden").write_text("passed over")
    return root


class Counting(VideoFolder):
    """A video folder that remembers what was looked into."""

    looked_into: list[str]

    def inspect(self, paths: Sequence[str], workers: int = 1) -> Iterator[Inspected]:
        self.looked_into = sorted(paths)
        return super().inspect(paths, workers)


def test_manifest_and_rejected(videos: Path, tmp_path: Path) -> None:
    prepared = prepare(VideoFolder(str(videos), 32), tmp_path / "prepared", needs=[16, 10])
    rows = [(r.path, r.label, r.class_rank, r.split, r.frames, r.height, r.width) for r in prepared.records]
    assert rows == [
        ("jump/pictures", "jump", 0, "train", 12, 48, 64),
        ("run/long.avi", "run", 1, "train", 20, 48, 64),
        ("run/short.avi", "run", 1, "train", 9, 48, 64),
    ]
    rejected = dict(prepared.rejected)
    assert set(rejected) == {"jump/notes.txt", "jump/pictures", "run/short.avi"}
    assert rejected["jump/pictures"] == "too short: 12 frames, a clip needs 16"
    assert rejected["run/short.avi"] == "too short: 9 frames, a clip needs 10 or 16"
    assert prepared.videos("train", 10) == [0, 1]
    assert prepared.videos("train", 16) == [1]
    summary = json.loads((prepared.folder / "manifest.json").read_text())
    assert (summary["classes"], summary["videos"], summary["frames"]) == (["jump", "run"], 3, 41)
    assert summary["digest"] == prepared.digest


def test_second_call_looks_only_into_what_changed(videos: Path, tmp_path: Path) -> None:
    root = tmp_path / "prepared"
    first = Counting(str(videos), 32)
    digest = prepare(first, root).digest
    assert first.looked_into == ["jump/notes.txt", "jump/pictures", "run/long.avi", "run/short.avi"]
    second = Counting(str(videos), 32)
    assert prepare(second, root).digest == digest
    assert not hasattr(second, "looked_into")
    write_video(videos / "run" / "short.avi", gradient_frames(11, seed=2))
    (videos / "jump" / "notes.txt").unlink()
    third = Counting(str(videos), 32)
    prepared = prepare(third, root)
    assert third.looked_into == ["run/short.avi"]
    assert prepared.digest != digest
    assert [record.frames for record in prepared.records] == [12, 20, 11]
    assert "jump/notes.txt" not in dict(prepared.rejected)


def test_a_killed_prepare_goes_on_where_it_stopped(videos: Path, tmp_path: Path) -> None:
    root = tmp_path / "prepared"

    def stop_after_two(label: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    dataset = Counting(str(videos), 32)
    with pytest.raises(KeyboardInterrupt):
        prepare(dataset, root, progress=stop_after_two)
    index = folder_of(dataset, root) / "index.jsonl"
    index.write_text(index.read_text() + '\n{"version": 1, "path": "run/lo')  # and the last line was cut short
    again = Counting(str(videos), 32)
    prepared = prepare(again, root)
    assert len(again.looked_into) == 2
    assert len(prepared.records) == 3


def test_trust_in_decord_by_earlier_rules_is_taken_back_without_decoding_again(videos: Path, tmp_path: Path) -> None:
    """A data set prepared earlier keeps its frames and its digest; only the reader of its trusted videos is PyAV."""
    root = tmp_path / "prepared"
    prepared = prepare(VideoFolder(str(videos), 32), root)
    before = [next(iter(prepared.reader(video).chunks(50))) for video in range(3)]
    index = prepared.folder / "index.jsonl"
    entries = [json.loads(line) for line in index.read_text().splitlines()]
    for entry in entries:  # as an earlier version wrote them
        del entry["decord_rules"], entry["checksum"]
        if entry["path"] == "run/long.avi":
            entry["index"]["reader"] = "decord"
    index.write_text("".join(f"{_line(entry)}\n" for entry in entries))
    earlier = Prepared(VideoFolder(str(videos), 32), prepared.folder)
    assert isinstance(earlier.reader(1), PyAVReader)
    again = Counting(str(videos), 32)
    assert prepare(again, root).digest == prepared.digest
    assert not hasattr(again, "looked_into")
    for video, frames in enumerate(before):
        np.testing.assert_array_equal(next(iter(earlier.reader(video).chunks(50))), frames)
    assert [record.reader for record in Prepared(again, prepared.folder).records][1] == "pyav"


def test_a_manifest_that_is_not_what_prepare_wrote_is_told(videos: Path, tmp_path: Path) -> None:
    dataset, root = VideoFolder(str(videos), 32), tmp_path / "prepared"
    folder = prepare(dataset, root).folder
    whole = (folder / "manifest.csv").read_bytes()
    assert Prepared(dataset, folder).records
    for damaged in (whole.replace(b",20,", b",21,"), whole[:-1], b"\xff", b""):
        (folder / "manifest.csv").write_bytes(damaged)
        with pytest.raises(RunError, match=r"manifest\.csv: is not what prepare wrote .*; run prepare again"):
            Prepared(dataset, folder)
    (folder / "manifest.json").write_bytes(b"\0")
    with pytest.raises(RunError, match="run prepare again"):
        Prepared(dataset, folder)
    assert prepare(dataset, root).folder == folder
    assert (folder / "manifest.csv").read_bytes() == whole


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"[1]", b"[" * 100_000, b'{"version": 2}'])
def test_damaged_lines_of_the_index_are_passed_over(videos: Path, tmp_path: Path, damage: bytes) -> None:
    root = tmp_path / "prepared"
    index = prepare(VideoFolder(str(videos), 32), root).folder / "index.jsonl"
    whole = index.read_bytes()
    index.write_bytes(damage + b"\n" + whole[whole.index(b"\n") + 1 :])
    again = Counting(str(videos), 32)
    prepare(again, root)
    assert again.looked_into == ["jump/notes.txt"]
    assert index.read_bytes() == whole


def test_needs_of_earlier_calls_stay_listed(videos: Path, tmp_path: Path) -> None:
    root = tmp_path / "prepared"
    prepare(VideoFolder(str(videos), 32), root, needs=[16])
    prepared = prepare(VideoFolder(str(videos), 32), root, needs=[10])
    assert dict(prepared.rejected)["run/short.avi"] == "too short: 9 frames, a clip needs 10 or 16"


def test_no_video_that_is_long_enough_says_so(videos: Path, tmp_path: Path) -> None:
    prepared = prepare(VideoFolder(str(videos), 32), tmp_path / "prepared", needs=[46])
    with pytest.raises(RunError, match="46 frames that a clip needs; the longest of 3 has 20"):
        prepared.videos("train", 46)
    with pytest.raises(RunError, match="no video in the split 'test'; splits that have videos: train"):
        prepared.videos("test")


def test_nothing_readable_says_why(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    root.mkdir()
    (root / "a.mp4").write_bytes(b"")
    with pytest.raises(RunError, match=r"no readable video(.|\n)*a\.mp4: empty file"):
        prepare(VideoFolder(str(root), 32), tmp_path / "prepared")


def test_a_file_that_changed_since_is_noticed(videos: Path, tmp_path: Path) -> None:
    prepared = prepare(VideoFolder(str(videos), 32), tmp_path / "prepared")
    write_video(videos / "run" / "long.avi", gradient_frames(10, seed=4))
    with pytest.raises(RunError, match=r"run/long\.avi: changed since the dataset was prepared"):
        prepared.reader(1)
    (videos / "run" / "long.avi").unlink()
    with pytest.raises(RunError, match="is gone"):
        prepared.reader(1)


def test_split_csv(videos: Path, tmp_path: Path) -> None:
    (videos / "split.csv").write_text(
        "path,label,split\nrun/long.avi,fast,test\njump/pictures,slow,train\nrun/gone.avi,fast,train\n"
    )
    prepared = prepare(VideoFolder(str(videos), 32), tmp_path / "prepared")
    assert [(r.path, r.label, r.split) for r in prepared.records] == [
        ("jump/pictures", "slow", "train"),
        ("run/long.avi", "fast", "test"),
    ]
    assert dict(prepared.rejected) == {
        "jump/notes.txt": "not named in split.csv",
        "run/gone.avi": "named in split.csv, but there is none",
        "run/short.avi": "not named in split.csv",
    }
    assert prepare(VideoFolder(str(videos), 32, split_csv=""), tmp_path / "prepared").folder != prepared.folder


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,split\na.avi,train\n", "split.csv:1: no column 'path'"),
        ("path,split\na.avi,\n", "split.csv:2: a.avi has no split"),
        ("path,split\na.avi,train\na.avi,test\n", "split.csv:3: a.avi is named twice"),
        ("path,split\n../a.avi,train\n", r"split.csv:2: \.\./a.avi is not the path of a video below"),
        ("path,split\nrun/../../a.avi,train\n", r"split.csv:2: run/\.\./\.\./a.avi is not the path"),
        ("path,split\n/a.avi,train\n", "split.csv:2: /a.avi is not the path"),
        ("path,split\n.,train\n", r"split.csv:2: \. is not the path"),
    ],
)
def test_wrong_split_csv_names_the_line(videos: Path, text: str, told: str) -> None:
    (videos / "split.csv").write_text(text)
    with pytest.raises(SpecError, match=told):
        VideoFolder(str(videos), 32).sources()


def test_train_and_test_folders_are_splits(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    for name in ("train/b/1.avi", "train/a/1.avi", "test/a/2.avi"):
        write_video(root / name, gradient_frames(4))
    prepared = prepare(VideoFolder(str(root), 32), tmp_path / "prepared")
    assert [(r.label, r.split) for r in prepared.records] == [("a", "test"), ("a", "train"), ("b", "train")]


def test_videos_directly_below_have_no_class_and_may_not_mix_with_classes(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    write_video(root / "1.avi", gradient_frames(4))
    prepared = prepare(VideoFolder(str(root), 32), tmp_path / "prepared")
    assert (prepared.classes, prepared.labels([0]), prepared.splits) == ([], [0], ["train"])
    write_video(root / "a" / "2.avi", gradient_frames(4))
    prepared = prepare(VideoFolder(str(root), 32), tmp_path / "prepared")
    assert [record.path for record in prepared.records] == ["a/2.avi"]
    assert dict(prepared.rejected) == {"1.avi": "in no class folder, while other videos are"}


def test_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "videos"
    names = [
        "-dash.avi",
        "a:b.avi",
        "carriage\rreturn.avi",
        "file:c.avi",
        "100% %03d.avi",
        '名前 é,"q".avi',
        "line\nbreak.avi",
        "no_ending",
    ]
    for name in names:
        video = write_video(tmp_path / "one.avi", gradient_frames(4))
        root.mkdir(exist_ok=True)
        video.rename(root / name)
    monkeypatch.chdir(root)
    prepared = prepare(VideoFolder(".", 32), tmp_path / "prepared")
    assert [record.path for record in prepared.records] == sorted(names)
    assert all(prepared.reader(video).frames([3, 0]).shape == (2, 48, 64, 3) for video in range(len(names)))


def test_a_name_that_is_not_utf_8_is_rejected(videos: Path, tmp_path: Path) -> None:
    with open(os.fsencode(videos / "run") + b"/caf\xe9.avi", "wb") as file:
        file.write(b"something")
    prepared = prepare(VideoFolder(str(videos), 32), tmp_path / "prepared")
    assert dict(prepared.rejected)["run/caf\\udce9.avi"] == "its name is not UTF-8"
    assert len(prepared.records) == 3


def test_links_pipes_and_closed_folders_do_not_stop_it(videos: Path, tmp_path: Path) -> None:
    (videos / "run" / "loop").symlink_to(videos)
    (videos / "run" / "broken.avi").symlink_to(videos / "nowhere.avi")
    os.mkfifo(videos / "run" / "pipe.avi")
    prepared = prepare(VideoFolder(str(videos), 32), tmp_path / "prepared")
    assert len(prepared.records) == 3
    assert {"run/broken.avi", "run/pipe.avi"} <= set(dict(prepared.rejected))


def test_wrong_paths_name_the_key(tmp_path: Path) -> None:
    for path in (None, str(tmp_path / "nowhere")):
        with pytest.raises(SpecError, match=r"data\.path"):
            VideoFolder(path, 32)
    with pytest.raises(SpecError, match="split_csv"):
        VideoFolder(str(tmp_path), 32, split_csv="nowhere.csv")


def test_not_prepared_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run prepare first"):
        Prepared(MovingShapes(None, 16), tmp_path)


def test_frame_folders_by_earlier_rules_are_indexed_again_and_videos_are_not(videos: Path, tmp_path: Path) -> None:
    root = tmp_path / "prepared"
    prepared = prepare(VideoFolder(str(videos), 32), root)
    index = prepared.folder / "index.jsonl"
    entries = [json.loads(line) for line in index.read_text().splitlines()]
    for entry in entries:  # as an earlier version wrote them
        del entry["picture_rules"], entry["checksum"]
    index.write_text("".join(f"{_line(entry)}\n" for entry in entries))
    again = Counting(str(videos), 32)
    assert prepare(again, root).digest == prepared.digest
    assert again.looked_into == ["jump/pictures"]
