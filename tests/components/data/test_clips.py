"""Properties that every picked or drawn clip has."""

import math
import random
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.data.clips import ClipSampler, draw_clip, frames_needed, pick, reference_window, window
from registry.errors import RunError, SpecError

counts = st.integers(1, 24)
intervals = st.integers(1, 7)
ways = st.sampled_from(["stride", "linspace"])


@given(frames=counts, interval=intervals, more=st.integers(0, 60), way=ways, seed=st.integers(0, 2**40))
def test_a_drawn_clip_is_inside_and_rises(frames: int, interval: int, more: int, way: str, seed: int) -> None:
    total = frames_needed(frames, interval) + more
    clip = draw_clip(way, total, frames, interval, torch.Generator().manual_seed(seed))
    assert len(clip) == frames
    assert clip[0] >= 0
    assert clip[-1] < total
    # The linspace grid may reach over the reference's span, so its steps are the interval or somewhat more.
    widest = interval if way == "stride" or frames == 1 else math.ceil((frames * interval - 1) / (frames - 1))
    assert all(interval <= after - before <= widest for before, after in pairwise(clip))


@given(frames=counts, interval=intervals, more=st.integers(0, 4))
def test_every_start_that_fits_is_drawn_and_no_other(frames: int, interval: int, more: int) -> None:
    total = frames_needed(frames, interval) + more
    generator = torch.Generator().manual_seed(0)
    starts = {window(total, frames, interval, generator)[0] for _ in range(60 * (more + 1))}
    assert starts == set(range(more + 1))


@given(frames=st.integers(2, 24), interval=intervals)
def test_too_short_by_one_is_refused(frames: int, interval: int) -> None:
    total = frames_needed(frames, interval) - 1
    with pytest.raises(RunError, match=f"needs {total + 1} frames; the video has {total}"):
        draw_clip("stride", total, frames, interval, torch.Generator())


@given(total=st.integers(1, 300), span=st.integers(1, 100), seed=st.integers(0, 999))
def test_reference_window_never_uses_its_last_start(total: int, span: int, seed: int) -> None:
    start, end = reference_window(total, span, random.Random(seed))
    assert 0 <= start <= max(0, total - span - 1)
    assert end == min(start + span, total)


def test_unknown_picking_names_the_key() -> None:
    with pytest.raises(SpecError, match=r"data\.picking"):
        pick("random", 0, 10, 4, 1)


@given(lengths=st.lists(st.integers(8, 40), min_size=1, max_size=9), batch=st.integers(1, 12), seed=st.integers(0, 99))
def test_sampler_is_a_function_of_the_step_and_uses_each_video_once_an_epoch(
    lengths: list[int], batch: int, seed: int
) -> None:
    def sampler() -> ClipSampler:
        return ClipSampler(lengths, frames=8, interval=1, picking="stride", flip=0.5, batch=batch, seed=seed)

    ahead, behind = sampler(), sampler()
    steps = range(2 * len(lengths))
    batches = [ahead.batch(step) for step in steps]
    for step in reversed(steps):  # as after a resume: no step depends on those before it
        again = behind.batch(step)
        assert again.videos == batches[step].videos
        assert torch.equal(again.indices, batches[step].indices)
        assert torch.equal(again.flipped, batches[step].flipped)
    drawn = [video for batch_ in batches for video in batch_.videos]
    for epoch in range(len(drawn) // len(lengths)):
        assert sorted(drawn[epoch * len(lengths) : (epoch + 1) * len(lengths)]) == list(range(len(lengths)))
    for batch_ in batches:
        assert batch_.indices.shape == (batch, 8)
        assert all(int(clip.max()) < lengths[video] for video, clip in zip(batch_.videos, batch_.indices, strict=True))


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_flip_probability_at_its_ends(flip: float) -> None:
    sampler = ClipSampler([20] * 4, frames=4, interval=2, picking="linspace", flip=flip, batch=50, seed=1)
    assert sampler.batch(0).flipped.float().mean() == flip


def test_seeds_differ() -> None:
    one, two = (
        ClipSampler([100] * 50, frames=4, interval=2, picking="stride", flip=0.5, batch=8, seed=seed).batch(0)
        for seed in (0, 1)
    )
    assert one.videos != two.videos
