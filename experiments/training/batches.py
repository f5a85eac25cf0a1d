"""The batch of a step: which clips it has, read from the latent cache, and all that is drawn for it.

The clips are a function of the step, and everything else comes from one generator, in the order in which a single
process draws. Stills behind the clips, and times that are not drawn all alike, have streams of their own for each step,
so that arms with and without stills meet the same clips, times, noise and label drops, and arms of any times the same
clips, noise and label drops. Several processes share out the rows of a batch: each draws the
numbers of the whole of it and reads the clips of its own rows, so that their number changes nothing but the rounding of
sums.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from components.data.caption_cache import CaptionCache
from components.data.clips import ClipSampler
from components.data.latent_cache import LatentCache
from components.data.prepare import Prepared
from components.data.stills import StillSampler
from components.diffusion.contracts import Objective, TimestepSampling
from components.model.conditioning import drop_labels
from experiments.training.losses import Batch
from experiments.training.processes import Processes
from registry.schema.spec import Spec

DrawLatents = Callable[[Tensor, Generator], Tensor]


def seed_of(*key: int) -> int:
    """A seed for the stream of that key (NumPy's SeedSequence mixes it).

    Keys that differ only in zeros at their end have one stream, and `components.data.clips.stream` makes the same of a
    key; where two uses share one, they draw numbers of different kinds.
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


class Read(NamedTuple):
    """What is read for a batch: moments (B, F or n, M, h, w) and labels (B,) or (B, n), on the device; caption numbers.

    Captions are numbered (B,) as their cache has them, on the CPU.
    """

    moments: Tensor
    labels: Tensor | None
    captions: Tensor | None = None


class Times(NamedTuple):
    """The times that are trained on."""

    objective: Objective
    sampling: TimestepSampling


class Batches:
    """The batches of a training, by step.

    Args:
        spec: of the training.
        seed: of the replicate.
        prepared: the prepared data set.
        cache: its latents.
        device: where to train.
        processes: those that train together.
        texts: the embeddings of the set's captions, where the network reads them.

    Raises:
        RunError: the videos are too few or too short.
    """

    def __init__(
        self,
        spec: Spec,
        seed: int,
        prepared: Prepared,
        cache: LatentCache,
        device: torch.device,
        processes: Processes,
        texts: CaptionCache | None = None,
    ) -> None:
        data, learning = spec.data, spec.learning
        self.spec, self.prepared, self.cache, self.device, self.processes = spec, prepared, cache, device, processes
        self.seed, self.texts = seed, texts
        self.videos = prepared.videos("train", data.least_frames)
        lengths = prepared.lengths(self.videos)
        self.sampler = ClipSampler(
            lengths, data.frames, data.interval, data.picking, data.flip, learning.batch_size, seed
        )
        self.still_sampler = (
            StillSampler(lengths, learning.joint_images, learning.batch_size, seed) if learning.joint_images else None
        )

    def read(self, step: int) -> Read:
        """The clips of a step.

        The moments of other processes' rows are zeros: drawing latents takes as many random numbers for them.
        """
        clips = self.sampler.batch(step)
        videos = [self.videos[position] for position in clips.videos]
        rows = self.processes.share(len(videos))
        own = slice(rows.start, rows.stop)
        moments = self._of_all_rows(self.cache.batch(videos[own], clips.indices[own], clips.flipped[own]), own)
        flipped = clips.flipped.tolist() if self.spec.data.flip else None  # a mirrored clip may be of another class
        return Read(moments, self.labels(videos, flipped), self.captions(videos))

    def read_stills(self, step: int) -> Read:
        """The stills of a step, of other processes' rows zeros as above."""
        assert self.still_sampler is not None, "joint_images is above 0"
        stills = self.still_sampler.batch(step, self.sampler.batch(step).videos)
        videos = [[self.videos[position] for position in row] for row in stills.videos]
        rows = self.processes.share(len(videos))
        own = slice(rows.start, rows.stop)
        moments = self._of_all_rows(self.cache.stills(videos[own], stills.frames[own]), own)
        labels = self.labels([video for row in videos for video in row])
        return Read(moments, None if labels is None else labels.view(stills.frames.shape))

    def draw(self, step: int, generator: Generator, times: Times, latents: DrawLatents) -> Batch:
        """Return the batch of a step, on the device.

        Args:
            step: its number.
            generator: on the device; its state belongs to the checkpoint.
            times: of the objective, and how they are drawn.
            latents: draws latents around moments.
        """
        moments, labels, captions = self.read(step)
        learning, size = self.spec.learning, self.spec.learning.batch_size
        x0 = latents(moments, generator)
        own = Generator(self.device).manual_seed(seed_of(self.seed, 3, step))
        t = times.sampling.draw(times.objective, times.objective.draw_times(size, generator), own).to(self.device)
        noise = torch.randn(x0.shape, generator=generator, device=self.device)
        labels = self._dropped(labels, generator)
        text, mask = self._text(captions, generator)
        batch = Batch(x0, t, noise, labels, text=text, text_mask=mask)
        return self._with_stills(batch, step, latents) if learning.joint_images else batch

    def _with_stills(self, batch: Batch, step: int, latents: DrawLatents) -> Batch:
        """The batch with its step's stills behind the clips."""
        moments, labels, _ = self.read_stills(step)
        generator = Generator(self.device).manual_seed(seed_of(self.seed, 2, step))
        x0 = latents(moments, generator)
        noise = torch.randn(x0.shape, generator=generator, device=self.device)
        return Batch(
            torch.cat([batch.x0, x0], dim=1), batch.t, torch.cat([batch.noise, noise], dim=1), batch.labels,
            self._dropped(labels, generator), stills=x0.shape[1],
        )  # fmt: skip

    def _dropped(self, labels: Tensor | None, generator: Generator) -> Tensor | None:
        """Labels (B,) or (B, n), some of them dropped, all of a sample by one number; see `drop_labels`."""
        probability = self.spec.learning.label_drop
        if labels is None or not probability:
            return labels
        uniforms = torch.rand(len(labels), generator=generator, device=self.device)
        return drop_labels(labels, self.spec.model.classes, probability, uniforms)

    def _text(self, captions: Tensor | None, generator: Generator) -> tuple[Tensor | None, Tensor | None]:
        """Embeddings and mask of captions by number (B,), some replaced by the empty caption, as labels are dropped.

        Those of other processes' rows are zeros, in which nobody looks.
        """
        if captions is None or self.texts is None:
            return None, None
        if probability := self.spec.learning.label_drop:
            uniforms = torch.rand(len(captions), generator=generator, device=self.device)
            captions = drop_labels(captions, self.texts.empty, probability, uniforms.cpu())
        rows = self.processes.share(len(captions))
        text, mask = self.text_of(captions[rows.start : rows.stop])
        if len(rows) == len(captions):
            return text, mask
        all_rows, all_masks = (of.new_zeros(len(captions), *of.shape[1:]) for of in (text, mask))
        all_rows[rows.start : rows.stop], all_masks[rows.start : rows.stop] = text, mask
        return all_rows, all_masks

    def captions(self, videos: list[int]) -> Tensor | None:
        """Numbers (n,) of the captions of these videos, on the CPU; None where the network reads none."""
        return None if self.texts is None else self.texts.numbers(self.prepared.captions(videos))

    def text_of(self, captions: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (n, L, E) and mask (n, L) of captions by number (n,), on the device."""
        assert self.texts is not None, "the network reads captions"
        text, mask = self.texts.read(captions)
        return text.to(self.device, non_blocking=True), mask.to(self.device, non_blocking=True)

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
