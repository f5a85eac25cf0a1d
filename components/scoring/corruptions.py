"""What can go wrong with a set of videos, at a strength: what a detector is tried with and one is trained on.

Everything works on uint8 clips (N, L, H, W, 3) and gives clips of `frames` frames, cut from the middle of the L that
there are. `dropped_frames` alone needs more, up to twice as many as it gives. The same seed gives the same pixels; a
clip's own random stream depends on the seed and its place in the set.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from registry.errors import RunError

Clips = NDArray[np.uint8]

NOISE = 60.0  # standard deviation in grey levels at strength 1
BLUR = 1 / 16  # standard deviation at strength 1, as a part of the frame's longer side
DARKER = 0.8  # of the brightness that is gone at strength 1


def spoil(
    name: str, clips: Clips, strength: float, seed: int, *, frames: int, labels: Sequence[str] | None = None
) -> Clips:
    """The clips with that corruption, uint8 (M, frames, H, W, 3); M is N except for `class_imbalance`.

    Args:
        name: one of `CORRUPTIONS`.
        clips: uint8 (N, L, H, W, 3).
        strength: from 0, which only cuts out the middle (and for `class_imbalance` evens the classes), to 1.
        seed: of everything random.
        frames: how many each clip is to have, at most L.
        labels: the class of each clip; `class_imbalance` needs them.

    Raises:
        RunError: no such corruption, a strength outside of 0 to 1, too few frames, or labels that are missing.
    """
    if name not in CORRUPTIONS:
        raise RunError(f"there is no corruption {name!r}; there are {', '.join(CORRUPTIONS)}")
    needed = frames_needed(name, frames)
    if clips.shape[1] < needed:
        raise RunError(f"{name} makes clips of {frames} frames from clips of {needed}, not of {clips.shape[1]}")
    if name in OF_SETS:
        return middle(clips[picked(name, len(clips), strength, seed, labels=labels)], frames)
    _check(name, strength)
    change = OF_CLIPS[name]
    own = (np.random.default_rng([seed, number]) for number in range(len(clips)))
    return np.stack([change(clip, strength, draw, frames) for clip, draw in zip(clips, own, strict=True)])


def picked(
    name: str, count: int, strength: float, seed: int, *, labels: Sequence[str] | None = None
) -> NDArray[np.int64]:
    """Which clips of a set of `count` make up the spoiled set, for the corruptions that leave the clips as they are.

    Raises:
        RunError: a strength outside of 0 to 1, or labels that are missing.
    """
    _check(name, strength)
    return OF_SETS[name](count, strength, np.random.default_rng([seed, 0]), labels)


def _check(name: str, strength: float) -> None:
    if not 0 <= strength <= 1:
        raise RunError(f"the strength of {name} must be from 0 to 1, not {strength}")


def frames_needed(name: str, frames: int) -> int:
    """How many frames a clip must have for that corruption to give clips of `frames`."""
    return 2 * frames if name == "dropped_frames" else frames


def middle(clips: Clips, frames: int) -> Clips:
    """The `frames` frames in the middle of clips (N, L, H, W, 3)."""
    first = (clips.shape[1] - frames) // 2
    return clips[:, first : first + frames]


# --- one clip (L, H, W, 3) -> (frames, H, W, 3) ----------------------------------------------------------------------


def _cut(clip: Clips, frames: int) -> Clips:
    return middle(clip[None], frames)[0]


def noise(clip: Clips, strength: float, draw: np.random.Generator, frames: int) -> Clips:
    """Normal noise of its own on every value."""
    cut = _cut(clip, frames)
    spoiled = cut + draw.standard_normal(cut.shape, dtype=np.float32) * np.float32(strength * NOISE)
    return np.rint(spoiled).clip(0, 255).astype(np.uint8)


def blur(clip: Clips, strength: float, draw: np.random.Generator, frames: int) -> Clips:
    """A Gaussian blur within each frame, as wide for a large frame as for a small one."""
    cut = _cut(clip, frames).astype(np.float32)
    sigma = strength * BLUR * max(cut.shape[1:3])
    return np.rint(ndimage.gaussian_filter(cut, (0, sigma, sigma, 0))).clip(0, 255).astype(np.uint8)


def frame_shuffle(clip: Clips, strength: float, draw: np.random.Generator, frames: int) -> Clips:
    """That part of the frames changes places among themselves; each of them moves."""
    order, moved = np.arange(frames), draw.permutation(frames)[: _share(strength, frames, least=2)]
    order[moved] = order[np.roll(moved, 1)]
    return _cut(clip, frames)[order]


def frozen_frames(clip: Clips, strength: float, draw: np.random.Generator, frames: int) -> Clips:
    """That part of the frames, at random places, repeats the one before; at 1 the clip is one still picture."""
    shown = np.arange(frames)
    shown[1 + draw.permutation(frames - 1)[: _share(strength, frames - 1)]] = 0
    return _cut(clip, frames)[np.maximum.accumulate(shown)]


def dropped_frames(clip: Clips, strength: float, draw: np.random.Generator, frames: int) -> Clips:
    """So many frames for each that is kept are left out at random places: the motion jumps ahead."""
    span = frames + _share(strength, frames)
    kept = np.sort(draw.permutation(span)[:frames])
    return _cut(clip, span)[kept]


def darker(clip: Clips, strength: float, draw: np.random.Generator, frames: int) -> Clips:
    """All values times one factor."""
    return np.rint(_cut(clip, frames) * (1 - DARKER * strength)).astype(np.uint8)


def reversed_clips(clip: Clips, strength: float, draw: np.random.Generator, frames: int) -> Clips:
    """Played backwards with that probability."""
    cut = _cut(clip, frames)
    return cut[::-1] if draw.random() < strength else cut


# --- a set of n clips -> which of them, in order ---------------------------------------------------------------------


def class_imbalance(
    count: int, strength: float, draw: np.random.Generator, labels: Sequence[str] | None
) -> NDArray[np.int64]:
    """As many clips as the smallest class has, none twice: from all classes alike, at 1 from the first class only."""
    if labels is None or len(labels) != count:
        raise RunError("class_imbalance needs the class of every clip")
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise RunError("class_imbalance needs clips of at least 2 classes")
    members = {name: draw.permutation(np.flatnonzero(np.asarray(labels) == name)) for name in classes}
    total = min(len(found) for found in members.values())
    if total < len(classes):
        raise RunError(f"class_imbalance needs at least {len(classes)} clips of each of {len(classes)} classes")
    rest = round(total * (1 - 1 / len(classes)) * (1 - strength))  # of all classes but the first
    counts = [total - rest] + [(rest + place) // (len(classes) - 1) for place in range(len(classes) - 1)]
    chosen = [members[name][:count] for name, count in zip(classes, counts, strict=True)]
    return np.sort(np.concatenate(chosen))


def mode_collapse(
    count: int, strength: float, draw: np.random.Generator, labels: Sequence[str] | None
) -> NDArray[np.int64]:
    """n^(1 - strength) different clips, repeated in turn: at 0 all of them, at 1 a single one."""
    different = draw.permutation(count)[: max(1, round(count ** (1 - strength)))]
    return np.resize(different, count)


def _share(strength: float, of: int, least: int = 1) -> int:
    """How many of `of` that strength touches: none at 0, else at least `least`."""
    return max(least, round(strength * of)) if strength > 0 else 0


OF_CLIPS: dict[str, Callable[[Clips, float, np.random.Generator, int], Clips]] = {
    "noise": noise,
    "blur": blur,
    "frame_shuffle": frame_shuffle,
    "frozen_frames": frozen_frames,
    "dropped_frames": dropped_frames,
    "darker": darker,
    "reversed": reversed_clips,
}
OF_SETS: dict[str, Callable[[int, float, np.random.Generator, Sequence[str] | None], NDArray[np.int64]]] = {
    "class_imbalance": class_imbalance,
    "mode_collapse": mode_collapse,
}
CORRUPTIONS = (*OF_CLIPS, *OF_SETS)
