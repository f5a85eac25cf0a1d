"""Floors: what the score is where nothing can be better, at the same counts, so that a number has a scale.

`real_halves`: real clips against other real clips, from disjoint videos. `reconstruction`: the same with one half gone
through the autoencoder, which bounds what any network behind it can reach. `resampled`: the samples of one checkpoint
against those of the same checkpoint from other noise. The first two need no training and are measured before it.

The half that stands for the samples has as many clips a video as these have (one, where a sample is as long as a clip),
the other half as many as the real side. Where there are too few videos for two sides of the score's counts, both halves
are made smaller by the same share, and a Fréchet distance is brought to the score's counts by the law of its bias,
which goes as 1/n_fake + 1/n_real (Chong and Forsyth 2020, arXiv 1911.07023; a reconstruction's own part is left as it
is). The law is about independent clips, and clips of one video are not: both n count videos. What was measured stands
beside it.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from components.data.prepare import Prepared
from components.data.transforms import to_pixels, to_uint8_frames
from components.scoring.contracts import Features
from components.scoring.features.clip_selection import Clip
from components.scoring.features.extraction import Measuring, Progress, Side, extractor_key, features_in, measure
from components.scoring.features.sources import ArrayVideos, Videos
from experiments.record.recording import write_json
from experiments.sampling.sample_files import files_of
from experiments.sampling.trainings import sample
from experiments.scores.kept_samples import drop_samples, sample_again
from experiments.scores.scoring import (
    Counts,
    bind,
    changes_size,
    cut_of,
    planned_fake,
    real_videos,
    reference,
    references_of,
    side_of,
    takes_held_out,
    treatment_of,
    will_change_size,
)
from registry.errors import RunError
from registry.runs.arrays import problem_of, write_array
from registry.runs.files import locked
from registry.runs.floors import owner_of, read_floors
from registry.runs.places import FLOORS_FILE
from registry.runs.records import Floor
from registry.runs.replicate import Replicate
from registry.schema.protocol import Protocol, fingerprint
from registry.schema.spec import Spec

Kind = Literal["real_halves", "reconstruction", "resampled"]
DRAWS = 5  # random splits of the real videos into two


def known_floors(folder: Path) -> list[Floor]:
    """Return the floors of an experiment's folder that need not be measured again: those whose videos were counted."""
    return [record for record in read_floors(folder) if record.videos]


def add_floors(folder: Path, found: Sequence[Floor]) -> None:
    """Put records into the experiment's file; one of the same floor, metric, protocol and owner is replaced."""
    if not found:
        return
    with locked(folder):
        records = {(r.floor, r.metric, r.protocol, r.of): r for r in (*read_floors(folder), *found)}
        write_json(folder / FLOORS_FILE, {"floors": [record.model_dump(mode="json") for record in records.values()]})


def protocols_of(spec: Spec, prepared: Prepared, metrics: Sequence[Any]) -> set[str]:
    """Fingerprints of the scores that floors of a spec are set beside."""
    real, _ = side_of(spec.scoring, "real", real_videos(spec, prepared))
    n_fake = planned_fake(spec).clips
    used = with_reference(metrics)
    resized = will_change_size(spec, real)
    return {fingerprint(bind(spec.scoring, metric, real, n_fake, resized)) for metric in used}


def with_reference(metrics: Sequence[Any]) -> list[Any]:
    """The metrics that compare samples with real clips and nothing else: of those floors are made."""
    apart = takes_held_out(metrics)  # they have their own scale: held-out clips are at 1
    return [metric for metric in metrics if metric.needs_reference and metric not in apart]


@dataclass(frozen=True)
class Pool:
    """Real clips enough for two sides, measured, and the score that floors made of it are set beside."""

    protocol: Protocol
    real: Side
    fake: Counts
    resized: bool
    side: Side
    features: Mapping[str, Features]


def pool_of(
    protocol: Protocol, videos: Videos, fake: Counts, resized: bool, metrics: Sequence[Any], how: Measuring,
    folder: Path, progress: Progress,
) -> Pool:  # fmt: skip
    """Measure real clips for floors: those of the real side, which are there already, and as many more as are needed.

    Args:
        protocol: of the scores that the floors are set beside.
        videos: the real ones.
        fake: clips and videos of the samples.
        resized: whether frames of either side of the score change their size.
        metrics: of the protocol.
        how: processes, batches, device.
        folder: of all references.
        progress: is called with (what, clips done, clips in all).
    """
    used = with_reference(metrics)
    real, _ = side_of(protocol, "real", videos)
    known = reference(real, used, how, folder, progress)[1]
    side, _ = side_of(protocol, "real", videos, replace(cut_of(protocol, "real"), most=len(real.clips) + fake.clips))
    features = reference(side, used, how, folder, progress, (real, known))[1]
    return Pool(protocol, real, fake, resized, side, features)


def real_halves(pool: Pool, metrics: Sequence[Any]) -> list[Floor]:
    """Real clips against real clips of other videos, `DRAWS` times; fewer than 4 videos give no floor."""
    return _by_splits("real_halves", "", pool, pool.features, metrics)


def reconstruction(
    spec: Spec, autoencoder: Any, pool: Pool, prepared: Prepared, metrics: Sequence[Any], how: Measuring,
    progress: Progress,
) -> list[Floor]:  # fmt: skip
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
    return owner_name(autoencoder.part_name, autoencoder.fingerprint())


def owner_name(part: str, fingerprint: str) -> str:
    """Return how a reconstruction floor names an autoencoder, by the name of its part and its fingerprint."""
    return fingerprint if fingerprint.startswith(part) else f"{part}-{fingerprint[:10]}"


def _coded(spec: Spec, autoencoder: Any, side: Side, clip: Clip, device: torch.device) -> np.ndarray:
    """A real clip as the model's pixels, encoded and decoded: uint8 (1, F, R, R, 3)."""
    data = spec.data
    frames = side.videos.read(clip.video, clip.indices)
    pixels = to_pixels(frames, data.resolution, data.transform, data.antialias).to(device)
    with torch.inference_mode():
        means = autoencoder.encode_moments(pixels)[:, : autoencoder.channels]
        return to_uint8_frames(autoencoder.decode(means))[None]


def resampled(
    replicate: Replicate, metrics: Sequence[Any], prepared: Prepared, how: Measuring,
    stop: Callable[[], bool], progress: Progress,
) -> list[Floor]:  # fmt: skip
    """The samples of a finished replicate against samples of the same checkpoint from other noise.

    Samples that were dropped (`runtime.keep_samples`) are sampled again first. Both sets stay until `drop_resampled`,
    so that a try that is interrupted goes on where it stopped.

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
        sample_again(replicate, torch.device(how.device), stop, progress)
        sample(again, torch.device(how.device), stop, progress, folder)
        first, _ = side_of(spec.scoring, "fake", files_of(replicate, replicate.folder / "samples").videos())
        second, _ = side_of(spec.scoring, "fake", files_of(again, folder).videos())
        of_first, of_second = (measure(side, used, how, folder / side.key[:16], progress) for side in (first, second))
    n_first, n_second, n_real = (Counts.of(side.clips) for side in (first, second, real))
    for metric in used:
        key = extractor_key(metric.extractor)
        bound = fingerprint(bind(spec.scoring, metric, real, n_first.clips, changes_size(first, real)))
        for name, found in metric.score(of_second[key], of_first[key]).items():
            value = found.value * _factor(metric, name, (n_second, n_first), (n_first, n_real))
            records.append(
                Floor(
                    floor="resampled", metric=name, protocol=bound, of=owner_of(replicate), values=[value],
                    measured=[found.value], higher_is_better=metric.higher_is_better,
                    **_counted((n_first, n_real), (n_second, n_first)),
                )
            )  # fmt: skip
    return records


def drop_resampled(replicate: Replicate) -> None:
    """Drop what `resampled` sampled, once its floor is recorded, unless `runtime.keep_samples` keeps everything."""
    rule, result, other = replicate.spec.runtime.keep_samples, replicate.folder / "result.json", "resampled"
    with locked(replicate.folder / other):
        dropped = drop_samples(replicate.folder / "samples", rule, result)
        keeps_all = rule == "all" or (rule == "auto" and not dropped)
        drop_samples(replicate.folder / other, "all" if keeps_all else "none", result)


def _by_splits(
    kind: Kind, of: str, pool: Pool, left_features: Mapping[str, Features], metrics: Sequence[Any]
) -> list[Floor]:
    """A record per score: one half's clips by the left features against the other half's by the pool's."""
    values: dict[str, list[float]] = {}
    measured: dict[str, list[float]] = {}
    protocols: dict[str, str] = {}
    higher: dict[str, bool] = {}
    counts = pool.fake, Counts.of(pool.real.clips)
    at = counts
    used = with_reference(metrics)
    marks = [fingerprint(bind(pool.protocol, metric, pool.real, pool.fake.clips, pool.resized)) for metric in used]
    for left, right in _splits(pool.side, *counts):
        at = Counts.of([pool.side.clips[k] for k in left]), Counts.of([pool.side.clips[k] for k in right])
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
                protocols[name], higher[name] = mark, metric.higher_is_better
    return [
        Floor(
            floor=kind, metric=name, protocol=protocols[name], of=of, values=values[name], measured=measured[name],
            higher_is_better=higher[name], **_counted(counts, at),
        )
        for name in values
    ]  # fmt: skip


Two = tuple[Counts, Counts]  # of the fake and of the real side


def _counted(counts: Two, at: Two) -> dict[str, Any]:
    """The fields of a record that say how many clips and videos the score has, and the measurement had."""
    (n_fake, n_real), videos = zip(*counts, strict=True)
    measured_at, measured_videos = zip(*at, strict=True)
    return {
        "n_fake": n_fake, "n_real": n_real, "measured_at": list(measured_at), "videos": list(videos),
        "measured_videos": list(measured_videos),
    }  # fmt: skip


def _factor(metric: Any, name: str, at: Two, counts: Two) -> float:
    """The bias of a score at some counts as a multiple of that at the counts where it was measured."""
    if name.split("[")[0] not in metric.biased:
        return 1.0
    there, here = (sum(1 / side.videos for side in both) for both in (counts, at))
    return there / here


def _splits(pool: Side, fake: Counts, real: Counts) -> Iterator[tuple[list[int], list[int]]]:
    """Numbers of the pool's clips in two parts that share no video, of the two sides' counts or the same share of them.

    Args:
        pool: real clips, those of a video in the order of their turns.
        fake: of the part that stands for the samples.
        real: of the other part.
    """
    by_video: dict[int, list[int]] = {}
    for number, clip in enumerate(pool.clips):
        by_video.setdefault(clip.video.number, []).append(number)
    videos = list(by_video.values())
    if len(videos) < 4:
        return
    share = min(1.0, len(videos) / (fake.videos + real.videos))
    middle = min(_part(share, fake.videos), len(videos) - 2)
    for draw in range(DRAWS):
        order = [videos[place] for place in np.random.RandomState(draw).permutation(len(videos))]
        left, right = order[:middle], order[middle : middle + _part(share, real.videos)]
        yield _by_turns(left, _part(share, fake.clips)), _by_turns(right, _part(share, real.clips))


def _part(share: float, count: int) -> int:
    return max(2, round(share * count))


def _by_turns(videos: Sequence[Sequence[int]], most: int) -> list[int]:
    """At most so many clips: the first of every video, then the second of every video that has one, and so on."""
    turns = [(turn, place) for place, clips in enumerate(videos) for turn in range(len(clips))]
    return sorted(videos[place][turn] for turn, place in sorted(turns)[:most])
