"""FVD against clips that were held out, and the gap to training clips: copies are told, honest samples are not."""

import numpy as np
import pytest

from components.scoring.contracts import Features
from components.scoring.metrics.frechet import Moments, frechet_distance
from components.scoring.metrics.fvd import FVD
from components.scoring.metrics.held_out_fvd import HeldOutFVD, draw
from registry.errors import RunError
from tests.fixtures.gaussians import Detector, features, spoiled

TEST, GAP = "fvd_test[given]", "fvd_gap[given]"
TRAINING, HELD_OUT = features(400, seed=1), features(160, seed=2)


def score(fake, real=TRAINING, held_out=HELD_OUT):
    return HeldOutFVD(Detector()).score(fake, real, held_out)


def test_the_first_number_is_fvd_with_the_test_split_for_its_real_side():
    fake = features(200, seed=3, shift=0.2)
    ours, fvd = score(fake)[TEST], FVD(Detector()).score(fake, HELD_OUT)["fvd[given]"]
    assert (ours.value, ours.interval, ours.curve) == (fvd.value, fvd.interval, fvd.curve)


def test_copies_have_a_gap_and_clips_of_the_same_law_have_none():
    honest = score(features(200, seed=4))[GAP]
    assert honest.interval[0] < 0 < honest.interval[1]
    assert "as far from training clips" in honest.details["says"]
    copies = score(TRAINING.subset(range(0, 400, 2)))[GAP]
    assert copies.interval[0] > 0
    assert "look for copies" in copies.details["says"]
    far = score(features(200, seed=5, shift=1.0))[GAP]
    assert far.interval[1] < 0
    assert "not like them" in far.details["says"]


def test_the_gap_is_between_equal_counts_against_all_training_clips():
    fake = features(300, seed=5, scale=1.1)
    gap = score(fake)[GAP]
    ours, far, train = (Moments.of(side) for side in (draw(fake, 160), HELD_OUT, TRAINING))
    near, apart = frechet_distance(ours, train), frechet_distance(far, train)
    assert (gap.details["samples"], gap.details["held_out"]) == pytest.approx((near, apart), rel=1e-9)
    assert gap.value == pytest.approx(apart - near, rel=1e-9)
    assert (gap.details["n_each"], gap.details["n_training"]) == (160, 400)


def test_one_clip_of_each_video_is_drawn_and_in_no_order_of_theirs():
    clips = Features(np.zeros((400, 1, 2), np.float32), videos=np.repeat(np.arange(100), 4))
    drawn = draw(clips, 30)
    assert drawn.clips == len(np.unique(drawn.videos)) == 30
    assert max(drawn.videos) > 50
    assert draw(clips, 1000).clips == 100


def test_several_clips_of_a_video_make_no_gap():
    """Clips of one video are alike, so that as many of them are fewer, and farther from everything."""
    gaps = []
    for seed in range(20):
        sides = []
        for made in (np.random.default_rng([seed, side]) for side in range(2)):
            clips = np.repeat(made.normal(size=(50, 1, 16)), 4, axis=0) + 0.1 * made.normal(size=(200, 1, 16))
            sides.append(Features(clips.astype(np.float32), videos=np.repeat(np.arange(50), 4)))
        gap = score(features(200, seed=100 + seed, scale=1.005), *sides)[GAP]
        assert gap.details["n_each"] == 50
        gaps.append(gap.value)
    assert abs(np.mean(gaps)) < 3 * np.std(gaps, ddof=1) / len(gaps) ** 0.5


def test_few_videos_have_no_interval():
    found = score(features(6, seed=9))[GAP]
    assert found.interval is None
    assert found.details["says"].startswith("too few videos")


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        ((features(1), TRAINING, HELD_OUT), "at least 2 sampled clips"),
        ((HELD_OUT, TRAINING, None), "it compares with real clips, and there are none"),
        ((spoiled(features(9), [3]), TRAINING, HELD_OUT), "1 of 9 sampled clips are not finite"),
    ],
)
def test_what_cannot_be_held_side_by_side_is_refused(sides, words):
    with pytest.raises(RunError, match=words):
        score(*sides)
