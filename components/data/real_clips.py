"""Real clips for scoring: decoded frames at the resolution, the same for a seed whatever the order of reading."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from components.data.clips import draw_clip, frames_needed
from components.data.prepare import Prepared
from components.data.transforms import lanczos_square, to_pixels, to_uint8_frames
from components.data.video_reader import VideoError
from registry.errors import RunError, SpecError


@dataclass(frozen=True)
class RealClip:
    """A clip to be read: video number and its frame numbers."""

    video: int
    indices: list[int]


def plan_real_clips(
    prepared: Prepared,
    split: str | None,
    frames: int,
    interval: int,
    picking: str = "stride",
    seed: int = 0,
    limit: int | None = None,
    clips_per_video: int = 1,
) -> list[RealClip]:
    """Which clips are the real side of a score.

    The official tools take one clip a video and at most 2048 videos, drawn without replacement; a start is uniform
    over all that fit. A start depends on the seed and the video's path only, so that it does not change when other
    videos join.

    Args:
        prepared: the dataset.
        split: `train`, `test`, or None for all.
        frames: clip length.
        interval: distance of the picked frames.
        picking: `stride` or `linspace`.
        seed: of the draw of videos and starts.
        limit: at most so many clips.
        clips_per_video: how many starts each video gives; they may overlap.

    Raises:
        RunError: no video of the split is long enough.
    """
    videos = prepared.videos(split, frames_needed(frames, interval))
    order = torch.randperm(len(videos), generator=torch.Generator().manual_seed(seed)).tolist()
    turns = [(turn, videos[place]) for turn in range(clips_per_video) for place in order]
    clips = []
    for turn, video in sorted(turns[:limit], key=lambda pair: (pair[1], pair[0])):
        record = prepared.records[video]
        key = hashlib.sha256(f"{seed} {turn} {record.path}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
        clips.append(RealClip(video, draw_clip(picking, record.frames, frames, interval, generator)))
    return clips


def read_real_clips(
    prepared: Prepared, clips: list[RealClip], resolution: int, transform: str, antialias: bool
) -> Iterator[np.ndarray]:
    """The planned clips, each uint8 (F, R, R, 3).

    Args:
        prepared: the dataset.
        clips: from `plan_real_clips`.
        resolution: R in pixels.
        transform: one of `transforms.TRANSFORMS` (as in training), or `center_square_lanczos`, the official
            evaluation's way (without its JPEG step; `antialias` must be true there).
        antialias: see `components.data.transforms`.

    Raises:
        RunError: a video cannot be read any more.
        SpecError: no such transform.
    """
    resize = _resizer(resolution, transform, antialias)
    for clip in clips:
        try:
            frames = prepared.reader(clip.video).frames(clip.indices)
        except VideoError as error:
            raise RunError(str(error)) from None
        yield resize(frames)


def _resizer(resolution: int, transform: str, antialias: bool) -> Callable[[np.ndarray], np.ndarray]:
    if transform == "center_square_lanczos":
        if not antialias:
            raise SpecError("transform center_square_lanczos always antialiases; set antialias to true")
        return lambda frames: lanczos_square(frames, resolution)
    return lambda frames: to_uint8_frames(to_pixels(frames, resolution, transform, antialias))
