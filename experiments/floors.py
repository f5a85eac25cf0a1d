"""Floors: what the score is where nothing can be better, at the same counts, so that a number has a scale.

`real_halves`: real clips against other real clips, from disjoint videos. `reconstruction`: the same with one half gone
through the autoencoder, which bounds what any network behind it can reach. `resampled`: the samples of one checkpoint
against those of the same checkpoint from other noise. The first two need no training and are measured before it.

Where there are too few videos for two sides of the score's counts, both are made smaller by the same share, and a
Fréchet distance is brought to the score's counts by the law of its bias, which goes as 1/n_fake + 1/n_real (Chong and
Forsyth 2020, arXiv 1911.07023; a reconstruction's own part is left as it is). What was measured stands beside it.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from components.data.prepare import Prepared
from components.data.transforms import to_pixels
from components.scoring.clip_plan import Clip
from components.scoring.contracts import Features
from components.scoring.measuring import Measuring, Progress, Side, extractor_key, features_in, measure
from components.scoring.sources import ArrayVideos, Videos
from experiments.recording import write_json
from experiments.sample_files import SampleFiles
from experiments.sampling import sample, to_clips
from experiments.scoring import (
    bind,
    changes_size,
    cut_of,
    planned_fake_clips,
    real_videos,
    reference,
    references_of,
    side_of,
    treatment_of,
    will_change_size,
)
from registry.arrays import problem_of, write_array
from registry.errors import RunError
from registry.files import locked
from registry.protocol import Protocol, fingerprint
from registry.runs import FLOORS_FILE, Replicate, read_floors
from registry.spec import Spec

Kind = Literal["real_halves", "reconstruction", "resampled"]
DRAWS = 5  # random splits of the real videos into two


@dataclass(frozen=True)
class FloorRecord:
    """A floor of one metric under one protocol.

    `of` says whose it is: the autoencoder, or the replicate; empty for real clips. `values` are at the score's counts
    `n_fake` and `n_real`, one a draw; `measured` are what came out at the counts `measured_at`.
    """

    floor: Kind
    metric: str
    protocol: str
    of: str
    values: list[float]
    n_fake: int
    n_real: int
    measured: list[float]
    measured_at: list[int]


def add_floors(folder: Path, found: Sequence[FloorRecord]) -> None:
    """Put records into the experiment's file; one of the same floor, metric, protocol and owner is replaced."""
    if not found:
        return
    with locked(folder):
        records = {(r["floor"], r["metric"], r["protocol"], r["of"]): r for r in read_floors(folder)}
        records |= {(r.floor, r.metric, r.protocol, r.of): asdict(r) for r in found}
        write_json(folder / FLOORS_FILE, {"floors": list(records.values())})


def protocols_of(spec: Spec, prepared: Prepared, metrics: Sequence[Any]) -> set[str]:
    """Fingerprints of the scores that floors of a spec are set beside."""
    real, _ = side_of(spec.scoring, "real", real_videos(spec, prepared))
    n_fake = planned_fake_clips(spec)
    used = with_reference(metrics)
    resized = will_change_size(spec, real)
    return {fingerprint(bind(spec.scoring, metric, real, n_fake, resized)) for metric in used}


def with_reference(metrics: Sequence[Any]) -> list[Any]:
    """The metrics that compare with real clips."""
    return [metric for metric in metrics if metric.needs_reference]


@dataclass(frozen=True)
class Pool:
    """Real clips enough for two sides, measured, and the score that floors made of it are set beside."""

    protocol: Protocol
    real: Side
    n_fake: int
    resized: bool
    side: Side
    features: Mapping[str, Features]


def pool_of(
    protocol: Protocol, videos: Videos, n_fake: int, resized: bool, metrics: Sequence[Any], how: Measuring,
    folder: Path, progress: Progress,
) -> Pool:  # fmt: skip
    """Measure real clips for floors: those of the real side, which are there already, and as many more as are needed.

    Args:
        protocol: of the scores that the floors are set beside.
        videos: the real ones.
        n_fake: clips of the samples.
        resized: whether frames of either side of the score change their size.
        metrics: of the protocol.
        how: processes, batches, device.
        folder: of all references.
        progress: is called with (what, clips done, clips in all).
    """
    used = with_reference(metrics)
    real, _ = side_of(protocol, "real", videos)
    known = reference(real, used, how, folder, progress)[1]
    side, _ = side_of(protocol, "real", videos, replace(cut_of(protocol, "real"), most=len(real.clips) + n_fake))
    features = reference(side, used, how, folder, progress, (real, known))[1]
    return Pool(protocol, real, n_fake, resized, side, features)


def real_halves(pool: Pool, metrics: Sequence[Any]) -> list[FloorRecord]:
    """Real clips against real clips of other videos, `DRAWS` times; fewer than 4 videos give no floor."""
    return _by_splits("real_halves", "", pool, pool.features, metrics)


def reconstruction(
    spec: Spec, autoencoder: Any, pool: Pool, prepared: Prepared, metrics: Sequence[Any], how: Measuring,
    progress: Progress,
) -> list[FloorRecord]:  # fmt: skip
    """Clips through an autoencoder, treated like samples, against real clips of other videos.

    Args:
        spec: says how clips become the model's pixels.
        autoencoder: on the device of `how`.
        pool: of the same spec.
        prepared: the data.
        metrics: of the protocol.
        how: processes, batches, device.
        progress: is called with (what, clips done, clips in all).
    """
    treatment = treatment_of(spec.scoring, "fake")
    own = references_of(prepared) / f"{pool.side.key[:16]}-{autoencoder.fingerprint()[:10]}"
    named = f"{pool.side.key} through {autoencoder.fingerprint()}"
    used, fake = with_reference(metrics), replace(pool.side, side="fake", named=named)
    with locked(own):
        if features_in(own, used, fake) is None:
            coded = own / "clips"
            coded.mkdir(exist_ok=True)
            files = [coded / f"clips-{number:06d}.npy" for number in range(len(pool.side.clips))]
            for number, (clip, path) in enumerate(zip(pool.side.clips, files, strict=True)):
                about = f"clip {number} of real side {named}"
                if problem_of(path, about):
                    write_array(path, _coded(spec, autoencoder, pool.side, clip, torch.device(how.device)), about)
                progress("reconstruction floor", number + 1, len(pool.side.clips))
            clips = ArrayVideos(coded, files)
            if clips.rejected:
                raise RunError(f"{coded}: {': '.join(clips.rejected[0])}; run it again")
            planned = tuple(Clip(video, tuple(range(video.frames))) for video in clips.listed)
            measure(Side("fake", clips, planned, treatment, named), used, how, own, progress)
            shutil.rmtree(coded)  # they are large, and the features are what was wanted
    of_coded = features_in(own, used, fake)
    assert of_coded is not None, "measured above"
    return _by_splits("reconstruction", owner(autoencoder), pool, of_coded, metrics)


def owner(autoencoder: Any) -> str:
    """How a reconstruction floor names its autoencoder."""
    mark, name = autoencoder.fingerprint(), autoencoder.part_name
    return mark if mark.startswith(name) else f"{name}-{mark[:10]}"


def _coded(spec: Spec, autoencoder: Any, side: Side, clip: Clip, device: torch.device) -> np.ndarray:
    """A real clip as the model's pixels, encoded and decoded: uint8 (1, F, R, R, 3)."""
    data = spec.data
    frames = side.videos.read(clip.video, clip.indices)
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
    used = with_reference(metrics)
    real, _ = side_of(spec.scoring, "real", real_videos(spec, prepared))
    records = []
    with locked(folder):
        sample(again, torch.device(how.device), stop, progress, folder)
        first, _ = side_of(spec.scoring, "fake", SampleFiles(replicate, replicate.folder / "samples").videos())
        second, _ = side_of(spec.scoring, "fake", SampleFiles(again, folder).videos())
        of_first, of_second = (measure(side, used, how, folder / side.key[:16], progress) for side in (first, second))
    counts, at = (len(first.clips), len(real.clips)), (len(second.clips), len(first.clips))
    for metric in used:
        key = extractor_key(metric.extractor)
        bound = fingerprint(bind(spec.scoring, metric, real, counts[0], changes_size(first, real)))
        for name, found in metric.score(of_second[key], of_first[key]).items():
            value = found.value * _factor(metric, name, at, counts)
            records.append(
                FloorRecord("resampled", name, bound, owner_of(replicate), [value], *counts, [found.value], list(at))
            )
    return records


def owner_of(replicate: Replicate) -> str:
    """How a resampled floor names its replicate."""
    return f"{replicate.identity}/seed-{replicate.seed}"


def _by_splits(
    kind: Kind, of: str, pool: Pool, left_features: Mapping[str, Features], metrics: Sequence[Any]
) -> list[FloorRecord]:
    """A record per score: one half's clips by the left features against the other half's by the pool's."""
    values: dict[str, list[float]] = {}
    measured: dict[str, list[float]] = {}
    protocols: dict[str, str] = {}
    counts = pool.n_fake, len(pool.real.clips)
    at = (0, 0)
    used = with_reference(metrics)
    marks = [fingerprint(bind(pool.protocol, metric, pool.real, pool.n_fake, pool.resized)) for metric in used]
    for left, right in _splits(pool.side, *counts):
        at = len(left), len(right)
        for metric, mark in zip(used, marks, strict=True):
            key = extractor_key(metric.extractor)
            others = pool.features[key].subset(right)
            try:
                found = metric.score(left_features[key].subset(left), others)
                real = metric.score(pool.features[key].subset(left), others) if kind == "reconstruction" else found
            except RunError:  # too few clips for this metric: no floor
                continue
            for name, score in found.items():
                bias = real[name].value * (_factor(metric, name, at, counts) - 1)
                measured.setdefault(name, []).append(score.value)
                values.setdefault(name, []).append(score.value + bias)
                protocols[name] = mark
    return [
        FloorRecord(kind, name, protocols[name], of, values[name], *counts, measured[name], list(at)) for name in values
    ]


def _factor(metric: Any, name: str, at: tuple[int, int], counts: tuple[int, int]) -> float:
    """The bias of a score at some counts as a multiple of that at the counts where it was measured."""
    if name.split("[")[0] not in metric.biased:
        return 1.0
    return (1 / counts[0] + 1 / counts[1]) / (1 / at[0] + 1 / at[1])


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
        for place in np.random.RandomState(draw).permutation(len(videos)):
            part = left if len(left) < wanted[0] else right
            part += videos[place]
        yield sorted(left[: wanted[0]]), sorted(right[: wanted[1]])
