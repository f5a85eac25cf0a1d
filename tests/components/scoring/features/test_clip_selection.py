"""Which clips make a side: the same for a seed, whatever the order of reading and whoever joins."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.scoring.features.clip_selection import Clip, Cut, Video, plan_clips
from registry.errors import RunError

CUT = Cut(
    side="real",
    frames=4,
    interval=2,
    picking="stride",
    start="uniform",
    shortest="fits",
    short="drop",
    clips_per_video=1,
    seed=0,
    most=1000,
)


def videos_of(lengths: list[int], prefix: str = "v") -> list[Video]:
    return [
        Video(k, f"{prefix}{k:03d}", f"hash of {prefix}{k}", length, 32, 32, "video")
        for k, length in enumerate(lengths)
    ]


CUTS = st.builds(
    lambda frames, interval, picking, start, shortest, turns, seed: replace(
        CUT,
        frames=frames,
        interval=interval,
        picking=picking,
        start=start,
        shortest=shortest,
        clips_per_video=turns,
        seed=seed,
    ),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from(["stride", "linspace"]),
    st.sampled_from(["uniform", "first"]),
    st.sampled_from(["fits", "whole_intervals"]),
    st.integers(1, 5),
    st.integers(0, 2**40),
)
LENGTHS = st.lists(st.integers(25, 40), min_size=2, max_size=12)  # frames: every cut has room for five starts


def by_name(clips: list[Clip]) -> dict[str, list[tuple[int, ...]]]:
    found: dict[str, list[tuple[int, ...]]] = {}
    for clip in clips:
        found.setdefault(clip.video.name, []).append(clip.indices)
    return found


@given(CUTS, LENGTHS, st.integers(2, 30), st.randoms())
def test_the_order_of_the_list_does_not_matter(cut: Cut, lengths: list[int], most: int, draw: random.Random) -> None:
    cut = replace(cut, most=most)
    videos = videos_of(lengths)
    shuffled = list(videos)
    draw.shuffle(shuffled)
    assert plan_clips(shuffled, cut)[0] == plan_clips(videos, cut)[0]


@given(CUTS, LENGTHS, LENGTHS)
def test_a_clip_stays_when_other_videos_join(cut: Cut, lengths: list[int], more: list[int]) -> None:
    videos = videos_of(lengths)
    others = videos_of(more, prefix="a") + videos_of(more, prefix="z")
    alone, together = (by_name(plan_clips(of, cut)[0]) for of in (videos, videos + others))
    assert {name: together[name] for name in alone} == alone
    assert len(together) == len(videos) + len(others)


@given(CUTS, LENGTHS)
def test_clips_lie_in_their_videos_and_those_of_a_video_differ(cut: Cut, lengths: list[int]) -> None:
    clips, short = plan_clips(videos_of(lengths), cut)
    assert short == []
    for clip in clips:
        assert len(clip.indices) == cut.frames
        assert all(0 <= index < clip.video.frames for index in clip.indices)
        assert list(clip.indices) == sorted(clip.indices)
        if cut.picking == "stride":
            steps = {b - a for a, b in zip(clip.indices[:-1], clip.indices[1:], strict=True)}
            assert steps <= {cut.interval}
    for of_one in by_name(clips).values():
        starts = [indices[0] for indices in of_one]
        assert len(set(starts)) == len(starts) == (1 if cut.start == "first" else cut.clips_per_video)


@given(CUTS, LENGTHS, st.integers(2, 30))
def test_at_most_so_many_and_every_video_before_any_has_two(cut: Cut, lengths: list[int], most: int) -> None:
    clips, _ = plan_clips(videos_of(lengths), replace(cut, most=most))
    turns = 1 if cut.start == "first" else cut.clips_per_video
    assert len(clips) == min(most, turns * len(lengths))
    counts = [len(of_one) for of_one in by_name(clips).values()]
    assert max(counts) - min(counts) <= 1
    assert max(counts) == 1 or len(counts) == len(lengths)
    contents = [clip.video.content for clip in clips]
    assert contents == sorted(contents)


@given(CUTS, LENGTHS)
def test_the_same_videos_elsewhere_give_the_same_clips(cut: Cut, lengths: list[int]) -> None:
    videos = videos_of(lengths)
    moved = [replace(video, number=99 - video.number, name=f"elsewhere/{99 - video.number}") for video in videos]
    here, there = (plan_clips(of, replace(cut, most=5))[0] for of in (videos, moved))
    assert [(clip.video.content, clip.indices) for clip in here] == [
        (clip.video.content, clip.indices) for clip in there
    ]


def test_another_seed_draws_others() -> None:
    videos = videos_of([200] * 8)
    plans = {tuple(plan_clips(videos, replace(CUT, seed=seed))[0]) for seed in range(5)}
    assert len(plans) == 5
    chosen = {
        tuple(clip.video.name for clip in plan_clips(videos, replace(CUT, seed=seed, most=3))[0]) for seed in range(9)
    }
    assert len(chosen) > 3


def test_starts_are_uniform_over_all_that_fit() -> None:
    """Of 2,000 videos with 5 possible starts each gets its fifth, to 5 standard deviations."""
    clips, _ = plan_clips(videos_of([11] * 2000), replace(CUT, most=2000))
    starts = [clip.indices[0] for clip in clips]
    for start in range(5):
        assert abs(starts.count(start) - 400) < 5 * (2000 * 0.2 * 0.8) ** 0.5
    assert set(starts) == set(range(5))


@pytest.mark.parametrize(("shortest", "least"), [("fits", 7), ("whole_intervals", 8)])
def test_what_is_short(shortest: str, least: int) -> None:
    cut = replace(CUT, shortest=shortest, clips_per_video=3)
    videos = videos_of([least - 1, least, least, least + 1])
    clips, short = plan_clips(videos, cut)
    assert short == videos[:1]
    assert set(by_name(clips)) == {"v001", "v002", "v003"}
    with pytest.raises(RunError, match=rf"v000 has {least - 1} frames.*needs {least};.*real_short=drop") as told:
        plan_clips(videos, replace(cut, short="refuse"))
    assert "real side" in str(told.value)
    with pytest.raises(RunError, match=r"\(2 of 3 videos are\)"):
        plan_clips([*videos[:1], videos_of([3], "w")[0], videos[1]], replace(cut, short="refuse"))


def test_first_takes_the_first_frames_once() -> None:
    clips, _ = plan_clips(videos_of([50, 60]), replace(CUT, start="first", clips_per_video=4))
    assert [clip.indices for clip in clips] == [(0, 2, 4, 6), (0, 2, 4, 6)]


def test_a_video_gives_no_more_clips_than_it_has_starts() -> None:
    clips, _ = plan_clips(videos_of([7, 8, 9]), replace(CUT, clips_per_video=3))
    assert {name: len(of) for name, of in by_name(clips).items()} == {"v000": 1, "v001": 2, "v002": 3}


@pytest.mark.parametrize(
    ("lengths", "told"),
    [
        ([], "0 clips from 0 videos; a score needs at least 2$"),
        ([20], "1 clips from 1 videos; a score needs at least 2$"),
        ([20, 6], "1 clips from 2 videos; a score needs at least 2; 1 are shorter than the 7 frames"),
        ([5, 6], "0 clips from 2 videos; a score needs at least 2; 2 are shorter than the 7 frames"),
    ],
)
def test_fewer_than_two_clips_are_refused(lengths: list[int], told: str) -> None:
    with pytest.raises(RunError, match=told):
        plan_clips(videos_of(lengths), CUT)


def test_one_long_video_may_give_several_clips() -> None:
    clips, _ = plan_clips(videos_of([20]), replace(CUT, clips_per_video=2))
    assert len(clips) == 2


def test_linspace_spans_the_whole_interval_where_the_video_goes_on() -> None:
    cut = replace(CUT, picking="linspace", start="first")
    assert plan_clips(videos_of([8, 7]), cut)[0][0].indices == (0, 2, 4, 7)
    assert plan_clips(videos_of([8, 7]), cut)[0][1].indices == (0, 2, 4, 6)
