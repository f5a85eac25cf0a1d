import numpy as np
import pytest

from components.scoring.corruptions import CORRUPTIONS, OF_CLIPS, OF_SETS, middle, picked, spoil
from registry.errors import RunError

FRAMES = 8


@pytest.fixture(scope="module")
def clips():
    """Every frame differs from every other and carries its number in its first pixel."""
    drawn = np.random.default_rng(0).integers(0, 256, (6, 2 * FRAMES, 12, 16, 3), dtype=np.uint8)
    drawn[:, :, 0, 0, 0] = np.arange(2 * FRAMES)
    return drawn


def numbers(spoiled):
    return spoiled[:, :, 0, 0, 0].astype(int)


LABELS = ("a", "a", "b", "b", "a", "b")


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_seed_alone_decides(name, clips):
    def once(seed):
        return spoil(name, clips, 0.5, seed, frames=FRAMES, labels=LABELS)

    assert once(1).dtype == np.uint8
    assert np.array_equal(once(1), once(1))
    if name not in ("blur", "darker"):
        assert any(not np.array_equal(once(1), once(seed)) for seed in range(2, 8))


@pytest.mark.parametrize("name", OF_CLIPS)
def test_strength_zero_only_cuts_out_the_middle(name, clips):
    before = clips.copy()
    assert np.array_equal(spoil(name, clips, 0, 3, frames=FRAMES), middle(clips, FRAMES))
    assert np.array_equal(clips, before)


@pytest.mark.parametrize("name", ["noise", "blur", "darker"])
def test_pixels_change_more_with_strength(name, clips):
    plain = middle(clips, FRAMES).astype(float)
    changes = [np.abs(spoil(name, clips, s, 0, frames=FRAMES) - plain).mean() for s in (0, 0.5, 0.75, 1)]
    assert changes == sorted(set(changes))


def test_noise_is_as_strong_as_said():
    grey = np.full((2, FRAMES, 32, 32, 3), 128, np.uint8)
    assert spoil("noise", grey, 0.5, 0, frames=FRAMES).std() == pytest.approx(30, rel=0.03)


def test_shuffling_moves_that_part_of_the_frames(clips):
    for strength, moved in ((0.25, 2), (0.5, 4), (1, 8)):
        order = numbers(spoil("frame_shuffle", clips, strength, 0, frames=FRAMES)) - FRAMES // 2
        assert (np.sort(order, axis=1) == np.arange(FRAMES)).all()
        assert ((order != np.arange(FRAMES)).sum(axis=1) == moved).all()


def test_freezing_repeats_frames_in_order(clips):
    for strength in (0.25, 0.5, 1):
        order = numbers(spoil("frozen_frames", clips, strength, 0, frames=FRAMES))
        assert (np.diff(order) >= 0).all()
        repeats = (np.diff(order) == 0).sum(axis=1)
        assert (repeats == round(strength * (FRAMES - 1))).all()


def test_dropping_skips_ahead_and_never_repeats(clips):
    for strength in (0.25, 0.5, 1):
        order = numbers(spoil("dropped_frames", clips, strength, 0, frames=FRAMES))
        assert (np.diff(order) >= 1).all()
        assert (order[:, -1] - order[:, 0] < FRAMES + strength * FRAMES).all()
    assert (np.diff(order) > 1).any()


def test_reversing_takes_that_part_of_the_clips(clips):
    order = numbers(spoil("reversed", clips, 1, 0, frames=FRAMES))
    assert (np.diff(order) == -1).all()


def test_a_collapsed_set_has_few_different_clips():
    assert [len(set(picked("mode_collapse", 64, s, 0).tolist())) for s in (0, 0.5, 1)] == [64, 8, 1]
    assert len(picked("mode_collapse", 64, 1, 0)) == 64


def test_an_unbalanced_set_repeats_no_clip():
    labels = ["up"] * 8 + ["down"] * 12 + ["left"] * 8 + ["right"] * 8
    for strength, expected in ((0, 2), (0.5, 5), (1, 8)):
        found = picked("class_imbalance", len(labels), strength, 0, labels=labels).tolist()
        assert len(set(found)) == len(found) == 8
        assert sum(labels[k] == "down" for k in found) == expected


@pytest.mark.parametrize(
    ("name", "strength", "labels", "message"),
    [
        ("nois", 0.5, None, "there is no corruption 'nois'"),
        ("noise", 1.5, None, "must be from 0 to 1, not 1.5"),
        ("mode_collapse", -0.1, None, "must be from 0 to 1"),
        ("class_imbalance", 0.5, None, "needs the class of every clip"),
        ("class_imbalance", 0.5, ["a"] * 6, "at least 2 classes"),
        ("class_imbalance", 0.5, ["a"] * 5 + ["b"], "at least 2 clips of each of 2 classes"),
    ],
)
def test_what_makes_no_sense_is_refused(clips, name, strength, labels, message):
    with pytest.raises(RunError, match=message):
        spoil(name, clips, strength, 0, frames=FRAMES, labels=labels)


def test_dropping_needs_frames_to_spare(clips):
    with pytest.raises(RunError, match="makes clips of 8 frames from clips of 16, not of 15"):
        spoil("dropped_frames", clips[:, :15], 0.5, 0, frames=FRAMES)
    for name in set(CORRUPTIONS) - {"dropped_frames"} - set(OF_SETS):
        assert spoil(name, clips[:, :FRAMES], 0.5, 0, frames=FRAMES).shape[1] == FRAMES
