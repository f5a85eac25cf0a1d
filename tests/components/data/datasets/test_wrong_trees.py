"""Trees that are not those of the published sets: what is wrong is said, and what to do about it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.data.datasets.face_forensics import FaceForensics
from components.data.datasets.published import PublishedSet
from components.data.datasets.sky_timelapse import SkyTimelapse
from components.data.datasets.taichi_hd import TaichiHD
from components.data.datasets.ucf101 import UCF101
from registry.errors import SpecError
from tests.fixtures.made_videos import write_pictures


def empty(root: Path, *names: str) -> Path:
    """Empty files and, where a name ends with "/", folders below the root, which is returned."""
    root.mkdir(exist_ok=True)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).mkdir(exist_ok=True) if name.endswith("/") else (root / name).touch()
    return root


def refusal(dataset: Callable[[], PublishedSet]) -> str:
    with pytest.raises(SpecError) as raised:
        dataset().sources()
    return str(raised.value)


VIDEO = "v_Archery_g01_c01.avi"
TREES: dict[str, tuple[type[PublishedSet], tuple[str, ...], str, tuple[str, ...]]] = {
    # what is wrong: (data set, what there is, data.path below the folder, words that help)
    "official data_path": (
        FaceForensics, ("train/videos/a.mp4",), "train/videos", ("2 folders too low: give {here}.",)
    ),
    "one split": (SkyTimelapse, ("sky_train/v/",), "sky_train", ("one folder too low: give {here}.",)),
    "a class": (UCF101, (f"UCF-101/Archery/{VIDEO}",), "UCF-101/Archery", ("too low: give {here}/UCF-101.",)),
    "above": (UCF101, (f"UCF-101/Archery/{VIDEO}",), "", ("one folder too high: give {here}/UCF-101.",)),
    "above taichi": (TaichiHD, ("taichi-256/frames/train/",), "", ("too high: give {here}/taichi-256.",)),
    "split into folders": (
        UCF101, (f"train/Archery/{VIDEO}", f"test/Archery/{VIDEO}"), "",
        ("test, train are each such a tree", "video_folder"),
    ),
    "archive": (SkyTimelapse, ("sky_timelapse.zip",), "", ("archives that are not unpacked: sky_timelapse.zip",)),
    "archives in the tree": (
        FaceForensics, ("train/videos/part1.tar", "train/videos/part2.tar"), "", ("not unpacked: part1.tar, part2.tar",)
    ),
    "the archive itself": (UCF101, ("UCF101.rar",), "UCF101.rar", ("an archive: unpack it",)),
    "the list itself": (
        FaceForensics, ("train_list.txt",), "train_list.txt", ("a list of images for the official joint training",)
    ),
    "the list alone": (FaceForensics, ("train_list.txt",), "", ("holds train_list.txt", "videos are what is needed")),
    "images alone": (
        FaceForensics, ("train/images/a/1.jpg",), "", ("has train/images and no train/videos", "form: frames} reads")
    ),
    "frames for videos": (
        UCF101,
        ("Archery/v_Archery_g01_c01/1.jpg", "Archery/v_Archery_g01_c01/2.jpg"), "",
        ("folders of frames, such as Archery/v_Archery_g01_c01, where video files are expected", "form: frames} reads"),
    ),
    "videos for frames": (
        TaichiHD, ("frames/train/a.mp4",), "",
        ("files, such as frames/train/a.mp4, where folders of frames are expected", "form: videos} reads"),
    ),
    "loose frames": (TaichiHD, ("frames/train/1.png", "frames/train/2.png"), "", ("lie loose", "a folder of its own")),
    "mixed case": (SkyTimelapse, ("Sky_Train/v/",), "", ("has Sky_Train, where sky_train is expected", "rename it")),
    "mixed case below": (FaceForensics, ("train/Videos/",), "", ("has train/Videos, where train/videos is expected",)),
    "mixed case of a class": (
        UCF101, (f"Archery/{VIDEO}", "babyCrawling/v.avi"), "", ("it is spelled BabyCrawling", "rename it")
    ),
    "a strange folder": (UCF101, (f"Archery/{VIDEO}", "Archerry/v.avi"), "", ("not a class", "mean 'Archery'?")),
    "an empty class": (
        UCF101, (f"Archery/{VIDEO}", "BabyCrawling/"), "", ("folders without a video: BabyCrawling", "would shift")
    ),
    "an archive of a class": (
        UCF101, (f"Archery/{VIDEO}", "BabyCrawling/all.zip"), "", ("folders without a video: BabyCrawling",)
    ),
    "no class folders": (UCF101, (VIDEO,), "", (f"has no class folder; it holds {VIDEO}",)),
    "nothing": (FaceForensics, (), "", ("has no train/videos; it is empty",)),
    "no video": (FaceForensics, ("train/videos/",), "", ("train/videos: no video", "github.com/ondyari")),
}  # fmt: skip


@pytest.mark.parametrize("wrong", TREES)
def test_a_wrong_tree_is_explained(tmp_path: Path, wrong: str) -> None:
    dataset, names, path, words = TREES[wrong]
    here = empty(tmp_path / "set", *names)
    said = refusal(lambda: dataset(str(here / path), 256))
    for word in words:
        assert word.replace("{here}", str(here)) in said
    assert said.startswith(f"data.path: {here / path}: ")
    assert f"Expected of {dataset.part_name}: <path>/" in said


def test_missing_split_lists_are_said_to_be_published(tmp_path: Path) -> None:
    here = empty(tmp_path / "set", f"Archery/{VIDEO}", "ucfTrainTestlist/trainlist01.txt")
    said = refusal(lambda: UCF101(str(here), 256, split=1))
    assert said.startswith("data.dataset.split: 1 needs ucfTrainTestlist/testlist01.txt, below ")
    assert "UCF101TrainTestSplits-RecognitionTask.zip" in said


def test_nothing_is_searched_for_far_away(tmp_path: Path) -> None:
    """A tree two folders below is not looked for: the message says what is there."""
    here = empty(tmp_path / "set", "deep/deeper/sky_train/")
    assert "has no sky_train; it holds deep" in refusal(lambda: SkyTimelapse(str(here), 256))


def test_a_few_of_the_other_form_are_rejected_alone(tmp_path: Path) -> None:
    here = empty(tmp_path / "set", f"Archery/{VIDEO}")
    write_pictures(here / "Archery" / "frames", ["1.png", "2.png"])
    reasons = {source.path: source.reason for source in UCF101(str(here), 256).sources()}
    assert reasons == {
        f"Archery/{VIDEO}": "",
        "Archery/frames": "a folder of frames, where video files are expected",
    }


def test_a_path_that_is_missing_or_not_there_names_the_set() -> None:
    with pytest.raises(SpecError, match=r"data\.path: the dataset sky_timelapse needs the folder"):
        SkyTimelapse(None, 256)
    with pytest.raises(SpecError, match=r"data\.path: /nowhere: no such folder"):
        SkyTimelapse("/nowhere", 256)
