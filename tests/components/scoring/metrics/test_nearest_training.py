"""How near samples lie to training clips: copies, honest samples, and samples that look like nothing."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from components.scoring.contracts import BLOCK, Features
from components.scoring.metrics.nearest_training import NearestTraining, by_video, in_words, nearest
from registry.errors import RunError
from tests.fixtures.gaussians import Detector, features, spoiled

NAME = "nearest_training[given]"
TRAINING, HELD_OUT = features(400, seed=1), features(150, seed=2)


def score(fake, real=TRAINING, held_out=HELD_OUT):
    return NearestTraining(Detector()).score(fake, real, held_out)[NAME]


def test_copies_are_at_0_and_clips_of_the_same_law_at_1():
    copies = score(TRAINING.subset(range(50, 200)))
    assert (copies.value, copies.interval) == (0.0, (0.0, 0.0))
    assert copies.details["nearer_than_any_held_out"] == 1.0
    assert "look like copies" in copies.details["says"]
    honest = score(features(150, seed=3))
    assert honest.interval[0] < 1 < honest.interval[1]
    assert "no sign of copying" in honest.details["says"]
    assert score(HELD_OUT).value == 1.0  # by construction


def test_a_copy_with_a_little_noise_is_still_told_and_nothing_alike_is_no_copy():
    rows = TRAINING.of(range(150)) + np.random.default_rng(4).normal(0, 0.05, (150, 16)).astype(np.float32)
    assert score(Features(rows[:, None])).value < 0.2
    far = score(features(150, seed=5, shift=9.0))
    assert far.interval[0] > 1
    assert "not like real clips" in far.details["says"]


def test_the_distance_is_that_to_the_nearest_of_all_training_clips():
    clips, training = features(BLOCK + 7, seed=6), features(2 * BLOCK + 3, seed=7)
    far = cdist(clips.of(range(clips.clips)).astype(np.float64), training.of(range(training.clips)).astype(np.float64))
    # A nearest clip is picked by squares and products, exact to about 1e-15 of the squares: no other is nearer by more.
    np.testing.assert_allclose(nearest(clips, training), far.min(axis=1), rtol=1e-12)


def test_each_video_counts_once():
    distances, videos = np.array([1.0, 3.0, 2.0, 9.0]), np.array([7, 7, 7, 5])
    assert by_video(distances, videos).tolist() == [9.0, 2.0]


def test_the_words_follow_the_interval():
    assert "far nearer" in in_words(0.3, (0.2, 0.5))
    assert "look for copies" in in_words(0.8, (0.7, 0.95))
    assert "no sign" in in_words(0.3, (0.1, 1.1))


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        ((features(1), TRAINING, HELD_OUT), "at least 2 sampled clips"),
        ((HELD_OUT, TRAINING, None), "it compares with real clips, and there are none"),
        ((spoiled(features(9), [3]), TRAINING, HELD_OUT), "1 of 9 sampled clips are not finite"),
        ((features(9, seed=8), TRAINING, TRAINING.subset(range(30))), "the splits share their videos"),
    ],
)
def test_what_cannot_be_held_side_by_side_is_refused(sides, words):
    with pytest.raises(RunError, match=words):
        score(*sides)
