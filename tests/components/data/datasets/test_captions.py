"""Captions beside the videos: they reach the manifest, and what is wrong with their file is told by its line."""

from pathlib import Path

import pytest

from components.data.datasets.face_forensics import FaceForensics
from components.data.datasets.video_folder import VideoFolder
from components.data.prepare import prepare
from registry.errors import SpecError
from tests.fixtures.made_videos import gradient_frames, write_video


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    for seed, name in enumerate(("wave/1.avi", "wave/2.avi", "jump/3.avi")):
        write_video(root / name, gradient_frames(4, seed=seed))
    return root


def test_captions_reach_the_manifest_and_leave_the_digest_alone(videos: Path, tmp_path: Path) -> None:
    before = prepare(VideoFolder(str(videos), 32), tmp_path / "prepared")
    assert (before.captions([0, 1, 2]), before.manifest.captions_digest) == (["", "", ""], "")
    (videos / "captions.csv").write_text(
        'path,caption,author\n./wave/2.avi,"a woman, waving",x\njump/3.avi, someone jumps ,\ngone.avi,nothing,x\n'
    )
    prepared = prepare(VideoFolder(str(videos), 32), tmp_path / "prepared")
    assert prepared.captions([0, 1, 2]) == ["someone jumps", "", "a woman, waving"]
    assert prepared.rejected == [("gone.avi", "named in captions.csv, but there is none")]
    assert prepared.digest == before.digest
    digest = prepared.manifest.captions_digest
    (videos / "captions.csv").write_text("path,caption\nwave/2.avi,a man waving\n")
    again = prepare(VideoFolder(str(videos), 32), tmp_path / "prepared")
    assert (again.digest, again.captions([2])) == (before.digest, ["a man waving"])
    assert len({digest, again.manifest.captions_digest, ""}) == 3


def test_captions_go_with_a_split_csv(videos: Path, tmp_path: Path) -> None:
    (videos / "split.csv").write_text("path,split,label\nwave/1.avi,train,wave\nwave/2.avi,test,wave\n")
    (videos / "captions.csv").write_text("path,caption\nwave/2.avi,two\n")
    prepared = prepare(VideoFolder(str(videos), 32), tmp_path / "prepared")
    assert [(record.path, record.caption) for record in prepared.records] == [("wave/1.avi", ""), ("wave/2.avi", "two")]
    assert dict(prepared.rejected) == {"jump/3.avi": "not named in split.csv"}


def test_captions_of_a_published_set(tmp_path: Path) -> None:
    write_video(tmp_path / "train" / "videos" / "a.avi", gradient_frames(4))
    (tmp_path / "captions.csv").write_text("path,caption\ntrain/videos/a.avi,a face\n")
    assert [source.caption for source in FaceForensics(str(tmp_path), 256).sources()] == ["a face"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("path,captoin\na.avi,x\n", r"captions\.csv:1: no column 'caption'"),
        ("path,caption\na.avi,\n", r"captions\.csv:2: a\.avi has no caption"),
        ("path,caption\na.avi\n", r"captions\.csv:2: a\.avi has no caption"),
        ("path,caption\na.avi,x\n./a.avi,y\n", r"captions\.csv:3: \./a\.avi is named twice"),
        ("path,caption\n../a.avi,x\n", r"captions\.csv:2: \.\./a\.avi is not the path of a video below"),
        ("path,caption\n/a.avi,x\n", r"captions\.csv:2: /a\.avi is not the path"),
    ],
)
def test_a_wrong_file_names_the_line(videos: Path, text: str, told: str) -> None:
    (videos / "captions.csv").write_text(text)
    with pytest.raises(SpecError, match=told):
        VideoFolder(str(videos), 32).sources()
