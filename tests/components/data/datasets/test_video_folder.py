"""Splits of a user's folder: which folders are splits, and where that is not plain."""

from pathlib import Path

import pytest

from components.data.datasets.video_folder import VideoFolder
from registry.errors import SpecError


def tree(root: Path, *names: str) -> VideoFolder:
    """A folder of videos that nobody has looked into."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return VideoFolder(str(root), 32)


@pytest.mark.parametrize("splits", [("test", "train", "val"), ("train", "val"), ("test", "train")])
def test_train_val_and_test_are_splits(tmp_path: Path, splits: tuple[str, ...]) -> None:
    found = tree(tmp_path, *(f"{split}/run/a.mp4" for split in splits)).sources()
    assert [(source.path, source.split, source.label) for source in found] == [
        (f"{split}/run/a.mp4", split, "run") for split in splits
    ]


def test_splits_beside_another_folder_are_refused_without_a_split_csv(tmp_path: Path) -> None:
    names = ("more/c.mp4", "test/run/b.mp4", "train/run/a.mp4")
    with pytest.raises(SpecError, match=r"no other folders lie beside them, and there is more; .* in a split\.csv"):
        tree(tmp_path, *names).sources()
    (tmp_path / "split.csv").write_text("".join(["path,split\n", *(f"{name},train\n" for name in names)]))
    assert [(source.path, source.split) for source in tree(tmp_path).sources()] == [(name, "train") for name in names]
