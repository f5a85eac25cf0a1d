"""Words of shapes and what they stand for: captions are read back, and what is drawn has the form that is named."""

import itertools

import numpy as np
import pytest

from components.data.shapes import COLOURS, DIRECTIONS, SHAPES, Seen, coverage, nearest_colour, read_caption


def test_every_caption_is_read_back() -> None:
    for words in itertools.product(COLOURS, SHAPES, DIRECTIONS):
        assert read_caption(Seen(*words).caption()) == Seen(*words)


@pytest.mark.parametrize(
    ("caption", "read"),
    [
        ("", Seen("", "", "")),
        ("A RED circle, going up!", Seen("red", "circle", "up")),
        ("a red or blue circle moves up", Seen("", "circle", "up")),
        ("a reddish circular thing", Seen("", "", "")),
        ("the digit seven floats", Seen("", "", "")),
    ],
)
def test_only_whole_words_that_are_alone_count(caption: str, read: Seen) -> None:
    assert read_caption(caption) == read


def test_a_colour_is_named_at_any_brightness() -> None:
    for name, colour in COLOURS.items():
        for brightness in (0.2, 0.6, 1.0):
            assert nearest_colour(brightness * np.array(colour, dtype=float)) == name
    assert nearest_colour(np.array([255.0, 120.0, 100.0])) == "red"  # pale


@pytest.mark.parametrize(("shape", "part"), [("square", 1.0), ("circle", np.pi / 4), ("triangle", 0.5)])
def test_a_shape_fills_its_part_of_the_box_around_it(shape: str, part: float) -> None:
    """The smooth edge has the area of a sharp one up to the curvature of the edge and the tips of corners: 1 % here."""
    middle = np.array([30.0, 34.3])
    drawn = coverage(shape, middle, middle[::-1].copy(), half=20.0, side=64)
    assert drawn.shape == (2, 64, 64)
    assert drawn.min() == 0
    assert drawn.max() == 1
    np.testing.assert_allclose(drawn.sum((1, 2)) / 40**2, part, rtol=0.01)
    rows, columns = (np.flatnonzero(drawn[0].max(axis) > 0.5) for axis in (1, 0))
    assert abs(rows.mean() + 0.5 - 34.3) < 1
    assert abs(columns.mean() + 0.5 - 30.0) < 1


def test_a_triangle_stands_on_its_base() -> None:
    (drawn,) = coverage("triangle", np.array([16.0]), np.array([16.0]), half=8.0, side=32)
    widths = drawn.sum(axis=1)
    assert (np.diff(widths[9:23]) > 0).all()
    assert widths[22] == pytest.approx(14.5, abs=0.1)  # as wide as it is high from the tip to there
