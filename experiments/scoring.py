"""Scoring sampled clips against real ones, and the reference statistics that all arms share."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.data.prepare import Prepared
from components.data.real_clips import plan_real_clips, read_real_clips
from components.scoring.frechet import Moments
from experiments.recording import write_json
from experiments.sampling import read_samples, write_clips
from registry.assemble import Assembly
from registry.runs import Replicate
from registry.spec import Spec

CLIPS_AT_ONCE = 16
SHOWN_CLIPS = 8  # real clips kept beside the reference statistics, for pictures


def protocol_of(spec: Spec, prepared: Prepared, detector: Any) -> dict[str, Any]:
    """Everything that a score depends on besides the samples."""
    data, scoring = spec.data, spec.scoring
    return {
        "metric": scoring.metric.model_dump(),
        "detector": detector.fingerprint(),
        "data": prepared.digest,
        "split": scoring.split,
        "frames": data.frames,
        "interval": scoring.interval,
        "picking": data.picking,
        "resolution": data.resolution,
        "transform": data.transform,
        "antialias": data.antialias,
        "real_clips": scoring.clips,
        "clips_per_video": scoring.clips_per_video,
        "seed": scoring.seed,
        "sampled_clips": spec.sampling.clips,
    }


def fingerprint(protocol: dict[str, Any]) -> str:
    """Ten hex digits that two scores share only if they may be compared."""
    return hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()[:10]


def reference_folder(spec: Spec, prepared: Prepared, detector: Any) -> Path:
    """Where the reference statistics of a spec's protocol lie (they do not depend on the number of samples)."""
    real_side = {key: value for key, value in protocol_of(spec, prepared, detector).items() if key != "sampled_clips"}
    return prepared.folder / "references" / fingerprint(real_side)


def prepare_reference(
    spec: Spec, prepared: Prepared, device: torch.device, progress: Callable[[str, int, int], None]
) -> Path:
    """Compute the moments of the real clips, once for all arms that share them; a few clips are kept for pictures."""
    assembly = Assembly(spec)
    detector = assembly.detector()
    folder = reference_folder(spec, prepared, detector)
    if (folder / "moments.npz").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    data, scoring = spec.data, spec.scoring
    split = None if scoring.split == "all" else scoring.split
    clips = plan_real_clips(
        prepared,
        split,
        data.frames,
        scoring.interval or data.interval,
        data.picking,
        scoring.seed,
        scoring.clips,
        scoring.clips_per_video,
    )
    shown: list[np.ndarray] = []

    def real() -> Iterator[Tensor]:
        for number, clip in enumerate(
            read_real_clips(prepared, clips, data.resolution, data.transform, data.antialias), start=1
        ):
            if len(shown) < SHOWN_CLIPS and (number - 1) % max(1, len(clips) // SHOWN_CLIPS) == 0:
                shown.append(clip)
            progress("reference statistics", number, len(clips))
            yield torch.from_numpy(clip)

    moments = assembly.metric(detector).reference(block.to(device) for block in _blocks(real()))
    write_json(folder / "protocol.json", protocol_of(spec, prepared, detector))
    write_clips(folder / "clips.npy", np.stack(shown))
    temporary = folder / f".moments.{os.getpid()}.npz"
    moments.save(temporary)
    with contextlib.suppress(FileNotFoundError):
        os.replace(temporary, folder / "moments.npz")
    return folder


def _blocks(clips: Iterator[Tensor]) -> Iterator[Tensor]:
    while some := list(islice(clips, CLIPS_AT_ONCE)):
        yield torch.stack(some)


def score(
    replicate: Replicate, prepared: Prepared, device: torch.device
) -> tuple[dict[str, float], dict[str, Any], Path]:
    """Scores of a replicate's samples by full name (`fvd[random_r3d]`), their protocol, and the reference's folder."""
    assembly = Assembly(replicate.spec)
    detector = assembly.detector()
    reference = prepare_reference(replicate.spec, prepared, device, lambda what, done, total: None)
    moments = Moments.load(reference / "moments.npz")
    clips = (batch.to(device) for batch in read_samples(replicate.folder))
    return assembly.metric(detector).score(clips, moments), protocol_of(replicate.spec, prepared, detector), reference
