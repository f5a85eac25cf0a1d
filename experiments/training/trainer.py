"""The training loop, in plain torch.

One optimiser step: clips from the latent cache, noise (`batches`), the objective's loss (`losses`), gradients (clipped
from a stated step on; `gradients`), the optimiser, EMA. Everything random comes from one generator whose state is in
the checkpoint, and the clips are a function of the step, so that a run that was killed and resumed equals an
undisturbed one, bit for bit on CPU.

Source: paper, section 4.1; golden README, 10.1; the defects of 10.4 are not repeated.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from components.assembly import Assembly
from components.data.latent_cache import LatentCache
from components.data.prepare import Prepared
from components.learning.contracts import Steps
from components.learning.ema import EMA
from components.memory import kept
from components.model.latte import Latte
from components.model.recomputing import recompute
from components.precision import tf32
from experiments.record.recording import Recorder
from experiments.training.batches import Batches, Times, seed_of
from experiments.training.checkpoints import damage_of, newest_checkpoint, origin_of, write_checkpoint
from experiments.training.gradients import gathering, meeting, pieces_of, summed
from experiments.training.losses import autocast, blank_text, losses_of
from experiments.training.machine_share import MachineShare, four_digits
from experiments.training.open_data import open_captions
from experiments.training.processes import ALONE, Processes
from experiments.training.validation import HELD, validation_at, validation_losses, validation_split_of
from registry.errors import Interrupted, RunError
from registry.parts.start_files import checkpoints_in, step_of
from registry.runs import divergence
from registry.runs.replicate import Replicate
from registry.runs.starts import start_of
from registry.runs.stored import read_metrics
from registry.schema.search import raw_name


def take_step(model: nn.Module, optimiser: Steps, ema: EMA, clip_norm: float | None) -> Tensor:
    """Clip the gathered gradients, update the weights and their average; return the gradient norm before clipping."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    if clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), clip_norm, norm)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    ema.update(model)
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # of all shares, where weights are shared out


class Trainer:
    """Model, EMA, optimiser, random state and data position of one replicate, and the steps that change them.

    Args:
        replicate: what is trained; its folder takes metrics and checkpoints.
        prepared: the prepared data set.
        cache: its latents.
        device: where to train.
        processes: those that train it together; each has a Trainer of its own.
        state: of an earlier attempt, to go on from; None: the replicate's start is loaded, and this is step 0.

    Raises:
        RunError: there are more processes than clips in a batch, or what the training starts from cannot be had.
    """

    def __init__(
        self,
        replicate: Replicate,
        prepared: Prepared,
        cache: LatentCache,
        device: torch.device,
        processes: Processes = ALONE,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.spec, self.device, self.prepared = replicate.spec, device, prepared
        self.processes, self.seed = processes, replicate.seed
        self.pieces = pieces_of(self.spec.learning.batch_size, self.spec.runtime.accumulation, processes)
        self.sharded = self.spec.runtime.shard and not processes.alone
        self.recorder, self.folder = Recorder(replicate.training), replicate.training
        self.origin = origin_of(replicate, prepared)
        self.needed: set[int] = set()  # steps whose checkpoints are kept until they are evaluated
        self.noted = 0  # metrics of steps up to this one are there already: it has gone back
        assembly, learning = Assembly(replicate.spec), replicate.spec.learning
        self.objective, self.loss_weighting = assembly.objective(), assembly.loss_weighting()
        self.times = Times(self.objective, assembly.timestep_sampling())
        self.draw_latents = assembly.autoencoder_class().draw
        self.model: Latte = assembly.model()
        if state is None:
            assembly.initialisation(start_of(replicate))(self.model, torch.Generator().manual_seed(replicate.seed))
        self.model.to(device)
        if self.spec.runtime.checkpointing:
            recompute(self.model.blocks)
        if self.spec.runtime.compile:
            for block in self.model.blocks:
                block.compile()
        processes.barrier()  # one may have taken longer to open its data
        if self.sharded:
            from experiments.training import sharding  # slow to import

            sharding.shard(self.model, processes)
        self.ema = EMA(self.model, learning.ema_decay)
        self.optimiser = assembly.optimiser()(self.model, learning.learning_rate)
        self.lr_schedule = assembly.lr_schedule()
        # Times, noise and label drops belong to the seed alone, so that arms of one seed meet the same ones, however
        # many numbers their initial weights took.
        self.generator = torch.Generator(device).manual_seed(seed_of(replicate.seed, 0))
        torch.manual_seed(seed_of(replicate.seed, 1))  # for parts that draw from torch's own stream
        texts = open_captions(self.spec, self.folder)
        self.batches = Batches(self.spec, replicate.seed, prepared, cache, device, processes, texts)
        self.network: nn.Module = self.model  # as it is trained: its gradients are those of all processes
        if not processes.alone and not self.sharded:
            self.network = gathering(self.model, self._some_output, device)
        self.step = 0
        self.waited = 0.0  # seconds that steps waited for their data
        self.sums: dict[str, Tensor] = {}  # of the metrics since they were last logged
        self.summed = 0  # how many steps they sum
        if state is not None:
            self.load_state(state)

    def _some_output(self) -> Tensor:
        """What the network gives for a micro-batch of nothing."""
        rows = self.pieces[0][0]
        clips = torch.zeros(rows.stop - rows.start, *Assembly(self.spec).latent_shape(), device=self.device)
        labels = torch.zeros(len(clips), dtype=torch.int64, device=self.device) if self.spec.model.classes else None
        with autocast(self.device, self.spec.runtime.precision):
            text = blank_text(self.model, self.spec, len(clips), self.device)
            return self.model(clips, torch.zeros(len(clips), device=self.device), labels, **text)

    def train_step(self) -> dict[str, Tensor]:
        """One optimiser step; returns the mean losses and the gradients' norm, still on the device."""
        learning, size = self.spec.learning, self.spec.learning.batch_size
        asked = time.monotonic()
        batch = self.batches.draw(self.step, self.generator, self.times, self.draw_latents)
        self.waited += time.monotonic() - asked
        # All numbers of a step are drawn before it is shared out and cut into micro-batches: neither changes anything.
        if not self.processes.alone:  # a stream of its own for each process's parts, and the same again after a resume
            torch.manual_seed(seed_of(self.seed, 1, self.processes.rank, self.step))
        means: dict[str, Tensor] = {}
        for number, (rows, counts) in enumerate(self.pieces):
            with meeting(self.network, last=number == len(self.pieces) - 1):
                with autocast(self.device, self.spec.runtime.precision):
                    terms = losses_of(self.objective, self.network, batch.rows(rows), self.loss_weighting)
                # Gradients are averaged over the processes: the batch's mean needs their sum.
                (terms["loss"].sum() * (self.processes.world * counts) / size).backward()
            for name, values in terms.items():
                share = values.detach().sum() * counts / size
                means[name] = means.get(name, torch.zeros((), device=self.device)) + share
        means = summed(means, self.processes)
        for group in self.optimiser.param_groups:
            group["lr"] = learning.learning_rate * self.lr_schedule.factor(self.step)
        clip_norm = learning.clip_norm if self.step >= learning.clip_from else None
        means["grad_norm"] = take_step(self.model, self.optimiser, self.ema, clip_norm)
        self.step += 1
        return means

    def validation_losses(self) -> dict[str, float]:
        """Return the losses of the averaged weights, by noise band."""
        with self._averaged() as model:
            return validation_losses(self.batches, self.objective, model, self.draw_latents)

    def raw_validation_losses(self) -> dict[str, float]:
        """Return the losses of the weights themselves, `raw_validation_loss` and so on, while the average is no guide.

        It is none while it still holds more than a tenth of the initial weights; afterwards there are none of these.
        """
        if self.ema.decay**self.step <= HELD:
            return {}
        losses = validation_losses(self.batches, self.objective, self.model, self.draw_latents)
        return {raw_name(name): value for name, value in losses.items()}

    @contextmanager
    def _averaged(self) -> Iterator[Callable[..., Tensor]]:
        """The network with the averaged weights."""
        average = self.ema.state_dict()
        if self.sharded:
            from experiments.training import sharding

            with sharding.swapped(self.model, average):
                yield self.model
        else:
            yield lambda x, t, **given: functional_call(self.model, average, (x, t), given)

    @property
    def validation_split(self) -> str:
        """The split that the validation losses are of."""
        return validation_split_of(self.spec, self.prepared)

    def state(self, keep: bool = True) -> dict[str, Any]:
        """Everything that the next step depends on, whole, however many processes hold a share of it.

        All processes must ask at once; weights that are shared out are gathered for those that `keep` them.
        """
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "sums": dict(self.sums),
            "summed": self.summed,
        }
        if self.sharded:
            from experiments.training import sharding

            state = sharding.whole(state, keep)
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state, of however many processes.

        Raises:
            RunError: it was made on another kind of device, whose noise cannot be drawn on this one.
        """
        if self.generator.get_state().shape != state["generator"].shape:
            raise RunError(
                f"{self.folder}: its checkpoint of step {state['step']} was made on another kind of device than "
                f"{self.device.type}, and its noise cannot be drawn here: go on with it there (runtime.device is "
                f"{self.spec.runtime.device}), or move that folder away and launch again, which trains it anew"
            )
        self.step, self.sums, self.summed = state["step"], dict(state["sums"]), state["summed"]
        model, ema, optimiser = state["model"], state["ema"], state["optimiser"]
        if self.sharded:
            from experiments.training import sharding

            model, ema = sharding.shares_of_weights(model, self.model), sharding.shares_of_weights(ema, self.model)
            optimiser = sharding.shares_of_optimiser(optimiser, self.optimiser)
        self.model.load_state_dict(model)
        self.ema.load_state_dict(ema)
        self.optimiser.load_state_dict(optimiser)
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_generator"])

    def save(self) -> None:
        """Write a checkpoint atomically, then remove the oldest ones beyond `runtime.keep_checkpoints`.

        Rank 0 writes, and the others wait, so that none stands in a collective meanwhile.
        """
        state = self.state(keep=self.processes.is_first)
        if self.processes.is_first:
            needed = self.needed | {self.step}  # this one is not the newest where the training has gone back
            write_checkpoint(self.folder, self.origin, state, self.spec.runtime.keep_checkpoints, needed)
        self.processes.barrier()

    def note_from_here(self) -> None:
        """Find out up to which step metrics are noted already, and forget those of steps that are still to be made."""
        self.noted = self.processes.shared(self._noted() if self.processes.is_first else 0)

    def _noted(self) -> int:
        """The step up to which metrics stay, because later steps were made; 0 where this is the newest step."""
        later = [path for path in checkpoints_in(self.folder) if (step_of(path) or 0) > self.step]
        ended = (self.folder / "trained.json").exists() and self.step < self.spec.learning.steps
        if ended or any(not damage_of(path, self.origin) for path in later):
            return max((line["step"] for line in read_metrics(self.folder)), default=0)
        self.recorder.forget_after(self.step)
        return 0

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """Note metrics of a step, unless they were noted before the training went back."""
        if self.processes.is_first and step > self.noted:
            self.recorder.metrics(step, values)


def resumed(
    replicate: Replicate,
    prepared: Prepared,
    cache: LatentCache,
    device: torch.device,
    processes: Processes = ALONE,
    most: int | None = None,
) -> Trainer:
    """Return a trainer at the newest readable checkpoint, or at the replicate's start where there is none.

    The checkpoint is looked for first, so that a training goes on without the file that it started from. All processes
    load the one that rank 0 finds.

    Args:
        replicate: what is trained.
        prepared: the prepared data set.
        cache: its latents.
        device: where to train.
        processes: those that train it together.
        most: the last step that the checkpoint may be of. Where later ones stay, their metrics do as well.

    Raises:
        RunError: as `Trainer`.
    """
    sharded = replicate.spec.runtime.shard and not processes.alone
    holder = torch.device("cpu") if sharded else device
    state = newest_checkpoint(replicate.training, origin_of(replicate, prepared), processes, holder, most)
    trainer = Trainer(replicate, prepared, cache, device, processes, state)
    trainer.note_from_here()
    return trainer


def train(
    trainer: Trainer,
    stop: Callable[..., bool],
    progress: Callable[[str, int, int], None],
    until: int | None = None,
) -> dict[str, float]:
    """Train on from where the trainer is, and return the validation losses at the end.

    Args:
        trainer: what is trained, resumed from its newest checkpoint.
        stop: asked after every step, with its number; where it answers yes in any process, a checkpoint is written and
            `Interrupted` raised.
        progress: is called with (what, steps done, steps in all).
        until: the step to train to, whose checkpoint is written; left out, the last.

    Raises:
        Interrupted: `stop` answered yes.
        RunError: the loss is not finite.
    """
    with tf32(trainer.spec.runtime.tf32, trainer.device), kept(trainer.device):
        return _train(trainer, stop, progress, trainer.spec.learning.steps if until is None else until)


def _train(
    trainer: Trainer, stop: Callable[..., bool], progress: Callable[[str, int, int], None], until: int
) -> dict[str, float]:
    """As `train`, with products as they are set."""
    runtime, steps, processes = trainer.spec.runtime, trainer.spec.learning.steps, trainer.processes
    speed = _Speed(trainer)
    if trainer.step == until == 0:
        trainer.save()  # the initial weights are what is evaluated
    while trainer.step < until:
        means = trainer.train_step()
        step = trainer.step
        for name, value in means.items():
            trainer.sums[name] = trainer.sums.get(name, 0) + value  # stays on the device: no waiting for it
        trainer.summed += 1
        if step % runtime.log_every == 0 or step == steps:
            _log(trainer, speed)
            progress("training", step, steps)
        if step % runtime.validate_every == 0 and step < until:
            trainer.note(step, trainer.validation_losses() | trainer.raw_validation_losses())
        stopping = processes.any(stop(step)) and step < until
        if step % runtime.checkpoint_every == 0 or step == until or stopping:
            _means(trainer)  # weights that are no numbers take no good checkpoint's place
            trainer.save()
            speed.note_stretch()
        if stopping:
            raise Interrupted(f"stopped at step {step} of {steps}; the same command goes on from there")
    final = trainer.validation_losses()
    raw = trainer.raw_validation_losses() if until < steps else {}  # a screen looks at where it pauses
    if processes.is_first and validation_at(trainer.folder, until) is None:
        trainer.recorder.metrics(until, final | raw)
    return final


def _log(trainer: Trainer, speed: "_Speed") -> None:
    """Write down the means since the last time, and how fast the steps were.

    Raises:
        RunError: the loss is not finite.
    """
    step, logged = trainer.step, _means(trainer)
    trainer.sums, trainer.summed = {}, 0
    logged["learning_rate"] = trainer.optimiser.param_groups[0]["lr"]
    trainer.note(step, logged)
    if trainer.processes.is_first:
        steps, rate = trainer.spec.learning.steps, speed.steps_per_second(step)
        trainer.recorder.heartbeat(stage="training", step=step, steps=steps, loss=logged["loss"], steps_per_second=rate)
        trainer.recorder.load(speed.lately())


def _means(trainer: Trainer) -> dict[str, float]:
    """Return the means since the last time that they were written down.

    Raises:
        RunError: one is not finite.
    """
    means = {name: float(value) / trainer.summed for name, value in trainer.sums.items()}
    if not all(abs(value) < float("inf") for value in means.values()):
        raise RunError(
            f"{divergence.LOSS} at step {trainer.step}: {means}; lower learning.learning_rate, or train in fp32"
        )
    return means


@contextmanager
def keeping_random_state() -> Iterator[None]:
    """Leave torch's own random streams as they were, so that evaluating in between changes no training step."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices):
        yield


class _Speed:
    """How fast a training is since the attempt began, the first step (which may compile) left out."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.first = trainer, trainer.step
        self.since = time.monotonic()
        self._last = (self.first, self.since, 0.0)
        self._stretch = (self.first, self.since)
        self._share: MachineShare | None = None

    def note_stretch(self) -> None:
        """Note what the steps since the last checkpoint of this attempt have taken, with validation and checkpoint."""
        (begun, since), now = self._stretch, time.monotonic()
        self._stretch = (self.trainer.step, now)
        if self.trainer.processes.is_first:
            self.trainer.recorder.seconds(begun, self.trainer.step, now - since)

    def lately(self) -> dict[str, float]:
        """Return clips a second of all processes, their share of the machine, and how long steps waited for data.

        All are of the time since this was asked before, with validation and checkpoints in it.
        """
        trainer = self.trainer
        step_before, then, waited_before = self._last
        seconds = max(time.monotonic() - then, 1e-9)
        if self._share is None:  # measuring it is not counted as time of the training
            self._share = MachineShare(trainer.spec, trainer.device, trainer.processes.world)
        self._last = (trainer.step, time.monotonic(), trainer.waited)
        clips_per_second = (trainer.step - step_before) * trainer.spec.learning.batch_size / seconds
        return {
            "clips_per_second": four_digits(clips_per_second),
            "matmul_peak_percentage": self._share.percentage(clips_per_second),
            "data_wait_percentage": four_digits(100 * (trainer.waited - waited_before) / seconds),
        }

    def steps_per_second(self, step: int) -> float:
        seconds = time.monotonic() - self.since
        return round((step - self.first) / seconds, 3) if seconds > 0 else 0.0
