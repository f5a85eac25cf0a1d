"""The batch of a step: which clips it has, read from the latent cache, and all that is drawn for it.

The clips are a function of the step, and everything else comes from one generator, in the order in which a single
process draws. Several processes share out the rows of a batch: each draws the numbers of the whole of it and reads the
clips of its own rows, so that their number changes nothing but the rounding of sums.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor

from components.data.clips import ClipSampler
from components.data.latent_cache import LatentCache
from components.data.prepare import Prepared
from components.diffusion.contracts import Objective
from components.model.conditioning import drop_labels
from experiments.training.losses import Batch
from experiments.training.processes import Processes
from registry.schema.spec import Spec

DrawLatents = Callable[[Tensor, Generator], Tensor]


def seed_of(*key: int) -> int:
    """A seed for the stream of that key, independent of its neighbours (NumPy's SeedSequence mixes it)."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


class Batches:
    """The batches of a training, by step.

    Args:
        spec: of the training.
        seed: of the replicate.
        prepared: the prepared data set.
        cache: its latents.
        device: where to train.
        processes: those that train together.
    """

    def __init__(
        self,
        spec: Spec,
        seed: int,
        prepared: Prepared,
        cache: LatentCache,
        device: torch.device,
        processes: Processes,
    ) -> None:
        data, learning = spec.data, spec.learning
        self.spec, self.prepared, self.cache, self.device, self.processes = spec, prepared, cache, device, processes
        self.videos = prepared.videos("train", data.least_frames)
        lengths = prepared.lengths(self.videos)
        self.sampler = ClipSampler(
            lengths, data.frames, data.interval, data.picking, data.flip, learning.batch_size, seed
        )

    def read(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Moments (B, F, M, h, w) and labels (B,) of a step's clips, on the device.

        The moments of other processes' rows are zeros: drawing latents takes as many random numbers for them.
        """
        clips = self.sampler.batch(step)
        videos = [self.videos[position] for position in clips.videos]
        rows = self.processes.share(len(videos))
        own = slice(rows.start, rows.stop)
        moments = self._of_all_rows(self.cache.batch(videos[own], clips.indices[own], clips.flipped[own]), own)
        flipped = clips.flipped.tolist() if self.spec.data.flip else None  # a mirrored clip may be of another class
        return moments, self.labels(videos, flipped)

    def draw(self, step: int, generator: Generator, objective: Objective, latents: DrawLatents) -> Batch:
        """Return the batch of a step, on the device.

        Args:
            step: its number.
            generator: on the device; its state belongs to the checkpoint.
            objective: draws the times.
            latents: draws latents around moments.
        """
        moments, labels = self.read(step)
        learning, size = self.spec.learning, self.spec.learning.batch_size
        x0 = latents(moments, generator)
        t = objective.draw_times(size, generator).to(self.device)
        noise = torch.randn(x0.shape, generator=generator, device=self.device)
        if labels is not None and learning.label_drop:
            uniforms = torch.rand(size, generator=generator, device=self.device)
            labels = drop_labels(labels, self.spec.model.classes, learning.label_drop, uniforms)
        return Batch(x0, t, noise, labels)

    def labels(self, videos: list[int], flipped: list[bool] | None = None) -> Tensor | None:
        """Labels (n,) of clips of these videos, on the device; None without classes."""
        if not self.spec.model.classes:
            return None
        return torch.tensor(self.prepared.labels(videos, flipped), device=self.device)

    def _of_all_rows(self, moments: Tensor, own: slice) -> Tensor:
        """The moments of this process's rows on the device, among zeros for the others'."""
        moments, size = moments.to(self.device, non_blocking=True), self.spec.learning.batch_size
        if len(moments) == size:
            return moments
        all_rows = moments.new_zeros(size, *moments.shape[1:])
        all_rows[own] = moments
        return all_rows
