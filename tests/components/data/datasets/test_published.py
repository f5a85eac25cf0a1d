"""The four sets of the paper: what is found in their trees, its labels and splits, and what is said of the counts."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from components.data.datasets import remarks
from components.data.datasets.face_forensics import FaceForensics
from components.data.datasets.published import PublishedSet
from components.data.datasets.sky_timelapse import SkyTimelapse
from components.data.datasets.taichi_hd import TaichiHD
from components.data.datasets.ucf101 import CLASSES, UCF101
from components.data.manifest import VideoRecord
from components.data.prepare import Prepared, prepare
from registry.errors import SpecError
from tests.conftest import Golden
from tests.fixtures import made_sets
from tests.fixtures.made_sets import Clip, clips_of, write_frames
from tests.fixtures.made_videos import write_pictures, write_video


@pytest.fixture(scope="module")
def clip(request: pytest.FixtureRequest) -> Clip:
    return clips_of(request.config.getoption("--shared-data"))


def found(prepared: Prepared) -> list[tuple[str, str, str]]:
    return [(record.path, record.label, record.split) for record in prepared.records]


def record(split: str = "train", label: str = "", side: int = 256) -> VideoRecord:
    return VideoRecord("a", label, 0, split, 60, side, side, 25.0, "pyav", "", 0, "")


def told(dataset: PublishedSet, records: Sequence[VideoRecord]) -> str:
    return "\n".join(remarks(dataset, records))


def test_face_forensics_reads_the_videos_of_three_splits(tmp_path: Path, clip: Clip) -> None:
    dataset = FaceForensics(str(made_sets.face_forensics(tmp_path / "ffs", clip)), 256)
    prepared = prepare(dataset, tmp_path / "prepared")
    assert found(prepared) == [
        ("test/videos/e.avi", "", "test"),
        ("train/videos/a.avi", "", "train"),
        ("train/videos/b.avi", "", "train"),
        ("train/videos/c.avi", "", "train"),
        ("val/videos/d.avi", "", "val"),
    ]
    assert prepared.rejected == []
    said = told(dataset, prepared.records)
    assert "expected 704 train, 150 val, 150 test, found 3 train, 1 val, 1 test: a part of the set" in said
    assert "github.com/ondyari/FaceForensics" in said
    assert "train_list.txt is not read: the stills of joint training are frames of these videos" in said


def test_face_forensics_as_frames_reads_the_folders_of_images(tmp_path: Path, clip: Clip) -> None:
    root = made_sets.face_forensics(tmp_path / "ffs", clip)
    prepared = prepare(FaceForensics(str(root), 256, form="frames"), tmp_path / "prepared")
    assert found(prepared) == [("train/images/a", "", "train")]


def test_sky_timelapse_reads_clips_of_frames_at_any_depth(tmp_path: Path, clip: Clip) -> None:
    dataset = SkyTimelapse(str(made_sets.sky_timelapse(tmp_path / "sky", clip)), 256)
    prepared = prepare(dataset, tmp_path / "prepared")
    assert [record.path for record in prepared.records] == [
        "sky_test/x/x_1", "sky_train/v/v_1", "sky_train/v/v_2", "sky_train/w/w_1",
    ]  # fmt: skip
    assert Counter(record.split for record in prepared.records) == {"train": 3, "test": 1}
    said = told(dataset, prepared.records)
    assert "found 1 test, 3 train videos; its publishers state no count" in said
    assert "github.com/weixiong-ur/mdgan" in said


def test_frames_are_in_the_order_of_the_integer_that_the_official_code_reads(tmp_path: Path) -> None:
    train = tmp_path / "sky" / "sky_train"
    names = ["v_frames_2.png", "v_frames_10.png", "v_frames_0011.png"]
    write_pictures(train / "v", names[::-1])  # a name's place is the brightness: 20, 10, 0
    write_pictures(train / "odd", ["v_2.9.png", "v_3.1.png"])  # 2, 3 officially, 9, 1 by the last number
    prepared = prepare(SkyTimelapse(str(train.parent), 256), tmp_path / "prepared")
    assert [record.path for record in prepared.records] == ["sky_train/v"]
    assert [int(frame[0, 0, 0]) for frame in prepared.reader(0).frames([0, 1, 2])] == [20, 10, 0]
    assert dict(prepared.rejected)["sky_train/odd"].startswith("v_3.1.png is frame 3 to the official code and 1")


def test_taichi_says_where_frames_are_not_256(tmp_path: Path, clip: Clip) -> None:
    root = made_sets.taichi_hd(tmp_path / "taichi", clip)
    dataset = TaichiHD(str(root), 256)
    prepared = prepare(dataset, tmp_path / "prepared")
    assert Counter(record.split for record in prepared.records) == {"train": 3, "test": 1}
    assert "256x256" not in told(dataset, prepared.records)
    write_frames(root / "frames" / "train" / "small", clip(0))
    prepared = prepare(dataset, tmp_path / "prepared")
    said = told(dataset, prepared.records)
    assert "1 of 5 videos are not 256x256 (frames/train/small is 64x64)" in said
    assert "expected 3,049 train, 285 test, found 4 train, 1 test: a part of the set" in said


@pytest.mark.parametrize("dataset", [SkyTimelapse, TaichiHD])
def test_a_file_may_stand_in_place_of_each_folder_of_frames(
    tmp_path: Path, clip: Clip, dataset: type[PublishedSet]
) -> None:
    place = dataset.places["videos"]["train"]
    write_video(tmp_path / "set" / place / "a" / "a_1.mp4", clip(0))
    prepared = prepare(dataset(str(tmp_path / "set"), 256, form="videos"), tmp_path / "prepared")
    assert found(prepared) == [(f"{place}/a/a_1.mp4", "", "train")]


def test_ucf101_trains_on_all_and_keeps_the_class_of_the_folder(tmp_path: Path, clip: Clip) -> None:
    dataset = UCF101(str(made_sets.ucf101(tmp_path / "UCF-101", clip)), 256)
    prepared = prepare(dataset, tmp_path / "prepared")
    assert found(prepared) == [
        ("HammerThrow/v_HammerThrow_g01_c01.avi", "HammerThrow", "train"),
        ("HammerThrow/v_HammerThrow_g08_c01.avi", "HammerThrow", "train"),
        ("Hammering/v_Hammering_g01_c01.avi", "Hammering", "train"),
        ("Hammering/v_Hammering_g08_c01.avi", "Hammering", "train"),
        ("HandstandPushups/v_HandStandPushups_g01_c01.avi", "HandstandPushups", "train"),
        ("HandstandPushups/v_HandStandPushups_g08_c01.avi", "HandstandPushups", "train"),
    ]
    assert prepared.labels(range(6)) == [0, 0, 1, 1, 2, 2]  # HammerThrow before Hammering
    said = told(dataset, prepared.records)
    assert "expected 13,320 videos in 101 classes, found 6 in 3: a part of the set" in said
    assert "Missing classes: ApplyEyeMakeup, ApplyLipstick, Archery and 95 more" in said
    assert "www.crcv.ucf.edu/data/UCF101.php" in said


def test_ucf101_labels_are_those_of_the_official_code(golden: Golden) -> None:
    official = golden.json("frame_sampling.json")["ucf101_index_from_sorted_folder_names"]
    assert {name: rank for rank, name in enumerate(CLASSES)} == official
    assert list(CLASSES) == sorted(CLASSES)


@pytest.mark.parametrize("beside", [False, True])
def test_an_official_split_of_ucf101(tmp_path: Path, clip: Clip, beside: bool) -> None:
    root = made_sets.ucf101(tmp_path / "UCF-101", clip)
    write_video(root / "Hammering" / "v_Hammering_g09_c01.avi", clip(1))  # in no list
    if beside:
        (root / "ucfTrainTestlist").rename(tmp_path / "ucfTrainTestlist")
    dataset = UCF101(str(root), 256, split=1)
    prepared = prepare(dataset, tmp_path / "prepared")
    splits = {record.path.split("/")[1]: record.split for record in prepared.records}
    assert splits == {
        "v_HammerThrow_g01_c01.avi": "test",
        "v_HammerThrow_g08_c01.avi": "train",
        "v_Hammering_g01_c01.avi": "test",
        "v_Hammering_g08_c01.avi": "train",
        "v_HandStandPushups_g01_c01.avi": "test",
        "v_HandStandPushups_g08_c01.avi": "train",
    }
    assert prepared.rejected == [("Hammering/v_Hammering_g09_c01.avi", "in neither list of split 1")]
    assert "split 1: expected 9,537 train, 3,783 test, found 3 train, 3 test" in told(dataset, prepared.records)
    assert prepared.folder != prepare(UCF101(str(root), 256), tmp_path / "prepared").folder


def test_lists_that_spell_pushups_as_the_files_do_say_the_same(tmp_path: Path, clip: Clip) -> None:
    root = made_sets.ucf101(tmp_path / "UCF-101", clip)
    for file in (root / "ucfTrainTestlist").iterdir():
        file.write_text(file.read_text().replace("HandStandPushups_g", "HandstandPushups_g"))
    splits = [source.split for source in UCF101(str(root), 256, split=1).sources()]
    assert splits == ["test", "train"] * 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("v_Hammering_g08_c01.mp4 36", r"trainlist01\.txt:4: .*is not <class>/<video>\.avi"),
        ("Hammering/v_Hammering_g01_c01.avi 36", r"testlist01\.txt:2: Hammering/v_Hammering_g01_c01\.avi is in both"),
    ],
)
def test_a_wrong_line_of_a_list_is_named(tmp_path: Path, clip: Clip, line: str, words: str) -> None:
    root = made_sets.ucf101(tmp_path / "UCF-101", clip)
    with open(root / "ucfTrainTestlist" / "trainlist01.txt", "a") as file:
        file.write(f"{line}\n")
    with pytest.raises(SpecError, match=words):
        UCF101(str(root), 256, split=1)


def test_ucf101_as_frames(tmp_path: Path, clip: Clip) -> None:
    write_frames(tmp_path / "set" / "Archery" / "v_Archery_g01_c01", clip(0))
    prepared = prepare(UCF101(str(tmp_path / "set"), 256, form="frames"), tmp_path / "prepared")
    assert found(prepared) == [("Archery/v_Archery_g01_c01", "Archery", "train")]


def test_the_whole_of_ucf101_is_listed_without_a_look_inside(tmp_path: Path) -> None:
    for number in range(13_320):
        name = CLASSES[number % 101]
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / f"v_{name}_g{number // 101:03d}_c01.avi").touch()
    dataset = UCF101(str(tmp_path), 256)
    sources = dataset.sources()
    assert (len(sources), len({source.label for source in sources})) == (13_320, 101)
    records = [record(label=source.label) for source in sources]
    assert told(dataset, records) == "ucf101: 13,320 videos in 101 classes, as published"
    assert "more than the set" in told(dataset, [*records, records[0]])


def test_a_whole_set_and_one_with_strays_are_said_to_be_that(tmp_path: Path) -> None:
    (tmp_path / "train" / "videos").mkdir(parents=True)
    dataset = FaceForensics(str(tmp_path), 256)
    whole = [record(split) for split, count in dataset.counts.items() for _ in range(count)]
    assert told(dataset, whole) == "face_forensics: 704 train, 150 val, 150 test videos, as published"
    assert "more than were published" in told(dataset, [*whole, record()])
