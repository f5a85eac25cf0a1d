"""Drawing clips with a network: of nothing but what a clip depends on, and in turns of several processes.

A clip depends on the network, the sampler, its label or caption, its random stream and its own number, not on its
batch: a batch of another size changes the rounding of matrix products, and nothing else.
"""

import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.data.autoencoders import FRAMES_AT_ONCE, Decoder
from components.data.transforms import to_uint8_frames
from components.diffusion.contracts import Denoise, OnStep, Sampler
from components.diffusion.guidance import Network, guided
from components.memory import kept
from components.model.latte import Latte
from components.precision import tf32
from experiments.record.progress import Progress
from experiments.sampling.captions import Captions
from experiments.sampling.sample_files import SampleFiles
from experiments.training.checkpoints import VISIBLE_WITHIN
from experiments.training.processes import ALONE, Processes
from registry.errors import Interrupted, RunError
from registry.runs import divergence

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, eq=False)
class Drawing:
    """Everything that clips are drawn with.

    Attributes:
        network: in eval mode, on the device.
        sampler: over the objective that the network was trained for.
        decoder: of what the network draws, on the device.
        latent_shape: (F, C, H, W) of a clip's latents.
        stream: clip n starts from the random stream of the numbers (*stream, n).
        labels: clip n is of class labels[n modulo their number]; empty for a network without classes.
        guidance: scale of classifier-free guidance, 1 is off.
        precision: of the network: fp32, bf16 or fp16. Sampler and decoder compute in float32 whatever it is.
        tf32: whether a GPU rounds factors of float32 products to TF32 in the network.
        device: where all of it is.
        steps: how often the sampler asks the network for a batch.
        captions: what clips are drawn of by a network that reads captions; None for others.
    """

    network: Latte
    sampler: Sampler
    decoder: Decoder
    latent_shape: tuple[int, int, int, int]
    stream: tuple[int, ...]
    labels: tuple[int, ...]
    guidance: float
    precision: str
    tf32: bool
    device: torch.device
    steps: int
    captions: Captions | None = None

    def clips(self, numbers: range, on_step: OnStep | None = None) -> np.ndarray:
        """Return the clips of these numbers, uint8 (n, F, H, W, 3), drawn in one batch; `on_step` as in samplers."""
        streams = _Streams([(*self.stream, number) for number in numbers], self.latent_shape, self.device)
        with torch.inference_mode(), kept(self.device):
            # The outer block keeps the weights' casts from step to step.
            with self._autocast(), tf32(self.tf32, self.device), self._autocast(enabled=False):
                latents = self.sampler.sample(self._denoiser(numbers), streams.draw(), streams.draw, on_step)
            if not latents.isfinite().all():
                half = self.precision == "fp16"
                told = "are not finite in fp16; take bf16 or fp32" if half else divergence.CLIPS
                raise RunError(f"clips {numbers.start} to {numbers.stop - 1} {told}")
            return self._decoded(latents)

    def _denoiser(self, numbers: range) -> Denoise:
        """What the sampler asks of clips by number, guided where that is wanted."""
        network: Network = self._cast_network
        null_label = self.network.null_label
        if self.captions is not None:  # each caption of the batch is a label, and the empty one the null label
            labels, null_label = torch.arange(len(numbers), device=self.device), len(numbers)
            network = self._reading(self.captions, numbers)
        elif self.labels:
            own = [self.labels[number % len(self.labels)] for number in numbers]
            labels = torch.tensor(own, device=self.device)
        else:
            return lambda x, t: self._cast_network(x, t)
        if self.guidance == 1.0 or null_label is None:
            return lambda x, t: network(x, t, labels)
        return guided(network, labels, null_label, self.guidance, self.decoder.channels)

    def _reading(self, captions: Captions, numbers: range) -> Network:
        """The network as one of labels: label k stands for the caption of the k-th of the clips."""
        text, mask = (of.to(self.device) for of in captions.read(numbers))
        return lambda x, t, rows: self._cast_network(x, t, text=text[rows], text_mask=mask[rows])

    def _cast_network(self, x: Tensor, t: Tensor, labels: Tensor | None = None, **text: Tensor) -> Tensor:
        with self._autocast():
            return self.network(x, t, labels, **text)

    def _autocast(self, enabled: bool = True) -> AbstractContextManager[Any]:
        half = HALVES.get(self.precision)
        return torch.autocast(self.device.type, half or torch.bfloat16, enabled=enabled and half is not None)

    def _decoded(self, latents: Tensor) -> np.ndarray:
        """Latents (B, F, C, H, W) -> uint8 (B, F, H, W, 3), a few frames at a time, in float32 as they were encoded."""
        frames = latents.float().flatten(0, 1).split(FRAMES_AT_ONCE)
        pictures = np.concatenate([to_uint8_frames(self.decoder.decode(some)) for some in frames])
        return pictures.reshape(*latents.shape[:2], *pictures.shape[1:])


def refuse_unless_computed(precision: str, device: torch.device) -> None:
    """Refuse a precision in which torch cannot run a network on a device.

    Raises:
        RunError: naming both.
    """
    if (half := HALVES.get(precision)) is None:
        return
    x = torch.ones(1, 4, 4, 4, device=device)
    layer, convolution = nn.Linear(4, 4, device=device), nn.Conv2d(4, 4, 2, device=device)
    found: tuple[Any, ...] = ()
    why = "it leaves float32 as it is"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.no_grad(), torch.autocast(device.type, half):
                attended = functional.scaled_dot_product_attention(layer(x), layer(x), layer(x))
                found = attended.dtype, convolution(x).dtype
    except RuntimeError as error:
        why = (str(error).splitlines() or [""])[0]
    if found != (half, half):
        raise RunError(f"precision {precision}: torch {torch.__version__} has none on {device.type} ({why}); take fp32")


def draw(
    drawing: Drawing,
    files: SampleFiles,
    batches: list[range],
    stop: Callable[[], bool],
    progress: Progress,
    processes: Processes = ALONE,
) -> None:
    """Draw batches of clips into files, the processes taking turns at them: the same files, however many there are.

    Args:
        drawing: what they are drawn with.
        files: where they go.
        batches: the same in every process.
        stop: asked after every turn, of all processes.
        progress: is called with (what, clips done, clips in all); of a turn under way as many as its share of steps.
        processes: those that share out the batches.

    Raises:
        Interrupted: `stop` answered yes; what was drawn stays.
        RunError: clips are not finite, in any process, or a process does not see what the others wrote.
    """
    for first in range(0, len(batches), processes.world):
        turn = batches[first : first + processes.world]
        done, count = turn[-1].stop, sum(map(len, turn))

        def under_way(k: int, x: Tensor, t: Tensor, before: int = done - count, count: int = count) -> None:
            if k + 1 < drawing.steps:
                progress("sampling", before + count * (k + 1) // drawing.steps, files.clips)

        failed = None
        if processes.rank < len(turn):
            numbers = turn[processes.rank]
            try:
                files.write(numbers, drawing.clips(numbers, under_way))
            except RunError as error:
                failed = error
        stopping = processes.agree(stop(), failed)  # all have written what they made in this turn
        progress("sampling", done, files.clips)
        if stopping:
            raise Interrupted(f"stopped after {done} of {files.clips} sampled clips")
    see_all(files, processes)


def missing_batches(files: SampleFiles, size: int, progress: Progress) -> list[range]:
    """Return the clips that are still to be drawn, in batches of a size; what is damaged is removed, and told."""
    whole = files.whole(thorough=True)
    for problem in files.remove_others(whole):
        progress(f"sampling again what is damaged: {problem}", 1, 1)
    return files.missing(size, whole)


def see_all(files: SampleFiles, processes: Processes) -> None:
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


class _Streams:
    """One random stream a clip, so that neither the batch size nor the order of batches changes a clip."""

    def __init__(self, keys: list[tuple[int, ...]], shape: tuple[int, ...], device: torch.device) -> None:
        seeds = [int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1) for key in keys]
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.shape, self.device = shape, device

    def draw(self) -> Tensor:
        """Gaussian noise (B, F, C, H, W)."""
        return torch.stack([torch.randn(self.shape, generator=g) for g in self.generators]).to(self.device)
