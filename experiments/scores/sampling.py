"""Sampling the clips that are scored: from the averaged weights, each clip from its own random stream.

A clip depends on the weights, the sampling seed, the replicate's seed and its own number, not on its batch. Batches are
written as they are made, so that an interrupted run goes on behind the last one. Several processes take turns at the
batches that one would make: the same files, bit for bit.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from components.assembly import Assembly
from components.data.transforms import quantise
from components.diffusion.guidance import guided
from components.model.latte import Latte
from components.precision import tf32
from experiments.record.recording import bound_data
from experiments.scores.sample_files import SampleFiles
from experiments.training.checkpoints import VISIBLE_WITHIN, Origin, path_of, read_written
from experiments.training.losses import autocast
from experiments.training.open_data import open_decoder
from experiments.training.processes import ALONE, Processes
from registry.errors import Interrupted, RunError
from registry.runs.run_folder import Replicate


def sample(
    replicate: Replicate,
    device: torch.device,
    stop: Callable[[], bool],
    progress: Callable[[str, int, int], None],
    folder: Path | None = None,
    processes: Processes = ALONE,
) -> None:
    """Sample the spec's clips into `samples/`, uint8 (n, F, H, W, 3) a file; go on where an earlier attempt stopped.

    Args:
        replicate: a trained replicate.
        device: where to sample.
        stop: asked after every batch, of all processes.
        progress: is called with (what, clips done, clips in all).
        folder: another place than `samples/`.
        processes: those that share out the batches.

    Raises:
        Interrupted: `stop` answered yes.
        RunError: there is no checkpoint of the step, or a process does not see what the others wrote.
    """
    spec, folder = replicate.spec, folder or replicate.folder / "samples"
    folder.mkdir(exist_ok=True)
    files, clips = SampleFiles(replicate, folder), spec.sampling.clips
    batches = processes.shared(_batches(files, spec.runtime.sampling_batch, progress) if processes.is_first else None)
    if not batches:
        _see_all(files, processes)
        return
    assembly = Assembly(spec)
    objective = assembly.objective()
    sampler, decoder = assembly.sampler(objective), open_decoder(replicate).to(device)
    model = trained_model(replicate, device, processes)

    def make(numbers: range) -> None:
        streams = _Streams(
            [(spec.sampling.seed, replicate.seed, number) for number in numbers], assembly.latent_shape(), device
        )
        labels = torch.tensor([n % spec.model.classes for n in numbers], device=device) if spec.model.classes else None
        denoise = _denoiser(model, labels, spec.sampling.guidance, decoder.channels)
        with torch.inference_mode():
            with autocast(device, spec.runtime.precision), tf32(spec.runtime.tf32, device):
                latents = sampler.sample(denoise, streams.draw(), streams.draw)
            # Decoded in float32, as the cache was encoded.
            frames = decoder.decode(latents.float().flatten(0, 1)).unflatten(0, latents.shape[:2])
        files.write(numbers, to_clips(frames))

    for first in range(0, len(batches), processes.world):
        turn = batches[first : first + processes.world]
        if processes.rank < len(turn):
            make(turn[processes.rank])
        done = turn[-1].stop
        stopping = processes.any(stop(), patient=True)  # all have written what they made in this turn
        progress("sampling", done, clips)
        if stopping:
            raise Interrupted(f"stopped after {done} of {clips} sampled clips")
    _see_all(files, processes)


def trained_model(replicate: Replicate, device: torch.device, processes: Processes = ALONE) -> Latte:
    """Return the network of the evaluation's step, with the weights that the spec says are sampled.

    Raises:
        RunError: there is no checkpoint of that step that can be believed.
    """
    spec = replicate.spec
    data = bound_data(replicate.training)
    origin = Origin(spec.training, replicate.seed, data.digest if data is not None else "")
    state = read_written(path_of(replicate.training, spec.step), origin, processes, device)
    model: Latte = Assembly(spec).model()
    model.load_state_dict(state["model"])
    if spec.sampling.weights == "ema":
        model.load_state_dict(state["ema"], strict=False)  # fixed tables are not averaged
    return model.to(device).eval()


def _denoiser(model: Latte, labels: Tensor | None, scale: float, channels: int) -> Callable[[Tensor, Tensor], Tensor]:
    if labels is None:
        return lambda x, t: model(x, t)
    if scale == 1.0 or model.null_label is None:
        return lambda x, t: model(x, t, labels)
    return guided(model, labels, model.null_label, scale, channels)


class _Streams:
    """One random stream a clip, so that neither the batch size nor the order of batches changes a clip."""

    def __init__(self, keys: list[tuple[int, ...]], shape: tuple[int, ...], device: torch.device) -> None:
        seeds = [int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1) for key in keys]
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.shape, self.device = shape, device

    def draw(self) -> Tensor:
        """Gaussian noise (B, F, C, H, W)."""
        return torch.stack([torch.randn(self.shape, generator=g) for g in self.generators]).to(self.device)


def to_clips(frames: Tensor) -> np.ndarray:
    """Frames (B, F, 3, H, W) in [-1, 1] -> uint8 (B, F, H, W, 3)."""
    return quantise(frames).permute(0, 1, 3, 4, 2).cpu().numpy()


def _batches(files: SampleFiles, size: int, progress: Callable[[str, int, int], None]) -> list[range]:
    """The clips that are still to be sampled, in batches; what is damaged is removed, and told."""
    whole = files.whole(thorough=True)
    for problem in files.remove_others(whole):
        progress(f"sampling again what is damaged: {problem}", 1, 1)
    return files.missing(size, whole)


def _see_all(files: SampleFiles, processes: Processes) -> None:
    """Wait until this machine sees the files of all processes; a shared file system may be a minute late.

    Raises:
        RunError: it does not see them.
    """
    until = time.monotonic() + VISIBLE_WITHIN
    while missing := files.missing(files.clips, files.whole()):
        if time.monotonic() > until:
            raise RunError(
                f"{files.folder}: process {processes.rank} does not see clips {missing[0].start} to "
                f"{missing[0].stop - 1}, which others wrote; do all machines share the folder?"
            )
        time.sleep(1.0)
