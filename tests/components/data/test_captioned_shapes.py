"""The set that captions itself: repeatable, and each caption says what can be measured in the video."""

from pathlib import Path

import numpy as np
import pytest

from components.data.datasets import mirrored_labels
from components.data.datasets.captioned_shapes import CaptionedShapes
from components.data.datasets.moving_digits import MovingDigits
from components.data.datasets.moving_shapes import MovingShapes
from components.data.prepare import prepare
from components.data.shapes import COLOURS, DIRECTIONS, read_caption
from components.data.video.reader import VideoIndex
from registry.errors import SpecError

LENGTH = 8


def _frames(dataset: CaptionedShapes | MovingShapes, path: str) -> np.ndarray:
    (found,) = dataset.inspect([path])
    assert isinstance(found.index, VideoIndex)
    return dataset.reader(path, found.index).frames(range(LENGTH))


@pytest.fixture(scope="module")
def made() -> CaptionedShapes:
    return CaptionedShapes(None, 32, videos=84, length=LENGTH, colours=7, shapes=3, directions=4, seed=3)


def test_same_pixels_whatever_was_read_before(made: CaptionedShapes) -> None:
    again = CaptionedShapes(None, 32, videos=84, length=LENGTH, colours=7, shapes=3, directions=4, seed=3)
    paths = [source.path for source in made.sources()]
    forward = [_frames(made, path) for path in paths]
    backward = [_frames(again, path) for path in reversed(paths)][::-1]
    np.testing.assert_array_equal(np.stack(forward), np.stack(backward))
    assert len({frames.tobytes() for frames in forward}) == len(paths)


def test_captions_say_what_is_seen(made: CaptionedShapes) -> None:
    """Brightest pixels have the colour, and the centre of brightness moves by the way, all within the picture."""
    grid = np.arange(32) + 0.5
    for source in made.sources():
        seen, frames = read_caption(source.caption), _frames(made, source.path).astype(float)
        assert source.label == "_".join(seen)
        np.testing.assert_array_equal(frames.max((0, 1, 2)), COLOURS[seen.colour])
        bright = frames.sum(-1)
        x, y = ((bright.sum(axis) @ grid) / bright.sum((1, 2)) for axis in (1, 2))
        way = np.array([x[-1] - x[0], y[-1] - y[0]])
        # 0.45 of 32 pixels; rounding to 8 bits and the edge's form at another place in the pixel grid move the centre.
        np.testing.assert_allclose(way, 0.45 * 32 * np.array(DIRECTIONS[seen.direction]), atol=0.2)
        assert max(frames[:, 0].max(), frames[:, -1].max(), frames[:, :, 0].max(), frames[:, :, -1].max()) < 255


def test_places_vary_as_far_as_they_may() -> None:
    """Without spread all of a class go the same way, but for their sizes; their centres do not depend on these."""
    for spread, least, most in ((0.0, 0.0, 0.3), (1.0, 4.0, 13.0)):
        still = CaptionedShapes(None, 32, videos=40, length=LENGTH, colours=1, shapes=1, directions=1, spread=spread)
        bright = np.stack([_frames(still, source.path)[0].sum(-1).astype(float) for source in still.sources()])
        x = bright.sum(1) @ (np.arange(32) + 0.5) / bright.sum((1, 2))
        assert least <= np.ptp(x) <= most


def test_captions_of_the_other_made_sets_say_what_is_seen() -> None:
    shapes = MovingShapes(None, 32, videos=32, length=LENGTH, classes=4)
    grid = np.arange(32) + 0.5
    for source in shapes.sources():
        seen, frames = read_caption(source.caption), _frames(shapes, source.path).astype(float)
        assert source.label == f"moves_{seen.direction}"
        colour = frames.max((0, 1, 2))
        bright = np.array(COLOURS[seen.colour]) > 100
        assert colour[bright].min() > colour[~bright].max(initial=0)  # what the colour lacks is darker
        cover = frames[0].sum(-1) / frames[0].sum(-1).max()
        x, y = (cover.sum(axis) @ grid / cover.sum() for axis in (0, 1))
        # E[x^2 y^2] / (E[x^2] E[y^2]) is 1 for a square and 2/3 for a circle.
        dx, dy = (grid[None, :] - x) ** 2, (grid[:, None] - y) ** 2
        ratio = (cover * dx * dy).sum() * cover.sum() / ((cover * dx).sum() * (cover * dy).sum())
        assert seen.shape == ("square" if ratio > 5 / 6 else "circle")
    digits = MovingDigits(None, 32, videos=20)
    said = {source.label: source.caption for source in digits.sources()}
    assert (said["digit_0"], said["digit_7"]) == ("the digit zero floats", "the digit seven floats")
    assert len(set(said.values())) == 10


def test_captions_reach_the_manifest(made: CaptionedShapes, tmp_path: Path) -> None:
    prepared = prepare(made, tmp_path)
    assert prepared.captions([0]) == ["a blue circle moves down"]
    assert len(set(prepared.captions(range(84)))) == len(prepared.classes) == 84
    assert prepared.manifest.captions_digest


def test_wrong_settings_name_the_key() -> None:
    for key, most in (("colours", 7), ("shapes", 3), ("directions", 4)):
        with pytest.raises(SpecError, match=rf"data\.dataset\.{key}: {most + 1} is more than there are"):
            CaptionedShapes(None, 16, **{key: most + 1})  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"data\.path"):
        CaptionedShapes("/videos", 16)
    with pytest.raises(SpecError, match=r"data\.dataset\.way: shapes of up to 0\.44 .* cannot move by 0\.6 .* 0\.56"):
        CaptionedShapes(None, 16, way=0.6)
    with pytest.raises(SpecError, match=r"data\.dataset\.videos: 31 videos cannot show each of the 32 captions"):
        CaptionedShapes(None, 16, videos=31)
    with pytest.raises(SpecError, match=r"data\.flip: captions"):
        mirrored_labels(CaptionedShapes(None, 16))
