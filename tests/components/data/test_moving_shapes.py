"""The made-up set: repeatable, in any order, and labelled by what can be seen."""

import numpy as np
import pytest

from components.data.datasets import mirrored_labels
from components.data.datasets.moving_shapes import DIRECTIONS, MovingShapes
from components.data.video.reader import VideoIndex
from registry.errors import SpecError

LENGTH = 12


def _frames(dataset: MovingShapes, path: str, indices: list[int]) -> np.ndarray:
    (found,) = dataset.inspect([path])
    assert isinstance(found.index, VideoIndex)
    return dataset.reader(path, found.index).frames(indices)


@pytest.fixture(scope="module")
def shapes() -> MovingShapes:
    return MovingShapes(None, 32, videos=16, length=LENGTH, classes=4, seed=3)


def test_same_pixels_whatever_was_read_before(shapes: MovingShapes) -> None:
    again = MovingShapes(None, 32, videos=16, length=LENGTH, classes=4, seed=3)
    paths = [source.path for source in shapes.sources()]
    forward = [_frames(shapes, path, list(range(LENGTH))) for path in paths]
    backward = [_frames(again, path, list(range(LENGTH))[::-1])[::-1] for path in reversed(paths)][::-1]
    np.testing.assert_array_equal(np.stack(forward), np.stack(backward))
    assert len({frames.tobytes() for frames in forward}) == len(paths)


def test_direction_is_the_label(shapes: MovingShapes) -> None:
    grid = np.arange(32) + 0.5
    for source in shapes.sources():
        first, last = _frames(shapes, source.path, [0, LENGTH - 1]).sum(-1).astype(float)
        x, y = (last.sum(0) @ grid / last.sum() - first.sum(0) @ grid / first.sum(),
                last.sum(1) @ grid / last.sum() - first.sum(1) @ grid / first.sum())  # fmt: skip
        along = np.array([x, y]) @ np.array(DIRECTIONS[source.label])
        assert along > 16
        assert abs(abs(x) + abs(y) - along) < 1.0  # starts and ends at the same place across the way


def test_a_mirrored_clip_moves_as_its_label_says(shapes: MovingShapes) -> None:
    """The way of the mirrored picture is that of the class that the set names for it."""
    grid, mirrored = np.arange(32) + 0.5, shapes.mirrored_labels()
    for source in shapes.sources():
        first, last = _frames(shapes, source.path, [0, LENGTH - 1])[:, :, ::-1].sum(-1).astype(float)
        x, y = (last.sum(axis) @ grid / last.sum() - first.sum(axis) @ grid / first.sum() for axis in (0, 1))
        assert np.array([x, y]) @ np.array(DIRECTIONS[mirrored.get(source.label, source.label)]) > 16


def test_mirroring_is_refused_where_the_other_direction_is_no_class() -> None:
    assert MovingShapes(None, 16, classes=1).mirrored_labels() == {}  # up alone
    for classes in (2, 3):
        with pytest.raises(SpecError, match=r"data\.flip: a mirrored clip of moves_left is one of moves_right"):
            MovingShapes(None, 16, classes=classes).mirrored_labels()


def test_a_dataset_that_says_nothing_of_mirroring_is_not_mirrored() -> None:
    with pytest.raises(SpecError, match=r"data\.flip: the dataset Silent does not say"):
        mirrored_labels(type("Silent", (), {})())


def test_a_chunk_is_the_frames_of_its_numbers(shapes: MovingShapes) -> None:
    path = shapes.sources()[0].path
    (found,) = shapes.inspect([path])
    assert found.index is not None
    reader = shapes.reader(path, found.index)
    np.testing.assert_array_equal(np.concatenate(list(reader.chunks(5))), reader.frames(range(LENGTH)))


def test_splits_and_seeds() -> None:
    dataset = MovingShapes(None, 16, videos=20, length=4, test_fraction=0.3)
    splits = [(source.label, source.split) for source in dataset.sources()]
    assert splits.count(("moves_up", "test")) == splits.count(("moves_left", "test")) == 3
    other = MovingShapes(None, 16, videos=20, length=4, seed=1)
    path = dataset.sources()[0].path
    assert (_frames(dataset, path, [0]) != _frames(other, path, [0])).any()
    hashes = [next(iter(d.inspect([path]))).index for d in (dataset, other)]
    assert hashes[0] is not None
    assert hashes[1] is not None
    assert hashes[0].sha256 != hashes[1].sha256


def test_wrong_settings_name_the_key() -> None:
    with pytest.raises(SpecError, match=r"data\.path"):
        MovingShapes("/videos", 32)
    with pytest.raises(SpecError, match=r"data\.dataset\.classes"):
        MovingShapes(None, 32, classes=5)
