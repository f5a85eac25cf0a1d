"""Which stills stand behind clips: other videos, as often each, by step and seed alone."""

from collections import Counter

import pytest
import torch

from components.data.stills import StillSampler
from registry.errors import RunError

LENGTHS = [3, 9, 4, 7, 5]


def test_stills_are_of_other_videos_at_frames_that_these_have() -> None:
    sampler = StillSampler(LENGTHS, stills=3, batch=2, seed=1)
    seen: set[tuple[int, int]] = set()
    for step in range(60):
        clips = [step % 5, (2 * step + 1) % 5]
        stills = sampler.batch(step, clips)
        assert stills.frames.shape == (2, 3)
        for own, videos, frames in zip(clips, stills.videos, stills.frames.tolist(), strict=True):
            assert own not in videos
            seen |= set(zip(videos, frames, strict=True))
    assert seen == {(video, frame) for video, length in enumerate(LENGTHS) for frame in range(length)}


def test_stills_are_a_function_of_step_and_seed() -> None:
    one, other = (StillSampler(LENGTHS, 3, 2, seed=1) for _ in range(2))
    asked = {step: one.batch(step, [0, 1]) for step in (0, 1, 7)}
    for step in (7, 0, 1):  # in another order
        again = other.batch(step, [0, 1])
        assert again.videos == asked[step].videos
        assert torch.equal(again.frames, asked[step].frames)
    assert StillSampler(LENGTHS, 3, 2, seed=2).batch(7, [0, 1]).videos != asked[7].videos


def test_videos_give_as_many_stills_an_epoch_but_where_a_clip_is_of_their_own() -> None:
    sampler = StillSampler(LENGTHS, stills=5, batch=1, seed=0)
    for step in range(8):
        own = step % 5
        given = Counter(sampler.batch(step, [own]).videos[0])
        assert sorted(given.values()) == [1, 1, 1, 2]  # the one behind the clip's own stands in for it
        assert own not in given


def test_one_video_has_no_other() -> None:
    with pytest.raises(RunError, match="stills are of other videos than the clip, and there is only one"):
        StillSampler([9], 1, 1, 0)
