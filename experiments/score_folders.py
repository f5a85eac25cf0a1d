"""Scoring any two folders of videos, frames, arrays or a run, without training anything."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.data.datasets.video_folder import VideoFolder
from components.data.frame_folder import is_picture
from components.data.prepare import Prepared, prepare
from components.scoring.clip_plan import Video
from components.scoring.contracts import Score
from components.scoring.measuring import Measuring, Progress, Side, measure
from components.scoring.sources import ArrayVideos, PreparedVideos, Videos, one_size
from experiments.floors import FloorRecord, real_halves
from experiments.protocols import load_protocol
from experiments.recording import machine, write_json
from experiments.replicate import device_named
from experiments.scoring import REFERENCES, Scores, evaluate, locked, reference, side_of
from registry.assemble import build_metrics
from registry.catalogue import catalogue
from registry.errors import RunError, SpecError
from registry.protocol import Protocol
from registry.runs import DATA_FOLDER, open_replicate, read_floors

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
    """

    samples: Path
    against: Path
    protocol: Protocol
    out: Path | None
    runs: Path
    processes: int
    batch_size: int
    device: str


def request_of(
    samples: Path,
    against: Path,
    name: str,
    overrides: Sequence[str],
    metrics: str | None,
    processes: int | None,
    batch_size: int,
    device: str,
    out: Path | None,
    runs: Path,
) -> Request:
    """What the words of the command line ask for.

    Raises:
        SpecError: the protocol, or an override of it, is wrong.
        RunError: a device that this machine has not.
    """
    named = [f"metrics=[{metrics}]"] if metrics else []
    protocol = load_protocol(name, [*overrides, *named])
    where = device_named(device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    at_once = processes or (cores if where.type == "cpu" else 1)
    return Request(samples, against, protocol, out, runs, at_once, batch_size, str(where))


def score_folders(request: Request, progress: Progress) -> dict[str, Any]:
    """Measure both sides, write scores.json and return its content.

    Raises:
        SpecError: a path that is no such folder.
        RunError: nothing to measure, or a metric that failed; what the others gave is written before.
    """
    protocol = request.protocol
    metrics = build_metrics(protocol, catalogue())
    how = Measuring(protocol, (), request.device, request.processes, request.batch_size)
    fake_videos = open_videos(request.samples, "all", request.runs, progress)
    real_videos = open_videos(request.against, protocol.split, request.runs, progress)
    fake, fake_short = side_of(protocol, "fake", fake_videos)
    real, real_short = side_of(protocol, "real", real_videos)
    one_size([(side.side, [clip.video for clip in side.clips]) for side in (fake, real)], protocol.resolution)
    references = _folder_of(real_videos, request.runs) / REFERENCES
    needed = [metric for metric in metrics if metric.needs_reference]
    of_real = reference(real, needed, how, references, progress)[1] if needed else {}
    out = request.out or request.runs / SCORES_FOLDER / f"{_plain(request.samples)}-against-{_plain(request.against)}"
    own = _folder_of(fake_videos, request.runs) / "samples" / fake.key[:16]
    own.mkdir(parents=True, exist_ok=True)
    with locked(own, progress):
        of_fake = measure(fake, metrics, how, own, progress)
    found = evaluate(protocol, metrics, fake, real, (of_fake, of_real))
    floors: list[FloorRecord] = []
    if needed:
        floors, _ = real_halves(protocol, real_videos, len(fake.clips), metrics, how, references, progress)
    content = {
        "samples": _about(request.samples, fake, fake_short),
        "against": _about(request.against, real, real_short),
        "scores": [_row(name, score, found, [*floors, *_floors_of_run(request.samples)])
                   for name, score in found.scores.items()],
        "protocols": found.protocols,
        "protocol_specs": found.specs,
        "failed": found.failed,
        "made": {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "device": request.device, **machine()},
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "scores.json", content)
    if found.failed:
        raise RunError("\n".join([*found.failed, f"the other scores are in {out / 'scores.json'}"]))
    return {**content, "out": str(out)}


def open_videos(path: Path, split: str, runs: Path, progress: Progress) -> Videos:
    """The videos of a folder, indexed where that was not done yet.

    Raises:
        SpecError: no folder, or one that is a single video.
        RunError: nothing in it can be read.
    """
    if path.is_file():
        raise SpecError(f"{path}: is a file; give the folder that holds the videos")
    if not path.is_dir():
        raise SpecError(f"{path}: no such folder")
    if (path / "replicate.json").exists():
        open_replicate(path)
        return _arrays(path / "samples", f"{path}: has no samples yet; launch it first")
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    if not entries:
        raise RunError(f"{path}: is empty")
    if any(entry.suffix == ".npy" for entry in entries):
        return ArrayVideos(path)
    if all(is_picture(entry) for entry in entries):
        raise SpecError(f"{path}: holds the frames of one video; give the folder above it, with a folder a video")
    dataset = VideoFolder(str(path), 0, class_folders=False)
    prepared = prepare(dataset, runs / DATA_FOLDER, workers=2, progress=progress)
    return PreparedVideos(prepared, split)


def _arrays(folder: Path, missing: str) -> ArrayVideos:
    if not any(folder.glob("*.npy")):
        raise RunError(missing)
    return ArrayVideos(folder)


def _folder_of(videos: Videos, runs: Path) -> Path:
    """Where what is measured of these videos is kept and shared."""
    prepared: Prepared | None = getattr(videos, "prepared", None)
    return prepared.folder if prepared is not None else runs / DATA_FOLDER / f"arrays-{videos.digest[:10]}"


def _floors_of_run(samples: Path) -> list[FloorRecord]:
    """The floors that the experiment of a run folder has measured."""
    if not (samples / "replicate.json").exists():
        return []
    records = read_floors(samples.parent.parent)
    return [FloorRecord(**record) for record in records if record["floor"] != "real_halves"]


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


def _row(name: str, score: Score, found: Scores, floors: Sequence[FloorRecord]) -> dict[str, Any]:
    """A score with all that belongs beside it."""
    own = found.protocols[name]
    beside = {
        floor.floor: {"mean": float(np.mean(floor.values)), "values": floor.values, "n_fake": floor.n_fake,
                      "n_real": floor.n_real}
        for floor in floors if floor.metric == name and floor.protocol == own
    }  # fmt: skip
    return {
        "metric": name,
        "value": score.value,
        "protocol": own,
        "n_fake": found.n_fake,
        "n_real": found.n_real,
        "interval": list(score.interval) if score.interval else None,
        "floors": beside,
        "curve": [asdict(point) for point in score.curve],
        "details": score.details,
    }


def _plain(path: Path) -> str:
    """A folder's name for other folders' names, with the one above it where its own says little."""
    parts = path.resolve().parts
    says_little = parts[-1] in ("train", "test", "videos", "frames", "samples") or parts[-1].startswith("seed-")
    own = parts[-2:] if says_little else parts[-1:]
    return "-".join("".join(c if c.isalnum() or c in "._=-" else "-" for c in part) for part in own)
