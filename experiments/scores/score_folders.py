"""Scoring any two folders of videos, frames, arrays or a run, without training anything."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figures.arm_figures import draw_curves
from components.data.datasets.video_folder import VideoFolder
from components.data.prepare import prepare
from components.data.video.frame_folder import is_picture
from components.scoring.features.clip_selection import Video
from components.scoring.features.extraction import Measuring, Progress, Side, measure, never
from components.scoring.features.sources import ArrayVideos, PreparedVideos, Videos, one_size
from components.scoring.protocol_metrics import build_metrics
from experiments.record.progress import silent
from experiments.record.recording import machine, prepared_data, write_json
from experiments.sampling.sample_files import files_of
from experiments.scores.floors import owner_name, pool_of, real_halves, with_reference
from experiments.scores.kept_samples import missing_samples, sample_again
from experiments.scores.protocols import load_protocol, measured
from experiments.scores.scoring import (
    REFERENCES,
    Counts,
    Scores,
    changes_size,
    evaluate,
    held_out_side,
    reference,
    side_of,
    takes_held_out,
)
from experiments.training.devices import device_named
from registry.errors import RunError, SpecError
from registry.parts.catalogue import Catalogue, catalogue
from registry.runs.files import locked
from registry.runs.floors import owner_of, read_floors
from registry.runs.places import DATA_FOLDER, experiment_of
from registry.runs.records import Floor
from registry.runs.replicate import Replicate, is_replicate, open_replicate
from registry.schema.differences import differing
from registry.schema.protocol import Protocol

SCORES_FOLDER = "_scores"


@dataclass(frozen=True)
class Request:
    """What is to be scored against what.

    Args:
        samples: a folder of videos or frame folders, of .npy clips, or a run folder.
        against: the same, of real videos.
        protocol: resolved.
        out: where scores.json and the plot go; left out, a folder of the protocol and the two under `runs`.
        runs: the folder of all runs, where prepared data and references are shared.
        processes: that measure at once.
        batch_size: clips that a process holds at once.
        device: `cpu` or `cuda`.
        floors: whether real clips are measured against each other as well.
        plugins: modules with further parts.
        repeats: the scores.json or run folder whose measurement is repeated, if one lent its protocol.
        sample_again: whether samples of a run that were dropped are sampled again.
    """

    samples: Path
    against: Path
    protocol: Protocol
    out: Path | None
    runs: Path
    processes: int | None
    batch_size: int
    device: str
    floors: bool = True
    plugins: tuple[str, ...] = ()
    repeats: Path | None = None
    sample_again: bool = False


def request_of(
    samples: Path,
    against: Path,
    name: str | None = None,
    overrides: Sequence[str] = (),
    metrics: str | None = None,
    processes: int | None = None,
    batch_size: int = 8,
    device: str = "auto",
    out: Path | None = None,
    runs: Path = Path("runs"),
    floors: bool = True,
    plugins: tuple[str, ...] = (),
    sample_again: bool = False,
) -> Request:
    """Return what is asked for, by the words of the command line or of a notebook.

    Args:
        samples, against, processes, batch_size, out, runs, floors, plugins: as `Request` has them.
        name: of the protocol: a preset, a YAML file, a scores.json, a run folder; None: the run's own, else `clean`.
        overrides: of the protocol, `key=value`.
        metrics: comma-separated, instead of the protocol's.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        SpecError: the protocol, or an override of it, is wrong.
        RunError: a device that this machine has not.
    """
    named = [f"metrics=[{metrics}]"] if metrics else []
    if name is None:
        run = _run_of(samples)
        name = _experiments_protocol(run) if run is not None else "clean"
    protocol = load_protocol(name, [*overrides, *named], plugins)
    where = str(device_named(device))
    repeats = Path(name) if measured(Path(name)) is not None and not overrides else None
    return Request(
        samples, against, protocol, out, runs, processes, batch_size, where, floors, plugins, repeats, sample_again
    )


def score_folders(request: Request, progress: Progress = silent) -> dict[str, Any]:
    """Measure both sides, write scores.json and the plot of its N-curves, and return what the file says.

    Beside the content of scores.json stand `out`, the folder, and `plot`, None where the clips are too few for a curve.

    Raises:
        SpecError: a path that is no such folder, or scores that would lie among what is scored.
        RunError: nothing to measure, or a metric that failed; what the others gave is written before.
    """
    protocol, plugins = request.protocol, request.plugins
    _refuse_out(request)
    parts = catalogue(plugins)
    metrics = build_metrics(protocol, parts)
    how = Measuring(protocol, plugins, request.device, request.processes, request.batch_size)
    data = request.runs / DATA_FOLDER
    if request.sample_again:
        for run in filter(None, map(_run_of, (request.samples, request.against))):
            with locked(run / "samples", lambda: progress("waiting for another process that samples the same", 0, 1)):
                sample_again(open_replicate(run), device_named(request.device), never, progress)
    fake, fake_short = side_of(protocol, "fake", open_videos(request.samples, "all", data, progress))
    real, real_short = side_of(protocol, "real", open_videos(request.against, protocol.split, data, progress))
    one_size([(side.side, [clip.video for clip in side.clips]) for side in (fake, real)], protocol.resolution)
    needed = [metric for metric in metrics if metric.needs_reference]
    of_real = reference(real, needed, how, data / REFERENCES, progress)[1] if needed else {}
    apart = held_out_side(protocol, metrics, lambda: _of_test_split(request.against, data, progress))
    held_out = None
    if apart is not None:
        held_out = apart, reference(apart, takes_held_out(metrics), how, data / REFERENCES, progress)[1]
    own = data / "samples" / fake.key[:16]
    with locked(own, lambda: progress("waiting for another process that measures the same", 0, 1)):
        of_fake = measure(fake, metrics, how, own, progress)
    found = evaluate(protocol, metrics, fake, real, (of_fake, of_real), held_out)
    content: dict[str, Any] = {
        "samples": _about(request.samples, fake, fake_short),
        "against": _about(request.against, real, real_short),
        "scores": [_row(name, found, _floors_of_run(request.samples)) for name in found.scores],
        "shared_videos": len(_contents(fake) & _contents(real)),
        "protocol": protocol.model_dump(mode="json"),
        "protocols": found.protocols,
        "protocol_specs": found.specs,
        "failed": found.failed,
        "cautions": cautions(protocol, parts),
        "differs": [] if request.repeats is None else _differs(request.repeats, found),
        "made": {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "device": request.device, **machine()},
    }
    out = request.out or request.runs / SCORES_FOLDER / _name(request, fake, real)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "scores.json", content)
    if with_reference(metrics) and request.floors:
        try:
            resized = changes_size(fake, real)
            counts, references = Counts.of(fake.clips), data / REFERENCES
            pool = pool_of(protocol, real.videos, counts, resized, metrics, how, references, progress)
            floors = [*real_halves(pool, metrics), *_floors_of_run(request.samples)]
            content["scores"] = [_row(name, found, floors) for name in found.scores]
        except RunError as error:
            content["failed"].append(f"floor: {error}")
        write_json(out / "scores.json", content)
    plot = draw_curves(content["scores"], out / "curve.png")
    if content["failed"]:
        raise RunError("\n".join([*content["failed"], f"the scores are in {out / 'scores.json'}"]))
    return {**content, "out": str(out), "plot": str(plot) if plot else None}


def cautions(protocol: Protocol, parts: Catalogue) -> list[str]:
    """Return what the protocol's detectors want to be said beside scores that are measured with them."""
    if not any(parts.find("metric", metric.name).fact("by_detector") for metric in protocol.metrics):
        return []
    detectors = [parts.find("detector", detector.name) for detector in protocol.detectors]
    return [f"[{detector.name}] {detector.fact('caution')}" for detector in detectors if detector.fact("caution")]


def _refuse_out(request: Request) -> None:
    """Refuse to write scores and their plot among what is scored, which could not be scored again."""
    if request.out is None:
        return
    out = request.out.resolve()
    for folder in (request.samples.resolve(), request.against.resolve()):
        if folder in (out, *out.parents):
            raise SpecError(f"--out: {request.out} lies in {folder}, which is scored; give a folder of its own")


def _differs(earlier: Path, found: Scores) -> list[str]:
    """In what the scores that were found were not measured like the earlier ones of the same name."""
    before = measured(earlier) or {"protocols": {}, "protocol_specs": {}}
    told = []
    for name, mark in found.protocols.items():
        if name in before["protocols"] and before["protocols"][name] != mark:
            specs = before["protocol_specs"][before["protocols"][name]], found.specs[mark]
            keys = [key for key, _, _ in differing(*specs) if not key.startswith("noted")]
            told.append(f"{name}: {', '.join(keys)}")
    return told


def _experiments_protocol(run: Path) -> str:
    if not (run / "result.json").exists():
        raise RunError(f"{run}: is not done, so its protocol is not bound; name one with --protocol")
    return str(run)


def _contents(side: Side) -> set[str]:
    return {clip.video.content for clip in side.clips}


def _name(request: Request, fake: Side, real: Side) -> str:
    """A folder's name that no other pair of samples, or protocol, has."""
    about = json.dumps([request.protocol.model_dump(mode="json"), fake.key, real.key])
    mark = hashlib.sha256(about.encode()).hexdigest()[:8]
    return f"{_plain(request.samples)}-against-{_plain(request.against)}-{mark}"


def open_videos(path: Path, split: str, data: Path, progress: Progress) -> Videos:
    """The videos of a folder, indexed where that was not done yet.

    Args:
        path: a folder of videos, frame folders or .npy clips, or a run folder.
        split: which videos of a folder with splits.
        data: folder of all prepared data.
        progress: is called with (what, done, in all).

    Raises:
        SpecError: no folder, one that is a single video, or one that mixes clips with other files.
        RunError: nothing in it can be read, or a run that has not all its samples.
    """
    if path.is_file():
        raise SpecError(f"{path}: is a file; give the folder that holds the videos")
    if not path.is_dir():
        raise SpecError(f"{path}: no such folder")
    if (run := _run_of(path)) is not None:
        return _samples_of(run)
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    arrays = [entry for entry in entries if entry.suffix == ".npy"]
    others = [entry for entry in entries if entry.suffix != ".npy"]
    if not entries:
        raise RunError(f"{path}: is empty")
    if arrays and others:
        raise SpecError(f"{path}: holds .npy files ({arrays[0].name}) and others ({others[0].name}); keep them apart")
    if arrays:
        return ArrayVideos(path)
    if all(is_picture(entry) for entry in entries):
        raise SpecError(f"{path}: holds the frames of one video; give the folder above it, with a folder a video")
    with locked(data, lambda: progress("waiting for another process that indexes videos", 0, 1)):
        dataset = VideoFolder(str(path), 0, class_folders=False)
        return PreparedVideos(prepare(dataset, data, workers=2, progress=progress), split)


def _of_test_split(path: Path, data: Path, progress: Progress) -> Videos:
    """The videos of a folder's test split; the arguments are those of `open_videos`.

    Raises:
        RunError: the folder has no splits, or none of its videos is of the test split.
    """
    videos = open_videos(path, "test", data, progress)
    if not isinstance(videos, PreparedVideos):
        raise RunError(f"{path}: holds clips in arrays, which are of no split")
    return videos


def _run_of(path: Path) -> Path | None:
    """The run folder that a path names, or whose samples it names: what is left of these is not scored for all."""
    for folder in (path, path.parent) if path.name == "samples" else (path,):
        if is_replicate(folder):
            return folder
    return None


def _samples_of(run: Path) -> ArrayVideos:
    replicate = open_replicate(run)
    if problem := missing_samples(replicate):
        raise RunError(problem)
    try:
        return files_of(replicate, run / "samples").videos()
    except RunError as error:
        advice = "; launch it again" if replicate.result() is None else ""
        raise RunError(f"{error}{advice}") from None


def _floors_of_run(samples: Path) -> list[Floor]:
    """The floors that the experiment of a run folder has measured of this run and of its autoencoder."""
    run = _run_of(samples)
    if run is None or not run.is_symlink():  # the folder behind it belongs to no one experiment
        return []
    replicate, known = open_replicate(run), read_floors(experiment_of(run.absolute()))
    coders = _own_autoencoder(replicate, {floor.of for floor in known if floor.floor == "reconstruction"})
    owners = {"resampled": {owner_of(replicate)}, "reconstruction": coders}
    return [floor for floor in known if floor.of in owners.get(floor.floor, ())]


def _own_autoencoder(replicate: Replicate, owners: set[str]) -> set[str]:
    """Those of the owners of reconstruction floors that are a run's autoencoder; the only one, where nothing says."""
    data = prepared_data(replicate.training)
    if data is None:
        return owners if len(owners) == 1 else set()
    return owners & {owner_name(replicate.spec.data.autoencoder.name, data.autoencoder)}


def _about(path: Path, side: Side, short: Sequence[Video]) -> dict[str, Any]:
    """What one side was: counts, and everything that was left out."""
    videos = side.videos
    return {
        "path": str(path.resolve()),
        "digest": videos.digest,
        "videos": len(videos.listed),
        "clips": len(side.clips),
        "of_videos": len({clip.video.number for clip in side.clips}),
        "too_short": [video.name for video in short],
        "rejected": [list(pair) for pair in videos.rejected if "too short" not in pair[1]],
    }


def _row(name: str, found: Scores, floors: Sequence[Floor]) -> dict[str, Any]:
    """A score with all that belongs beside it."""
    own = found.protocols[name]
    beside = {
        floor.floor: {"mean": float(np.mean(floor.values)), **floor.model_dump(mode="json")}
        for floor in floors
        if floor.metric == name and floor.protocol == own
    }
    about = {"metric": name, "value": found.scores[name].value, "protocol": own}
    return {**about, **found.details()[name], "floors": beside}


def _plain(path: Path) -> str:
    """A folder's name for other folders' names, with the one above it where its own says little."""
    parts = path.resolve().parts
    says_little = parts[-1] in ("train", "test", "videos", "frames", "samples") or parts[-1].startswith("seed-")
    own = parts[-2:] if says_little else parts[-1:]
    return "-".join("".join(c if c.isalnum() or c in "._=-" else "-" for c in part) for part in own)
