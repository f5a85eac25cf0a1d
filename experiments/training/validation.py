"""The validation losses: at fixed clips, times and noise, so that arms of one objective can be compared."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from components.data.clips import pick
from components.data.prepare import Prepared
from components.diffusion.contracts import Objective
from experiments.training.batches import Batches, DrawLatents
from experiments.training.losses import Batch, autocast, losses_of
from registry.errors import RunError
from registry.runs.stored import read_metrics
from registry.schema.spec import Spec

VALIDATION_CLIPS = 16
BANDS = 4  # of noise, for the validation loss
TIMES_PER_BAND = 4
HELD = 0.1  # the share of the initial weights up to which the averaged ones say how good a training is


@torch.no_grad()
def validation_losses(
    batches: Batches, objective: Objective, model: Callable[..., Tensor], latents: DrawLatents
) -> dict[str, float]:
    """Return the mean loss and that of each noise band, of clips of the validation split, one a video.

    Args:
        batches: of the training; says the data set and the device.
        objective: whose loss it is.
        model: the network, usually with the averaged weights.
        latents: draws latents around moments.
    """
    spec, device, rng = batches.spec, batches.device, torch.Generator().manual_seed(0)
    videos, indices = _clips(spec, batches.prepared)
    moments = batches.cache.batch(videos, indices, torch.zeros(len(videos), dtype=torch.bool))
    x0 = latents(moments, rng)
    noise, labels = torch.randn(x0.shape, generator=rng), batches.labels(videos)
    text, mask = (None, None) if (captions := batches.captions(videos)) is None else batches.text_of(captions)
    found = {}
    for band, times in enumerate(objective.band_times(BANDS, TIMES_PER_BAND)):
        t = times.repeat(VALIDATION_CLIPS // TIMES_PER_BAND).to(device)
        with autocast(device, spec.runtime.precision):
            batch = Batch(x0.to(device), t, noise.to(device), labels, text=text, text_mask=mask)
            terms = losses_of(objective, model, batch)
        found[f"validation_loss_band_{band}"] = float(terms["loss"].mean())
    return {"validation_loss": sum(found.values()) / BANDS, **found}


def _clips(spec: Spec, prepared: Prepared) -> tuple[list[int], Tensor]:
    """Videos (n,) and frame numbers (n, F): one clip at the middle of each video."""
    data = spec.data
    videos = prepared.videos(validation_split_of(spec, prepared), data.least_frames)
    videos = [videos[i * len(videos) // VALIDATION_CLIPS] for i in range(VALIDATION_CLIPS)]
    picked = []
    for video in videos:
        frames = prepared.records[video].frames
        offset = (frames - data.clip_frames) // 2
        end = min(offset + data.frames * data.interval, frames)
        picked.append(pick(data.picking, offset, end, data.frames, data.interval))
    return videos, torch.tensor(picked)


def validation_at(training: Path, step: int) -> dict[str, float] | None:
    """Return the validation losses that were logged at a step, None where there are none."""
    for line in read_metrics(training):
        if line["step"] == step and "validation_loss" in line:
            return {name: value for name, value in line.items() if name.startswith("validation_loss")}
    return None


def validation_split_of(spec: Spec, prepared: Prepared) -> str:
    """Return `test`, or `train` where no test video is long enough; it stands in the result beside the loss."""
    try:
        prepared.videos("test", spec.data.least_frames)
    except RunError:
        return "train"
    return "test"
