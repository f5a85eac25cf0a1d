"""Which clips of which videos make one side of a score: the same for a seed, whatever the order of reading."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from components.data.clips import frames_needed, pick
from registry.errors import RunError


@dataclass(frozen=True, slots=True)
class Video:
    """A video that clips can be cut from.

    Attributes:
        number: by which its source reads it.
        name: unique among the videos of its source, for messages.
        content: hash of what is in it; draws depend on this and not on where the video lies.
        frames: how many it has.
        height: of its frames, in pixels.
        width: of its frames, in pixels.
        stored: `video` (through a codec), `jpeg` (frames), or `raw` (lossless).
        caption: what it shows, or was asked to show, in words; "" where nobody says.
    """

    number: int
    name: str
    content: str
    frames: int
    height: int
    width: int
    stored: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip to be read: its video and its frame numbers."""

    video: Video
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """How clips are cut from the videos of one side; see `registry.schema.protocol.Protocol` for the words."""

    side: str  # `real` or `fake`, for messages
    frames: int
    interval: int
    picking: str
    start: str
    shortest: str
    short: str
    clips_per_video: int
    seed: int
    most: int

    @property
    def needed(self) -> int:
        """Frames that a video must have to give a clip."""
        least = frames_needed(self.frames, self.interval)
        return self.frames * self.interval if self.shortest == "whole_intervals" else least


def plan_clips(videos: Sequence[Video], cut: Cut) -> tuple[list[Clip], list[Video]]:
    """The clips of one side, sorted by the videos' content, and the videos that are too short for one.

    As in the official tools, videos are drawn without replacement and a start is uniform over all that fit. A start
    depends on the seed and the video's content alone, so that it does not change when other videos join, and two
    people who keep the same videos in different folders draw the same clips.

    Raises:
        RunError: a video is short where the side refuses that, or fewer than 2 clips are left.
    """
    short = [video for video in videos if video.frames < cut.needed]
    if short and cut.short == "refuse":
        more = f" ({len(short)} of {len(videos)} videos are)" if len(short) > 1 else ""
        raise RunError(
            f"{cut.side} side: {short[0].name} has {short[0].frames} frames, a clip of {cut.frames} frames at interval "
            f"{cut.interval} needs {cut.needed}{more}; take shorter clips (frames=…), or {cut.side}_short=drop"
        )
    long_enough = sorted(
        (video for video in videos if video.frames >= cut.needed), key=lambda video: (video.content, video.name)
    )
    order = torch.randperm(len(long_enough), generator=torch.Generator().manual_seed(cut.seed)).tolist()
    turns = [
        (turn, place)
        for turn in range(cut.clips_per_video)
        for place in order
        if turn < _possible_starts(long_enough[place], cut)
    ]
    chosen = sorted(turns[: cut.most], key=lambda pair: (pair[1], pair[0]))
    clips = [_clip(long_enough[place], turn, cut) for turn, place in chosen]
    if len(clips) < 2:
        dropped = f"; {len(short)} are shorter than the {cut.needed} frames that a clip needs" if short else ""
        found = f"{len(clips)} clips from {len(videos)} videos"
        raise RunError(f"{cut.side} side: {found}; a score needs at least 2{dropped}")
    return clips, short


def _possible_starts(video: Video, cut: Cut) -> int:
    return 1 if cut.start == "first" else video.frames - frames_needed(cut.frames, cut.interval) + 1


def _clip(video: Video, turn: int, cut: Cut) -> Clip:
    """The clip of that turn: the turns of a video have different starts."""
    start = 0
    if cut.start == "uniform":
        key = hashlib.sha256(f"{cut.seed} {video.content}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
        start = int(torch.randperm(_possible_starts(video, cut), generator=generator)[turn])
    end = min(start + cut.frames * cut.interval, video.frames)
    return Clip(video, tuple(pick(cut.picking, start, end, cut.frames, cut.interval)))
