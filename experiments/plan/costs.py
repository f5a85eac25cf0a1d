"""What an experiment costs: GPU-hours by finished replicates, by steps measured just now, or by arithmetic."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from components.diffusion.respacing import executed_steps
from registry.errors import RunError, SpecError
from registry.runs.replicate import Replicate
from registry.schema.resources import Resources, Shape, shape_of
from registry.schema.spec import Spec

MEASURE_SECONDS = 3.0  # of training steps, and as long of sampling steps
WARM_UP = 2  # steps that are not counted


@dataclass(frozen=True)
class Cost:
    """The hours of one replicate.

    Args:
        training: hours of its training, which other arms may share.
        evaluation: hours of sampling and scoring it.
        devices: GPUs (or, without GPUs, nodes) that it keeps busy; less than one where several share it.
        how: `finished`, `measured` or `arithmetic`.
    """

    training: float
    evaluation: float
    devices: float
    how: str

    @property
    def hours(self) -> float:
        return self.training + self.evaluation

    @property
    def gpu_hours(self) -> float:
        return self.hours * self.devices


class Macs(Protocol):
    """Multiply-accumulates of one evaluation of a network: on one clip, and on one sample of its training."""

    @property
    def evaluated(self) -> int: ...

    @property
    def trained(self) -> int: ...


@dataclass(frozen=True)
class Pace:
    """Seconds of a training step and of a sampled clip on this machine."""

    step: float
    clip: float


def cost(
    arm: str,
    spec: Spec,
    resources: Resources,
    own: Iterable[Replicate],
    macs: Macs,
    pace: Pace | None = None,
    defaults: Shape | None = None,
) -> Cost:
    """Return the cost of one replicate of an arm: as its finished ones measured it, else by its pace, else arithmetic.

    The arithmetic takes 6 FLOP a MAC for a training step and 2 for a sampling step, at `resources.tflops` sustained.

    Args:
        arm: its name.
        spec: its spec.
        resources: of the experiment.
        own: its replicates.
        macs: of its network.
        pace: of one device, as measured just now; several share a batch out. Scoring is not counted.
        defaults: what the user's file says of the cluster.
    """
    shape = shape_of(arm, resources, defaults or Shape())
    devices = shape.devices
    results = [result for replicate in own if (result := replicate.result())]
    if results:
        trained = [result.seconds_of.get("training", 0.0) for result in results]
        hours = sum(trained) / len(results) / 3600, sum(result.seconds for result in results) / len(results) / 3600
        return Cost(hours[0], hours[1] - hours[0], devices / shape.at_once, "finished")
    if pace is not None:
        hours = spec.step * pace.step / 3600, spec.sampling.clips * pace.clip / 3600
        return Cost(hours[0] / devices, hours[1] / devices, devices, "measured")
    flop = (
        6 * macs.trained * spec.step * spec.learning.batch_size,
        2 * macs.evaluated * spec.sampling.clips * evaluations(spec),
    )
    a_second = resources.tflops * 1e12 * 3600 * devices
    return Cost(flop[0] / a_second, flop[1] / a_second, devices, "arithmetic")


def evaluations(spec: Spec) -> int:
    """How often the network is asked for one clip: steps of the sampler, twice with guidance."""
    sampler = spec.sampling.sampler
    assert sampler is not None, "resolved"
    guided = 2 if spec.conditional and spec.sampling.guidance != 1.0 else 1
    return guided * executed_steps(str(sampler.parameters.get("steps", 1)))


def refuse_above(rows: Iterable[dict[str, Any]], most: float, at_most: bool = False) -> None:
    """Stop a launch that would cost more than it may.

    Args:
        rows: of the plan, one an arm.
        most: GPU-hours that may be spent on replicates which are not done.
        at_most: whether some of it may not be needed: arms that a screen stops, or seeds for claims that are decided.

    Raises:
        SpecError: it would cost more; with what costs most.
    """
    left = sorted(((row["gpu_hours_left"], row["arm"]) for row in rows), reverse=True)
    total = sum(hours for hours, _ in left)
    if total > most:
        dearest = ", ".join(f"{arm} {hours:.3g}" for hours, arm in left[:3] if hours)
        about = "at most about" if at_most else "about"
        raise SpecError(
            f"--max-gpu-hours {most:g}: what is not done yet costs {about} {total:.3g} GPU-hours (the dearest arms: "
            f"{dearest}); nothing was launched. `plan` shows each arm; fewer seeds, or --only, cost less"
        )


def measure(spec: Spec) -> Pace:
    """Take a few training and sampling steps of an arm on noise, and return what one takes; writes nothing.

    Raises:
        RunError: the device is not there, or its memory does not suffice.
    """
    import torch

    from components.memory import kept
    from components.precision import tf32
    from experiments.plan.one_step import OneStep
    from experiments.training.devices import device_of

    device = device_of(spec)
    if spec.runtime.threads and device.type == "cpu":
        torch.set_num_threads(spec.runtime.threads)
    clips = min(spec.runtime.sampling_batch, spec.sampling.clips)
    try:
        # A step takes as long whatever the weights.
        step = OneStep(spec, device, ready=lambda model: model.initialise(torch.Generator().manual_seed(0)))
        with tf32(spec.runtime.tf32, device), kept(device):
            training, evaluation = _seconds(step.take, device), _seconds(lambda: step.sample(clips), device)
    except torch.OutOfMemoryError as error:
        raise RunError(f"{device} has not enough memory for this arm: {str(error).splitlines()[0]}") from None
    return Pace(training, evaluation * evaluations(spec) / clips)


def _seconds(what: Callable[[], None], device: Any) -> float:
    """The median time of a call, warm, over a few seconds."""
    import statistics

    import torch

    def once() -> float:
        began = time.perf_counter()
        what()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    for _ in range(WARM_UP):
        once()
    times: list[float] = []
    while sum(times) < MEASURE_SECONDS and len(times) < 1000:
        times.append(once())
    return statistics.median(times)
