"""Scores: both sides of a protocol planned and measured, each metric's protocol bound, every number with its noise."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from components.data.prepare import Prepared
from components.scoring.contracts import Features, Score
from components.scoring.features.clip_selection import Clip, Cut, Video, plan_clips
from components.scoring.features.extraction import (
    Measuring,
    Progress,
    Side,
    extractor_key,
    extractors_of,
    features_in,
    measure,
    never,
)
from components.scoring.features.preprocessing import Treatment
from components.scoring.features.sources import PreparedVideos, Videos, one_size
from experiments.record.recording import machine, write_json
from experiments.sampling.sample_files import SampleFiles
from experiments.training.processes import ALONE, Processes
from registry.errors import Interrupted, RunError
from registry.runs.arrays import problem_of, write_array
from registry.runs.files import locked
from registry.schema.protocol import Protocol, describe, fingerprint
from registry.schema.spec import Spec

SHOWN_CLIPS = 8  # real clips kept beside the reference statistics, for pictures
REFERENCES = "references"  # folder beside those of the prepared data sets
FOUND, MEASURE = "found", "measure"  # what rank 0 says to the others about a reference,
STOPPED = "stopped while another process measured the real clips"  # or this


@dataclass
class Scores:
    """What a protocol's metrics gave for one set of samples.

    Attributes:
        scores: full name -> score.
        protocols: full name -> fingerprint.
        specs: fingerprint -> bound protocol.
        n_fake: clips on the fake side.
        n_real: clips on the real side.
        failed: what went wrong with the metrics that gave nothing.
    """

    n_fake: int
    n_real: int
    scores: dict[str, Score] = field(default_factory=dict)
    protocols: dict[str, str] = field(default_factory=dict)
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @property
    def values(self) -> dict[str, float]:
        return {name: score.value for name, score in self.scores.items()}

    def details(self) -> dict[str, dict[str, Any]]:
        """Everything but the value, by full name, as plain values."""
        counts = {"n_fake": self.n_fake, "n_real": self.n_real}
        return {
            name: {
                **counts,
                "interval": list(score.interval) if score.interval else None,
                "curve": [asdict(point) for point in score.curve],
                "details": score.details,
            }
            for name, score in self.scores.items()
        }


def cut_of(protocol: Protocol, side: str) -> Cut:
    """How clips are cut on the `real` or the `fake` side of a protocol."""
    return Cut(
        side=side,
        frames=protocol.frames or 0,
        interval=getattr(protocol, f"{side}_interval"),
        picking=protocol.picking or "",
        start=getattr(protocol, f"{side}_start"),
        shortest=protocol.shortest,
        short=getattr(protocol, f"{side}_short"),
        clips_per_video=protocol.clips_per_video,
        seed=protocol.seed,
        most=getattr(protocol, f"{side}_clips"),
    )


def treatment_of(protocol: Protocol, side: str) -> Treatment:
    """What happens to the frames on the `real` or the `fake` side of a protocol."""
    return Treatment(
        resolution=protocol.resolution,
        transform=protocol.transform or "",
        kernel=protocol.kernel or "",
        antialias=bool(protocol.antialias),
        storage=getattr(protocol, f"{side}_storage"),
        jpeg_quality=protocol.jpeg_quality,
        jpeg_subsampling=protocol.jpeg_subsampling,
        h264_crf=protocol.h264_crf,
    )


def side_of(protocol: Protocol, side: str, videos: Videos, cut: Cut | None = None) -> tuple[Side, list[Video]]:
    """One side of a protocol, ready to be measured, and the videos that are too short for it."""
    try:
        clips, short = plan_clips(videos.listed, cut or cut_of(protocol, side))
    except RunError as error:
        rejected = videos.rejected
        more = f"; rejected: {len(rejected)}, the first: {': '.join(rejected[0])}" if rejected else ""
        raise RunError(f"{error}{more}") from None
    return Side(side, videos, tuple(clips), treatment_of(protocol, side)), short


def real_videos(spec: Spec, prepared: Prepared) -> PreparedVideos:
    """The videos that a spec's scores are held against."""
    return PreparedVideos(prepared, spec.scoring.split)


def takes_held_out(metrics: Sequence[Any]) -> list[Any]:
    """Return the metrics that also take real clips that were held out of training."""
    return [metric for metric in metrics if getattr(metric, "needs_held_out", False)]


def held_out_side(protocol: Protocol, metrics: Sequence[Any], videos: Callable[[], Videos]) -> Side | None:
    """Return the side of held-out real clips, cut and treated like the real side; None where no metric takes them.

    Args:
        protocol: of the scores.
        metrics: built of it.
        videos: opens those of the test split.

    Raises:
        RunError: a metric takes them, and there are none, or none that is long enough.
    """
    if not (needed := takes_held_out(metrics)):
        return None
    try:
        return side_of(protocol, "real", videos())[0]
    except RunError as error:
        names = ", ".join(name for metric in needed for name in metric.names())
        raise RunError(
            f"{names}: it takes real clips that were held out of training, of the test split, and there are none "
            f"({error}); leave it out, or give the data a test split"
        ) from None


def will_change_size(spec: Spec, real: Side) -> bool:
    """Whether frames of either side of a spec's scores are resized, before anything is sampled."""
    return changes_size(real) or spec.scoring.resolution != spec.data.resolution


class Counts(NamedTuple):
    """How large one side of a score is. Clips of one video are not independent: what chance does goes by videos."""

    clips: int
    videos: int

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> "Counts":
        """Of some clips."""
        return cls(len(clips), len({clip.video.number for clip in clips}))


def planned_fake(spec: Spec) -> Counts:
    """How large the fake side of a spec will be, before anything is sampled; every sample is a video."""
    side = spec.data.resolution
    numbers = range(spec.sampling.clips)
    videos = [Video(k, f"{k:06d}", f"{k:06d}", spec.data.frames, side, side, "raw") for k in numbers]
    return Counts.of(plan_clips(videos, cut_of(spec.scoring, "fake"))[0])


def bind(
    protocol: Protocol, metric: Any, real: Side, n_fake: int, resized: bool, held_out: Side | None = None
) -> dict[str, Any]:
    """The complete protocol of a metric's scores: the spec, and what only data and weights tell.

    Keys that have no effect on these data are left out, so that equal scores have equal protocols.

    Args:
        protocol: of both sides.
        metric: one of its metrics.
        real: the real side.
        n_fake: clips on the fake side.
        resized: whether frames of either side change their size.
        held_out: the side of held-out real clips, for a metric that takes them.
    """
    bound = describe(protocol)
    height, width = one_size([("real", [clip.video for clip in real.clips])], protocol.resolution)
    resize = bound["pixels"] if resized else {}
    bound["pixels"] = {**resize, "resolution": f"{width}x{height}"}
    if protocol.real_interval == protocol.fake_interval == 1:
        del bound["clips"]["picking"]  # all the frames, whichever way they are picked
    bound["fake"]["clips"] = n_fake
    bound["real"].update(clips=len(real.clips), data=real.videos.digest)
    if not metric.needs_reference:
        del bound["real"]
    if held_out is not None and takes_held_out([metric]):
        bound["held_out"] = {"clips": len(held_out.clips), "data": held_out.videos.digest, "split": "test"}
    extractor = metric.extractor
    about = {"name": extractor.label, "layer": extractor.layer, "fingerprint": extractor.fingerprint()}
    return {**bound, "extractor": {**about, "precision": "float32"}, "estimator": metric.estimator()}


def changes_size(*sides: Side) -> bool:
    """Whether frames of any of the sides are resized."""
    return any(
        side.treatment.changes_size(clip.video.height, clip.video.width) for side in sides for clip in side.clips
    )


def evaluate(
    protocol: Protocol,
    metrics: Sequence[Any],
    fake: Side,
    real: Side,
    sides: tuple[dict[str, Features], ...],
    held_out: tuple[Side, dict[str, Features]] | None = None,
) -> Scores:
    """The scores of a fake side against a real side that are both measured; a metric that fails stops no other.

    Args:
        protocol: of both sides.
        metrics: built of it.
        fake: the fake side.
        real: the real side.
        sides: features by extractor key, of the fake and of the real side.
        held_out: the side of held-out real clips and its features, for metrics that take them.
    """
    found = Scores(len(fake.clips), len(real.clips))
    resized = changes_size(fake, real)
    for metric in metrics:
        key = extractor_key(metric.extractor)
        try:
            more = [held_out[1][key]] if held_out is not None and takes_held_out([metric]) else []
            scores = metric.score(sides[0][key], sides[1][key] if metric.needs_reference else None, *more)
        except RunError as error:
            found.failed.append(str(error))  # begins with the score's name
            continue
        bound = bind(protocol, metric, real, len(fake.clips), resized, held_out[0] if held_out is not None else None)
        mark = fingerprint(bound)
        found.specs[mark] = bound
        found.scores |= scores
        found.protocols |= dict.fromkeys(scores, mark)
    return found


def reference(
    real: Side,
    metrics: Sequence[Any],
    how: Measuring,
    folder: Path,
    progress: Progress,
    known: tuple[Side, Mapping[str, Features]] | None = None,
    processes: Processes = ALONE,
    stop: Callable[[], bool] = never,
) -> tuple[Path, dict[str, Features]]:
    """The measured real side, computed once for all who share it: who comes second waits, or finds it done.

    Args:
        real: the real side.
        metrics: say which extractors.
        how: processes, batches, device.
        folder: of all references.
        progress: is called with (what, clips done, clips in all).
        known: another side whose shared clips need not be measured again.
        processes: those that all ask for this at once and measure it together; only rank 0 gets the features.
        stop: asked after every batch, of all processes, and by rank 0 while it waits for others.

    Raises:
        Interrupted: `stop` answered yes; what was measured is kept.
    """
    own = folder / real.key[:16]
    if not processes.is_first:  # rank 0 has the lock, for all of them, and says what is to be done
        said: str = processes.shared()
        if said == STOPPED:
            raise Interrupted(STOPPED)
        return own, {} if said == FOUND else measure(real, metrics, how, own, progress, known, processes, stop)
    found = features_in(own, metrics, real)
    pictures, shown = own / "clips.npy", f"clips shown of real side {real.key}"
    if found is not None and not problem_of(pictures, shown):
        processes.shared(FOUND)
        return own, found

    def waiting() -> None:
        progress("waiting for another process that measures the same", 0, 1)
        if stop():
            processes.shared(STOPPED)
            raise Interrupted(STOPPED)

    with locked(own, waiting):
        processes.shared(MEASURE)
        for extractor in extractors_of(metrics, "real").values():
            about = {"data": real.videos.digest, "clips": len(real.clips), "treatment": asdict(real.treatment)}
            weights = {"detector": extractor.label, "fingerprint": extractor.fingerprint(), "device": how.device}
            made = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **machine()}
            if not (
                own / f"{extractor_key(extractor)}.json"
            ).exists():  # before the features, which are nothing without
                write_json(own / f"{extractor_key(extractor)}.json", {**about, **weights, "made": made})
        features = measure(real, metrics, how, own, progress, known, processes, stop)
        if problem_of(pictures, shown):
            picked = real.clips[:: max(1, len(real.clips) // SHOWN_CLIPS)][:SHOWN_CLIPS]
            clips = [real.treatment(real.videos.read(c.video, c.indices), c.video.stored) for c in picked]
            write_array(pictures, np.stack(clips), shown)
    return own, features


def references_of(prepared: Prepared) -> Path:
    """Where measured real sides are kept: beside all prepared data, since the same videos may be prepared twice."""
    return prepared.folder.parent / REFERENCES


def prepare_reference(
    spec: Spec, prepared: Prepared, metrics: Sequence[Any], how: Measuring, progress: Progress
) -> Path:
    """Measure the real side of a spec's protocol, once for all arms that share it; returns its folder.

    Raises:
        RunError: a metric takes clips of a test split, and there is none.
    """
    real, _ = side_of(spec.scoring, "real", real_videos(spec, prepared))
    if held_out := held_out_side(spec.scoring, metrics, lambda: PreparedVideos(prepared, "test")):
        reference(held_out, takes_held_out(metrics), how, references_of(prepared), progress)
    return reference(real, metrics, how, references_of(prepared), progress)[0]


def score(
    spec: Spec,
    samples: SampleFiles,
    prepared: Prepared,
    metrics: Sequence[Any],
    how: Measuring,
    folder: Path,
    progress: Progress,
    processes: Processes = ALONE,
    stop: Callable[[], bool] = never,
) -> tuple[Scores, Path]:
    """The scores of sampled clips against the real clips of a spec's protocol, and the reference's folder.

    Args:
        spec: of the replicate.
        samples: its sampled clips.
        prepared: its data.
        metrics: of its protocol.
        how: processes, batches, device.
        folder: where the features of the samples are kept until the scores are written.
        progress: is called with (what, clips done, clips in all).
        processes: those that measure together; all get the scores that rank 0 computes.
        stop: asked after every batch that is measured, of all processes.

    Raises:
        Interrupted: `stop` answered yes; what was measured is kept.
        RunError: a clip is missing or damaged, or what `measure` and the metrics raise; where only some metrics fail,
            the others are in `Scores`.
    """

    def plan() -> tuple[Side, Side, Side | None]:
        real, _ = side_of(spec.scoring, "real", real_videos(spec, prepared))
        apart = held_out_side(spec.scoring, metrics, lambda: PreparedVideos(prepared, "test"))
        return side_of(spec.scoring, "fake", samples.videos())[0], real, apart

    fake, real, apart = processes.made_by_first(plan)  # naming every clip reads all of them
    own, of_real = reference(real, metrics, how, references_of(prepared), progress, None, processes, stop)
    held_out = None
    if apart is not None:
        needed, place = takes_held_out(metrics), references_of(prepared)
        held_out = apart, reference(apart, needed, how, place, progress, None, processes, stop)[1]
    of_fake = measure(fake, metrics, how, folder / fake.key[:16], progress, None, processes, stop)
    found = processes.made_by_first(lambda: evaluate(spec.scoring, metrics, fake, real, (of_fake, of_real), held_out))
    return found, own


def how_measured(spec: Spec, device: torch.device, beside: int = 1) -> Measuring:
    """How a spec's clips are measured here: by as many processes as torch has threads, and fewer for few clips.

    Args:
        spec: of the replicate.
        device: where.
        beside: how many processes of the replicate are on this machine, and measure a share each.
    """
    how = Measuring(spec.scoring, spec.plugins, str(device))
    at_once = how.processes_for(spec.sampling.clips)
    most = torch.get_num_threads() if device.type == "cpu" else max(1, at_once // beside)
    return replace(how, processes=min(at_once, most))
