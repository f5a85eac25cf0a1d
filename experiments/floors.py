"""Floors: what the score is where nothing can be better, at the same counts, so that a number has a scale.

`real_halves`: real clips against other real clips, from disjoint videos. `reconstruction`: the same with one half gone
through the autoencoder, which bounds what any network behind it can reach. `resampled`: the samples of one checkpoint
against those of the same checkpoint from other noise. The first two need no training and are measured before it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from components.data.prepare import Prepared
from components.data.transforms import to_pixels
from components.scoring.clip_plan import Clip
from components.scoring.contracts import Features
from components.scoring.measuring import Measuring, Progress, Side, extractor_key, measure
from components.scoring.sources import ArrayVideos, Videos
from experiments.recording import write_json
from experiments.sampling import sample, to_clips, write_clips
from experiments.scoring import REFERENCES, bind, cut_of, locked, planned_fake_clips, real_videos, reference, side_of
from registry.assemble import Assembly
from registry.errors import RunError
from registry.protocol import Protocol, fingerprint
from registry.runs import FLOORS_FILE, Replicate, read_floors
from registry.spec import Spec

Floor = Literal["real_halves", "reconstruction", "resampled"]
DRAWS = 5  # random splits of the real videos into two


@dataclass(frozen=True)
class FloorRecord:
    """A floor of one metric under one protocol: a value per draw."""

    floor: Floor
    metric: str
    protocol: str
    values: list[float]
    n_fake: int
    n_real: int


def add_floors(folder: Path, found: Sequence[FloorRecord]) -> None:
    """Put records into the experiment's file; one of the same floor, metric and protocol is replaced."""
    if not found:
        return
    records = {(r["floor"], r["metric"], r["protocol"]): r for r in read_floors(folder)}
    records |= {(r.floor, r.metric, r.protocol): vars(r) for r in found}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FLOORS_FILE, {"floors": list(records.values())})


def protocols_of(spec: Spec, prepared: Prepared, metrics: Sequence[Any]) -> set[str]:
    """Fingerprints of the scores that floors of a spec are set beside."""
    real, _ = side_of(spec.scoring, "real", real_videos(spec, prepared))
    n_fake = planned_fake_clips(spec)
    return {fingerprint(bind(spec.scoring, metric, real, n_fake)) for metric in _with_reference(metrics)}


def real_halves(
    protocol: Protocol, videos: Videos, n_fake: int, metrics: Sequence[Any], how: Measuring, folder: Path,
    progress: Progress,
) -> tuple[list[FloorRecord], Side]:  # fmt: skip
    """Real clips against real clips of other videos, under the real side's rules, at the protocol's counts.

    One pool of clips is measured and split by videos, `DRAWS` times; where there are too few videos for both counts,
    both are made smaller by the same share. Fewer than 4 videos give no floor.

    Args:
        protocol: of the scores that the floor is set beside.
        videos: the real ones.
        n_fake: clips of the samples.
        metrics: of the protocol.
        how: processes, batches, device.
        folder: of the dataset's references.
        progress: is called with (what, clips done, clips in all).

    Returns:
        The records, and the measured pool.
    """
    real, _ = side_of(protocol, "real", videos)
    pool, _ = side_of(protocol, "real", videos, replace(cut_of(protocol, "real"), most=len(real.clips) + n_fake))
    _, features = reference(pool, _with_reference(metrics), how, folder, progress)
    return _by_splits("real_halves", protocol, metrics, real, pool, n_fake, (features, features)), pool


def reconstruction(
    spec: Spec, pool: Side, prepared: Prepared, metrics: Sequence[Any], how: Measuring, progress: Progress
) -> list[FloorRecord]:
    """Clips through the spec's autoencoder against real clips of other videos, in the splits of `real_halves`.

    Args:
        spec: has the autoencoder and the protocol.
        pool: from `real_halves`.
        prepared: the data.
        metrics: of the protocol.
        how: processes, batches, device.
        progress: is called with (what, clips done, clips in all).

    Raises:
        RunError: the autoencoder's weights are not on this machine.
    """
    protocol, used = spec.scoring, _with_reference(metrics)
    autoencoder = Assembly(spec).autoencoder().to(torch.device(how.device))
    folder = prepared.folder / REFERENCES
    own = folder / f"{pool.key[:16]}-{autoencoder.fingerprint()[:10]}"
    own.mkdir(parents=True, exist_ok=True)
    _, of_real = reference(pool, used, how, folder, progress)
    with locked(own, progress):
        coded = own / "clips"
        if not (coded / "complete").exists():
            coded.mkdir(exist_ok=True)
            for number, clip in enumerate(pool.clips):
                path = coded / f"clips-{number:06d}.npy"
                if not path.exists():
                    write_clips(path, _coded(spec, autoencoder, pool, clip, torch.device(how.device)))
                progress("reconstruction floor", number + 1, len(pool.clips))
            (coded / "complete").touch()
        clips = ArrayVideos(coded)
        side = replace(pool, videos=clips, clips=tuple(Clip(v, tuple(range(v.frames))) for v in clips.listed))
        of_coded = measure(side, used, how, own, progress)
    real, _ = side_of(protocol, "real", real_videos(spec, prepared))
    n_fake = planned_fake_clips(spec)
    return _by_splits("reconstruction", protocol, metrics, real, pool, n_fake, (of_coded, of_real))


def _coded(spec: Spec, autoencoder: Any, pool: Side, clip: Clip, device: torch.device) -> np.ndarray:
    """A real clip as the model's pixels, encoded and decoded: uint8 (1, F, R, R, 3)."""
    data = spec.data
    frames = pool.videos.read(clip.video, clip.indices)
    pixels = to_pixels(frames, data.resolution, data.transform, data.antialias).to(device)
    with torch.inference_mode():
        means = autoencoder.encode_moments(pixels)[:, : autoencoder.channels]
        return to_clips(autoencoder.decode(means)[None])


def resampled(
    replicate: Replicate, metrics: Sequence[Any], prepared: Prepared, how: Measuring,
    stop: Callable[[], bool], progress: Progress,
) -> list[FloorRecord]:  # fmt: skip
    """The samples of a finished replicate against samples of the same checkpoint from other noise.

    Args:
        replicate: is done.
        metrics: of its protocol.
        prepared: its data.
        how: processes, batches, device.
        stop: asked after every batch of samples.
        progress: is called with (what, done, in all).
    """
    spec, folder = replicate.spec, replicate.folder / "resampled"
    other = spec.sampling.model_copy(update={"seed": spec.sampling.seed + 1})
    again = replace(replicate, spec=spec.model_copy(update={"sampling": other}))
    sample(again, torch.device(how.device), stop, progress, folder)
    used = _with_reference(metrics)
    first, _ = side_of(spec.scoring, "fake", ArrayVideos(replicate.folder / "samples"))
    second, _ = side_of(spec.scoring, "fake", ArrayVideos(folder))
    of_first, of_second = (measure(side, used, how, folder / side.key[:16], progress) for side in (first, second))
    real, _ = side_of(spec.scoring, "real", real_videos(spec, prepared))
    records = []
    for metric in used:
        key = extractor_key(metric.extractor)
        bound = fingerprint(bind(spec.scoring, metric, real, len(first.clips)))
        for name, found in metric.score(of_second[key], of_first[key]).items():
            records.append(FloorRecord("resampled", name, bound, [found.value], len(second.clips), len(first.clips)))
    return records


def _with_reference(metrics: Sequence[Any]) -> list[Any]:
    return [metric for metric in metrics if metric.needs_reference]


def _by_splits(
    floor: Floor, protocol: Protocol, metrics: Sequence[Any], real: Side, pool: Side, n_fake: int,
    features: tuple[Mapping[str, Features], Mapping[str, Features]],
) -> list[FloorRecord]:  # fmt: skip
    """A record per score: the left features of one half of the videos against the right features of the other."""
    values: dict[str, list[float]] = {}
    bound_of: dict[str, str] = {}
    counts = (0, 0)
    for left, right in _splits(pool, n_fake, len(real.clips)):
        counts = len(left), len(right)
        for metric in _with_reference(metrics):
            key = extractor_key(metric.extractor)
            try:
                scores = metric.score(features[0][key].subset(left), features[1][key].subset(right))
            except RunError:  # too few clips for this metric: no floor
                continue
            for name, found in scores.items():
                values.setdefault(name, []).append(found.value)
                bound_of[name] = fingerprint(bind(protocol, metric, real, n_fake))
    return [FloorRecord(floor, name, bound_of[name], of, *counts) for name, of in values.items()]


def _splits(pool: Side, n_fake: int, n_real: int) -> Iterator[tuple[list[int], list[int]]]:
    """Numbers of the pool's clips in two parts that share no video, of n_fake and n_real clips or the same share."""
    by_video: dict[int, list[int]] = {}
    for number, clip in enumerate(pool.clips):
        by_video.setdefault(clip.video.number, []).append(number)
    videos = list(by_video.values())
    if len(videos) < 4:
        return
    share = min(1.0, len(pool.clips) / (n_fake + n_real))
    wanted = max(2, round(share * n_fake)), max(2, round(share * n_real))
    for draw in range(DRAWS):
        left: list[int] = []
        right: list[int] = []
        for place in np.random.default_rng(draw).permutation(len(videos)):
            part = left if len(left) < wanted[0] else right
            part += videos[place]
        yield sorted(left[: wanted[0]]), sorted(right[: wanted[1]])
