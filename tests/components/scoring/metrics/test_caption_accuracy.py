"""Obedience to captions: known shares are found, with chance and real clips beside them, and what cannot be held."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from components.data.shapes import Seen
from components.scoring.contracts import Features
from components.scoring.metrics.caption_accuracy import CaptionAccuracy, wilson
from components.scoring.shape_tracker import VOCABULARY
from registry.errors import RunError
from registry.experiment.resolve import resolve
from registry.parts.catalogue import catalogue

RED_LEFT, BLUE_LEFT, RED_UP = (
    Seen(*words.split()) for words in ("red circle left", "blue circle left", "red square up")
)


def _features(read: Sequence[Seen], asked: Sequence[str], videos: Sequence[int] | None = None) -> Features:
    rows = [
        [-1 if not word else words.index(word) for words, word in zip(VOCABULARY, one, strict=True)] for one in read
    ]
    return Features(np.array(rows, dtype=np.float32)[:, None], videos=videos, captions=asked)


REAL = _features([RED_LEFT, RED_UP], [RED_LEFT.caption(), RED_UP.caption()])


def test_shares_with_chance_and_real_clips() -> None:
    read = [RED_LEFT, BLUE_LEFT, RED_UP, Seen("", "", "")]
    found = CaptionAccuracy().score(_features(read, [RED_LEFT.caption()] * 4), REAL)
    values = {name: score.value for name, score in found.items()}
    assert values == {
        "caption_accuracy": 0.25, "colour_accuracy": 0.5, "shape_accuracy": 0.5, "direction_accuracy": 0.5,
    }  # fmt: skip
    details = {name: score.details for name, score in found.items()}
    # Real clips are red, half of them circles to the left: what clips get that do not know that all ask for one.
    assert [details[name]["chance"] for name in values] == [0.5, 1.0, 0.5, 0.5]
    assert {detail["real"] for detail in details.values()} == {1.0}
    assert {detail["nothing_seen"] for detail in details.values()} == {0.25}
    assert found["colour_accuracy"].interval == wilson(0.5, 4)


def test_clips_of_one_video_count_once() -> None:
    read = [RED_LEFT, RED_LEFT, RED_LEFT, RED_UP]
    fake = _features(read, [RED_LEFT.caption()] * 4, videos=[7, 7, 7, 9])
    score = CaptionAccuracy().score(fake, REAL)["caption_accuracy"]
    assert (score.value, score.interval) == (0.5, wilson(0.5, 2))


def test_captions_go_with_their_clips_into_a_subset() -> None:
    both = _features([RED_LEFT, BLUE_LEFT, RED_UP], [one.caption() for one in (RED_LEFT, RED_LEFT, RED_UP)])
    assert both.subset([2, 1]).captions == [RED_UP.caption(), RED_LEFT.caption()]
    assert CaptionAccuracy().score(both.subset([2, 0]).subset([1, 0]), REAL)["caption_accuracy"].value == 1.0


def test_real_clips_without_captions_leave_chance() -> None:
    real = _features([RED_LEFT, RED_UP], ["", ""])
    found = CaptionAccuracy().score(_features([RED_LEFT] * 2, [RED_LEFT.caption()] * 2), real)["caption_accuracy"]
    assert (found.details["chance"], "real" in found.details) == (0.5, False)


def test_nothing_seen_anywhere_is_a_finding() -> None:
    """Samples of a young network may be held against others of its own, and nothing be seen in any."""
    nothing = _features([Seen("", "", "")] * 2, [RED_LEFT.caption()] * 2)
    score = CaptionAccuracy().score(nothing, nothing)["caption_accuracy"]
    assert (score.value, score.details["chance"], score.details["real"]) == (0.0, 0.0, 0.0)


def test_two_clips_on_either_side_are_needed() -> None:
    one = _features([RED_LEFT], [RED_LEFT.caption()])
    for fake, real in ((one, REAL), (REAL, one), (REAL, None)):
        with pytest.raises(RunError, match="at least 2 sampled and 2 real clips"):
            CaptionAccuracy().score(fake, real)


def test_the_interval_is_wilsons() -> None:
    """Bounds solve (p - share)^2 = z^2 p (1 - p) / n, by which the interval is defined."""
    for share, count in ((0.0, 10), (0.3, 20), (1.0, 64)):
        for bound in wilson(share, count):
            assert (bound - share) ** 2 == pytest.approx(1.959964**2 * bound * (1 - bound) / count, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([RED_LEFT.caption(), ""], r"caption_accuracy: clip 1 \(counted from 0\) of 2 was not asked to show anything"),
        (["the digit seven floats"] * 2, r"'the digit seven floats' does not name one colour; .*'a red circle moves l"),
        (["a red circle moves left and up"] * 2, "does not name one direction"),
    ],
)
def test_captions_that_cannot_be_held_are_refused(asked: list[str], told: str) -> None:
    with pytest.raises(RunError, match=told):
        CaptionAccuracy().score(_features([RED_LEFT] * 2, asked), REAL)


@pytest.mark.parametrize(
    ("dataset", "model", "text_encoder", "refused"),
    [
        ("captioned_shapes", {"classes": 32}, None, False),
        ("captioned_shapes", {}, None, True),
        ("moving_shapes", {"classes": 2}, None, True),
        ("moving_shapes", {"conditioning": {"name": "text_cross_attention", "text_width": 32}}, "toy", False),
        ("video_folder", {"classes": 2}, None, False),  # what its captions say is not known before they are read
    ],
)
def test_clips_that_are_asked_for_nothing_are_refused_before_they_are_drawn(
    dataset: str, model: dict[str, Any], text_encoder: str | None, refused: bool
) -> None:
    data = {"dataset": dataset, "resolution": 16, "frames": 4, "autoencoder": "pixels", "text_encoder": text_encoder}
    raw = {
        "model": {"width": 16, "heads": 2, "depth": 2, **model},
        "data": {key: value for key, value in data.items() if value is not None},
        "scoring": {"metrics": ["caption_accuracy"]},
    }
    _, problems = resolve(raw, catalogue())
    told = [message for key, message in problems if key == ("scoring", "metrics", "0")]
    assert len(told) == len(problems) == refused
    assert not refused or "what they were asked to show" in told[0]
