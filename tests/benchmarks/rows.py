"""Training steps and samplers that `make benchmark` measures: each row a small function that makes its work ready.

Baseline and ours start from the same weights, take the same latents, times, noise and labels, and compute the same
loss: that of the reference, which learns the variance, whatever the experiment of that shape trains with.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.assembly import Assembly
from components.diffusion.guidance import guided
from components.learning.ema import EMA
from components.model.checkpoints import to_official
from components.model.latte import Latte
from experiments.training.losses import Batch, autocast, losses_of
from experiments.training.trainer import take_step
from registry.experiment.resolve import resolve
from registry.parts.catalogue import catalogue
from registry.runs.machine import ROOT
from registry.schema.spec import Spec
from registry.strict_yaml import load
from tests.benchmarks.baselines.diffusion import Process
from tests.benchmarks.baselines.network import OfficialLatte
from tests.benchmarks.baselines.training import Loop
from tests.benchmarks.measuring import Row

DIFFUSION = {"objective": "epsilon_learned_sigma", "noise_schedule": "linear"}  # the reference's
CPU = torch.device("cpu")
Latents = Callable[[], Tensor]  # (B, F, C, H, W) of the clips of a step


@dataclass(frozen=True)
class Work:
    """The shape of a training.

    Attributes:
        name: as it is printed.
        spec: a resolved spec with the reference's objective.
        device: where it is done.
    """

    name: str
    spec: Spec
    device: torch.device

    @property
    def size(self) -> int:
        """Clips of a batch."""
        return self.spec.learning.batch_size

    def network(self) -> Latte:
        """The network with weights that are nowhere zero, the same at every call."""
        network = Assembly(self.spec).model()
        generator = torch.Generator().manual_seed(0)
        network.initialise(generator)
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.02)
        return network.to(self.device)

    def baseline(self) -> OfficialLatte:
        """The baseline with the same weights."""
        model, latents = self.spec.model, Assembly(self.spec).latent_shape()
        network = OfficialLatte(latents, model.width, model.depth, model.heads, model.patch, model.classes)
        network.load_state_dict(to_official(self.network().state_dict()))
        return network.to(self.device)

    def batch(self) -> Batch:
        """A batch of noise."""
        generator = torch.Generator().manual_seed(1)
        shape = (self.size, *Assembly(self.spec).latent_shape())
        x0, noise = (torch.randn(shape, generator=generator) for _ in range(2))
        labels = torch.arange(self.size) % self.spec.model.classes if self.spec.model.classes else None
        t = torch.randint(0, 1000, (self.size,), generator=generator).to(self.device)
        x0, noise = x0.to(self.device), noise.to(self.device)
        return Batch(x0, t, noise, None if labels is None else labels.to(self.device))


def of_shape(name: str, raw: dict[str, Any], device: torch.device) -> Work:
    """The work of a raw spec, with the reference's objective in place of its own."""
    spec, problems = resolve({**raw, "diffusion": DIFFUSION}, catalogue())
    assert spec is not None, problems
    return Work(name, spec, device)


def of_file(name: str, path: Path, device: torch.device) -> Work:
    """The work of the base of an experiment file."""
    raw = dict(load(path).value["base"])
    raw["data"] = {"path": "-", **raw["data"]} if isinstance(raw["data"].get("dataset"), str) else raw["data"]
    sampling = {key: value for key, value in raw.get("sampling", {}).items() if key != "sampler"}
    return of_shape(name, {**raw, "sampling": sampling}, device)


def small_2(device: torch.device = CPU) -> Work:
    """S/2 of the paper on one clip of 16 frames of 256x256."""
    return of_shape(
        "S/2, 16x4x32x32, batch 1",
        {
            "model": {"size": "S", "patch": 2},
            "data": {"dataset": "sky_timelapse", "path": "-", "resolution": 256, "frames": 16, "autoencoder": "sd_vae"},
            "learning": {"batch_size": 1},
        },
        device,
    )


def weizmann(device: torch.device = CPU) -> Work:
    """The shape of experiments/weizmann.yaml."""
    return of_file("Weizmann spec, width 160, 8x12x16x16, batch 8", ROOT / "experiments" / "weizmann.yaml", device)


def quickstart(device: torch.device = CPU) -> Work:
    """The shape of experiments/quickstart.yaml."""
    return of_file("quickstart, width 96, 8x12x8x8, batch 16", ROOT / "experiments" / "quickstart.yaml", device)


def our_step(work: Work, precision: str, latents: Latents | None = None) -> Callable[[], Tensor]:
    """A training step as `Trainer.train_step` takes it, on latents that are given, or fetched anew for each step."""
    assembly, network, batch = Assembly(work.spec), work.network().train(), work.batch()
    objective, ema = assembly.objective(), EMA(network, work.spec.learning.ema_decay)
    optimiser, clip_norm = assembly.optimiser()(network, 1e-4), work.spec.learning.clip_norm

    def step() -> Tensor:
        own = batch if latents is None else replace(batch, x0=latents())
        with autocast(work.device, precision):
            terms = losses_of(objective, network, own)
        (terms["loss"].sum() / work.size).backward()
        take_step(network, optimiser, ema, clip_norm)
        return terms["loss"].detach().mean()

    return step


def official_step(work: Work, latents: Latents | None = None) -> Callable[[], float]:
    """The baseline's step on the same batch, or on latents that are made anew for each step."""
    batch, learning = work.batch(), work.spec.learning
    loop = Loop(work.baseline().train(), 1e-4, learning.ema_decay, learning.clip_norm)
    given = (batch.t, batch.noise, batch.labels)
    return lambda: loop.step(batch.x0 if latents is None else latents(), *given)


def training(work: Work, repetitions: int) -> Row:
    """A training step, the latents given: forward, backward, norm, AdamW, average."""
    macs = 3 * Assembly(work.spec).counts().evaluated * work.size
    ways = {"official": official_step(work), "fp32": our_step(work, "fp32"), "bf16": our_step(work, "bf16")}
    return Row(f"training step, {work.name}", ways, repetitions, macs)


def sampling(work: Work, clips: int, guidance: float, steps: int, repetitions: int) -> Row:
    """Latents of some clips in one batch, by the ancestral sampler of few steps."""
    assembly, shape = Assembly(work.spec), (clips, *Assembly(work.spec).latent_shape())
    official, network, objective = work.baseline().eval(), work.network().eval(), assembly.objective()
    sampler = assembly.parts.build("sampler", {"name": "ddpm", "steps": steps}, objective)
    process, channels, null = Process.training().respaced(steps), shape[2], work.spec.model.classes
    labels = (torch.arange(clips) % work.spec.model.classes).to(work.device)
    generator = torch.Generator().manual_seed(2)
    noise, drawn = (torch.randn(shape, generator=generator).to(work.device) for _ in range(2))
    both = torch.cat([labels, torch.full_like(labels, null)])

    def baseline() -> Tensor:
        if guidance == 1.0:
            return process.sample(lambda x, t: official(x, t, labels), noise, lambda: drawn)
        doubled = torch.cat([noise, noise]), torch.cat([drawn, drawn])
        ask = lambda x, t: official.forward_with_cfg(x, t, both, guidance, channels)  # noqa: E731
        return process.sample(ask, doubled[0], lambda: doubled[1])[:clips]

    def ours(precision: str) -> Tensor:
        def ask(x: Tensor, t: Tensor, of: Tensor = labels) -> Tensor:
            with autocast(work.device, precision):
                return network(x, t, of)

        denoise = ask if guidance == 1.0 else guided(ask, labels, null, guidance, channels)
        with torch.inference_mode(), autocast(work.device, precision), torch.autocast(work.device.type, enabled=False):
            return sampler.sample(denoise, noise, lambda: drawn)

    macs = assembly.counts().evaluated * clips * steps * (1 if guidance == 1.0 else 2)
    ways = {"official": baseline, "fp32": lambda: ours("fp32"), "bf16": lambda: ours("bf16")}
    scale = f"guidance {guidance:g}" if guidance != 1.0 else "no guidance"
    return Row(f"sampling {clips} clips, {work.name.split(',')[0]}, {steps} steps, {scale}", ways, repetitions, macs)


ROWS: dict[str, Callable[[torch.device], Row]] = {
    "step-s2": lambda device: training(small_2(device), 2),
    "step-weizmann": lambda device: training(weizmann(device), 9),
    "step-quickstart": lambda device: training(quickstart(device), 15),
    "sampling": lambda device: sampling(weizmann(device), 64, 1.0, 2, 2),
    "sampling-guided": lambda device: sampling(weizmann(device), 64, 1.5, 2, 2),
}
