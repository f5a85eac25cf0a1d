"""Which frames make a clip: where it starts, which it picks, and which clips a training step draws.

`stride` takes every interval-th frame. `linspace` is the reference's grid for FaceForensics and UCF-101: `frames`
points from the first to the last frame of the span, cut to integers, so that its steps are not all equal.
The reference's span is `frames * interval`; a clip with a stride touches only `(frames - 1) * interval + 1` frames,
which is what a video must have here (`frames_needed`), for both ways of picking.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from registry.errors import RunError, SpecError


def frames_needed(frames: int, interval: int) -> int:
    """How many frames a video must have to give a clip: (frames - 1) * interval + 1."""
    return (frames - 1) * interval + 1


def pick(picking: str, start: int, end: int, frames: int, interval: int) -> list[int]:
    """Frame numbers of the clip in the window [start, end).

    Args:
        picking: `stride` (start, start + interval, … below `end`, at most `frames` of them) or `linspace` (`frames`
            points from start to end - 1, cut to integers).

    Raises:
        SpecError: no such way of picking.
    """
    if picking == "linspace":
        return [int(point) for point in np.linspace(start, end - 1, frames, dtype=int)]
    if picking == "stride":
        return list(range(start, end, interval))[:frames]
    raise SpecError(f"data.picking: {picking!r} is not one of stride, linspace")


def reference_window(total: int, span: int, draw: random.Random) -> tuple[int, int]:
    """The reference's window (start, end): its last possible start is never drawn, short videos give short windows."""
    start = draw.randint(0, max(0, total - span - 1))
    return start, min(start + span, total)


def window(total: int, frames: int, interval: int, generator: Generator) -> tuple[int, int]:
    """A window (start, end) of `frames_needed` frames, its start uniform over all that fit.

    The window is widened to the reference's span of `frames * interval` where the video goes on that far, so that
    `linspace` picks the reference's grid there.

    Raises:
        RunError: the video is too short.
    """
    needed = frames_needed(frames, interval)
    if total < needed:
        raise RunError(f"a clip of {frames} frames at interval {interval} needs {needed} frames; the video has {total}")
    start = int(torch.randint(total - needed + 1, (), generator=generator))
    return start, min(start + frames * interval, total)


def draw_clip(picking: str, total: int, frames: int, interval: int, generator: Generator) -> list[int]:
    """Frame numbers of a random clip of a video of `total` frames, always `frames` of them."""
    return pick(picking, *window(total, frames, interval, generator), frames, interval)


def class_ranks(names: Iterable[str]) -> dict[str, int]:
    """Class number of each name: its rank among the names in Python's order, as the reference labels UCF-101."""
    return {name: rank for rank, name in enumerate(sorted(set(names)))}


@dataclass(frozen=True)
class ClipBatch:
    """The clips of one training step.

    Attributes:
        videos: positions (B,) in the list of videos that the sampler was given.
        indices: frame numbers int64 (B, F).
        flipped: whether each clip is mirrored, bool (B,).
    """

    videos: list[int]
    indices: Tensor
    flipped: Tensor


class Epochs:
    """An endless sequence in which each of `count` things comes once an epoch, in an order that is shuffled anew.

    Args:
        count: of the things.
        key: of the random streams; that of an epoch has its number behind it.
    """

    def __init__(self, count: int, *key: int) -> None:
        self.count, self.key = count, key
        self._epoch: tuple[int, list[int]] = (-1, [])

    def at(self, position: int) -> int:
        """The thing at that position, counted from 0."""
        epoch, place = divmod(position, self.count)
        return self._order(epoch)[place]

    def behind(self, position: int) -> int:
        """The one that is next in the order of that epoch, behind the last the first: another than that at `position`
        where there are two."""
        epoch, place = divmod(position, self.count)
        return self._order(epoch)[(place + 1) % self.count]

    def _order(self, epoch: int) -> list[int]:
        if self._epoch[0] != epoch:
            self._epoch = (epoch, torch.randperm(self.count, generator=stream(*self.key, epoch)).tolist())
        return self._epoch[1]


class ClipSampler:
    """Clips for training as a pure function of the step, so that the data position is the step itself.

    Videos come in an order that is shuffled anew each epoch; a batch may reach into the next epoch, so no video is
    dropped and a set smaller than the batch works. Start and flip are drawn from (seed, step).

    Args:
        lengths: frames of each video.
        frames: clip length F.
        interval: distance of the picked frames.
        picking: `stride` or `linspace`.
        flip: probability that a clip is mirrored, one decision a clip.
        batch: clips a step, B.
        seed: of everything drawn.
    """

    def __init__(
        self, lengths: Sequence[int], frames: int, interval: int, picking: str, flip: float, batch: int, seed: int
    ) -> None:
        needed = frames_needed(frames, interval)
        if not lengths or min(lengths) < needed:
            raise RunError(f"every video must have {needed} frames; the shortest has {min(lengths, default=0)}")
        self.lengths, self.frames, self.interval, self.picking = list(lengths), frames, interval, picking
        self.flip, self.size, self.seed = flip, batch, seed
        self._epochs = Epochs(len(self.lengths), seed, 0)

    def batch(self, step: int) -> ClipBatch:
        """The clips of that step, counted from 0; the same at every call."""
        positions = range(step * self.size, (step + 1) * self.size)
        videos = [self._epochs.at(position) for position in positions]
        generator = stream(self.seed, 1, step)
        indices = [
            draw_clip(self.picking, self.lengths[video], self.frames, self.interval, generator) for video in videos
        ]
        flipped = torch.rand(len(videos), generator=generator) < self.flip
        return ClipBatch(videos, torch.tensor(indices, dtype=torch.int64), flipped)


def stream(*key: int) -> Generator:
    """A generator whose stream belongs to the key (NumPy's SeedSequence mixes it, and passes over zeros at its end)."""
    (state,) = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return Generator().manual_seed(int(state) >> 1)
