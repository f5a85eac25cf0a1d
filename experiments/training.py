"""The training loop, in plain torch.

One optimiser step: clips from the latent cache, noise, the objective's loss, gradients (clipped from a stated step
on), AdamW, EMA. Everything random comes from one generator whose state is in the checkpoint, and the clips are a
function of the step, so that a run that was killed and resumed equals an undisturbed one, bit for bit on CPU.

Source: paper, section 4.1; golden README, 10.1; the defects of 10.4 are not repeated.
"""

import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from components.data.clips import ClipSampler, frames_needed, pick
from components.data.latent_cache import LatentCache
from components.data.prepare import Prepared
from components.learning.ema import EMA
from components.model.conditioning import drop_labels
from components.model.latte import Latte
from experiments.recording import Recorder
from registry.assemble import Assembly
from registry.errors import RunError
from registry.runs import Replicate, read_lines

VALIDATION_CLIPS = 16
BANDS = 4  # of noise, for the validation loss
TIMES_PER_BAND = 4


class Interrupted(RunError):
    """The run was asked to stop; a checkpoint of the last finished step has been written."""


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """bf16 autocast over fp32 master weights, or nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def losses_of(
    objective: Any, model: Callable[..., Tensor], x0: Tensor, t: Tensor, noise: Tensor, labels: Tensor | None
) -> dict[str, Tensor]:
    """The objective's losses (B,) of a batch of latents (B, F, C, H, W) noised to times t (B,)."""
    x_t = objective.noised(x0, t, noise)
    return objective.losses(model(x_t, objective.network_time(t), labels), x0, x_t, t, noise)


def take_step(model: nn.Module, optimiser: torch.optim.Optimizer, ema: EMA, clip_norm: float | None) -> Tensor:
    """Clip the gathered gradients, update the weights and their average; return the gradient norm before clipping."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    if clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), clip_norm, norm)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    ema.update(model)
    return norm


def _seed(*key: int) -> int:
    """A seed for the stream of that key, independent of its neighbours (NumPy's SeedSequence mixes it)."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


class Trainer:
    """Model, EMA, optimiser, random state and data position of one replicate, and the steps that change them.

    Args:
        replicate: what is trained; its folder takes metrics and checkpoints.
        prepared: the prepared data set.
        cache: its latents.
        device: where to train.
    """

    def __init__(self, replicate: Replicate, prepared: Prepared, cache: LatentCache, device: torch.device) -> None:
        self.spec, self.device, self.cache, self.prepared = replicate.spec, device, cache, prepared
        self.recorder, self.folder = Recorder(replicate.folder), replicate.folder / "checkpoints"
        assembly, learning = Assembly(replicate.spec), replicate.spec.learning
        self.objective = assembly.objective()
        self.draw_latents = assembly.autoencoder_class().draw
        start = torch.Generator().manual_seed(replicate.seed)
        self.model: Latte = assembly.model()
        assembly.initialisation()(self.model, start)
        self.model.to(device)
        self.ema = EMA(self.model, learning.ema_decay)
        if self.spec.runtime.compile:
            for block in self.model.blocks:
                block.compile()
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=learning.learning_rate, betas=(learning.beta1, learning.beta2), eps=1e-8,
            weight_decay=learning.weight_decay, fused=True,
        )  # fmt: skip
        self.lr_schedule = assembly.lr_schedule()
        # Times, noise and label drops belong to the seed alone, so that arms of one seed meet the same ones, however
        # many numbers their initial weights took.
        self.generator = torch.Generator(device).manual_seed(_seed(replicate.seed, 0))
        torch.manual_seed(_seed(replicate.seed, 1))  # for parts that draw from torch's own stream
        data = self.spec.data
        self.videos = prepared.videos("train", frames_needed(data.frames, data.interval))
        self.sampler = ClipSampler(
            prepared.lengths(self.videos),
            data.frames,
            data.interval,
            data.picking,
            data.flip,
            learning.batch_size,
            replicate.seed,
        )
        self.step = 0
        self.sums: dict[str, Tensor] = {}  # of the metrics since they were last logged
        self.summed = 0  # how many steps they sum

    def batch(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Moments (B, F, M, h, w) and labels (B,) of a step's clips, on the device."""
        clips = self.sampler.batch(step)
        videos = [self.videos[position] for position in clips.videos]
        moments = self.cache.batch(videos, clips.indices, clips.flipped).to(self.device, non_blocking=True)
        return moments, self._labels(videos)

    def _labels(self, videos: list[int]) -> Tensor | None:
        return torch.tensor(self.prepared.labels(videos), device=self.device) if self.spec.model.classes else None

    def train_step(self) -> dict[str, Tensor]:
        """One optimiser step; returns the mean losses and the gradients' norm, still on the device."""
        learning, size = self.spec.learning, self.spec.learning.batch_size
        moments, labels = self.batch(self.step)
        x0 = self.draw_latents(moments, self.generator)
        t = self.objective.draw_times(size, self.generator).to(self.device)
        noise = torch.randn(x0.shape, generator=self.generator, device=self.device)
        if labels is not None and self.model.null_label is not None and learning.label_drop:
            uniforms = torch.rand(size, generator=self.generator, device=self.device)
            labels = drop_labels(labels, self.model.null_label, learning.label_drop, uniforms)
        # All numbers of a step are drawn before it is cut into micro-batches: accumulation changes nothing but memory.
        means: dict[str, Tensor] = {}
        for rows in torch.arange(size, device=self.device).chunk(self.spec.runtime.accumulation):
            with autocast(self.device, self.spec.runtime.precision):
                terms = losses_of(
                    self.objective, self.model, x0[rows], t[rows], noise[rows], None if labels is None else labels[rows]
                )
            (terms["loss"].sum() / size).backward()
            for name, values in terms.items():
                means[name] = means.get(name, torch.zeros((), device=self.device)) + values.detach().sum() / size
        for group in self.optimiser.param_groups:
            group["lr"] = learning.learning_rate * self.lr_schedule.factor(self.step)
        clip_norm = learning.clip_norm if self.step >= learning.clip_from else None
        means["grad_norm"] = take_step(self.model, self.optimiser, self.ema, clip_norm)
        self.step += 1
        return means

    @torch.no_grad()
    def validation_losses(self) -> dict[str, float]:
        """Loss of the averaged weights by noise band, at fixed clips, times and noise: comparable across arms.

        Clips are of `validation_split`, one at the middle of each video.
        """
        data, rng = self.spec.data, torch.Generator().manual_seed(0)
        videos = self.prepared.videos(self.validation_split, frames_needed(data.frames, data.interval))
        videos = [videos[i * len(videos) // VALIDATION_CLIPS] for i in range(VALIDATION_CLIPS)]
        offset = [(self.prepared.records[v].frames - frames_needed(data.frames, data.interval)) // 2 for v in videos]
        ends = [
            min(o + data.frames * data.interval, self.prepared.records[v].frames)
            for o, v in zip(offset, videos, strict=True)
        ]
        picked = [pick(data.picking, o, end, data.frames, data.interval) for o, end in zip(offset, ends, strict=True)]
        indices = torch.tensor(picked)
        moments = self.cache.batch(videos, indices, torch.zeros(len(videos), dtype=torch.bool))
        x0 = self.draw_latents(moments, rng)
        noise, labels = torch.randn(x0.shape, generator=rng), self._labels(videos)
        average = self.ema.state_dict()

        def model(x: Tensor, t: Tensor, of: Tensor | None) -> Tensor:
            return functional_call(self.model, average, (x, t, of))

        found = {}
        for band, times in enumerate(self.objective.band_times(BANDS, TIMES_PER_BAND)):
            t = times.repeat(VALIDATION_CLIPS // TIMES_PER_BAND).to(self.device)
            with autocast(self.device, self.spec.runtime.precision):
                terms = losses_of(self.objective, model, x0.to(self.device), t, noise.to(self.device), labels)
            found[f"validation_loss_band_{band}"] = float(terms["loss"].mean())
        return {"validation_loss": sum(found.values()) / BANDS, **found}

    @property
    def validation_split(self) -> str:
        """`test`, or `train` where no test video is long enough; it stands in the result beside the loss."""
        try:
            self.prepared.videos("test", frames_needed(self.spec.data.frames, self.spec.data.interval))
        except RunError:
            return "train"
        return "test"

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "sums": dict(self.sums),
            "summed": self.summed,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.step, self.sums, self.summed = state["step"], dict(state["sums"]), state["summed"]
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_generator"])

    def save(self) -> None:
        """Write a checkpoint atomically, then remove the oldest ones beyond `runtime.keep_checkpoints`."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"step-{self.step:08d}.pt"
        temporary = self.folder / f".{path.name}.{os.getpid()}.tmp"
        with temporary.open("wb") as file:
            torch.save(self.state(), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        for old in sorted(self.folder.glob("step-*.pt"))[: -self.spec.runtime.keep_checkpoints]:
            old.unlink()
        for left in self.folder.glob(".*.tmp"):
            left.unlink()

    def resume(self) -> None:
        """Load the newest readable checkpoint, if there is one."""
        for path in sorted(self.folder.glob("step-*.pt"), reverse=True):
            state = read_checkpoint(path, self.device)
            if state is not None:
                self.load_state(state)
                break
        self.recorder.forget_after(self.step)


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """A checkpoint's content, or None where the file is damaged (by a file system; ours are written whole)."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
        return None
    # Random states live on the CPU, whatever the device.
    return state | {key: state[key].cpu() for key in ("generator", "torch_generator")}


def train(trainer: Trainer, stop: Callable[[], bool], progress: Callable[[str, int, int], None]) -> dict[str, float]:
    """Train to the last step, from wherever the newest checkpoint left off; returns the final validation losses.

    Args:
        trainer: what is trained.
        stop: asked after every step; where it answers yes, a checkpoint is written and `Interrupted` raised.
        progress: is called with (what, steps done, steps in all).

    Raises:
        Interrupted: `stop` answered yes.
        RunError: the loss is not finite.
    """
    runtime, steps = trainer.spec.runtime, trainer.spec.learning.steps
    trainer.resume()
    speed = _Speed(trainer.step)
    while trainer.step < steps:
        means = trainer.train_step()
        step = trainer.step
        for name, value in means.items():
            trainer.sums[name] = trainer.sums.get(name, 0) + value  # stays on the device: no waiting for it
        trainer.summed += 1
        if step % runtime.log_every == 0 or step == steps:
            logged = {name: float(value) / trainer.summed for name, value in trainer.sums.items()}
            trainer.sums, trainer.summed = {}, 0
            rate = speed.steps_per_second(step)
            if not all(abs(value) < float("inf") for value in logged.values()):
                raise RunError(
                    f"the loss is not finite at step {step}: {logged}; lower learning.learning_rate, or train in fp32"
                )
            logged["learning_rate"] = trainer.optimiser.param_groups[0]["lr"]
            trainer.recorder.metrics(step, logged)
            trainer.recorder.heartbeat(
                stage="training", step=step, steps=steps, loss=logged["loss"], steps_per_second=rate
            )
            progress("training", step, steps)
        if step % runtime.validate_every == 0 and step < steps:
            trainer.recorder.metrics(step, trainer.validation_losses())
        stopping = stop() and step < steps
        if step % runtime.checkpoint_every == 0 or step == steps or stopping:
            trainer.save()
        if stopping:
            raise Interrupted(f"stopped at step {step} of {steps}; the same command goes on from there")
    final = trainer.validation_losses()
    if not any(line["step"] == steps and "validation_loss" in line for line in _logged(trainer)):
        trainer.recorder.metrics(steps, final)
    return final


def _logged(trainer: Trainer) -> Iterator[dict[str, Any]]:
    return read_lines(trainer.recorder.folder / "metrics.jsonl")


class _Speed:
    """Steps a second since the attempt began, the first step (which may compile) left out."""

    def __init__(self, step: int) -> None:
        self.first, self.since = step, time.monotonic()

    def steps_per_second(self, step: int) -> float:
        seconds = time.monotonic() - self.since
        return round((step - self.first) / seconds, 3) if seconds > 0 else 0.0
