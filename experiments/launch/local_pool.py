"""The local executor: a bounded pool of processes, each with its share of the cores, or with GPUs of its own.

Processes are started by `experiments.worker.starting`: warm, where a training has one process.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Self

import psutil

from experiments.launch.executor import ExecutorOptions, freeze_code
from experiments.launch.this_machine import ThisMachine
from experiments.plan.plan import Plan
from experiments.record.progress import Progress, silent
from experiments.record.snapshot import Snapshot
from experiments.record.states import Claim, claim, new_token
from experiments.worker.starting import Process, Starter, note_silent_death
from registry.runs.machine import threads_of
from registry.runs.replicate import Replicate
from registry.runs.stored import wanted
from registry.schema.resources import Resources, Shape, shape_of

CLOSE_SECONDS = 60.0  # that processes are given to end of themselves, and once more when they are told to end at once
ENDING_SECONDS = 0.1  # between two looks at processes that are ending

_unnoted: list[Claim] = []  # of which the disk did not take that they are over; the next pool of this process tries too


class LocalPool(ThisMachine):
    """Runs trainings in processes of this machine, so many at once.

    Args:
        resources: `parallel` at once; `tasks_per_node` and `gpus` of each, and how many share a GPU.
        snapshot: the code that they run.
        progress: is called while data are prepared.
    """

    name = "local"
    pause = 0.5

    def __init__(self, resources: Resources, snapshot: Snapshot, progress: Progress = silent) -> None:
        super().__init__(snapshot, progress)
        self.resources = resources
        self.parallel = resources.parallel or 1
        self._waiting: list[Claim] = []
        self._started: dict[int, tuple[Claim, Process, list[str]]] = {}
        self._free = dict.fromkeys(visible_gpus(), Fraction(1))  # the share of each GPU that nobody has
        self._starter = Starter(snapshot.environment())

    @classmethod
    def open(cls, plan: Plan, options: ExecutorOptions) -> Self:
        """Return the pool of a plan, its code frozen."""
        resources = plan.file.experiment.resources
        own = resources.model_copy(update={"parallel": resources.parallel or options.at_once})
        snapshot = freeze_code(plan)
        return cls(own, snapshot, options.progress)

    def submit(self, replicates: Sequence[Replicate]) -> list[str]:
        """Put those that can be started into the pool; they start as others end."""
        found = claim(replicates, self.name, new_token())
        self._waiting += found
        self.poll()
        return [replicate.name for claimed in found for replicate in claimed.replicates]

    def poll(self) -> None:
        """Take note of the processes that have ended, and start what waits in their place."""
        _note_again()
        for pid, (claimed, process, held) in list(self._started.items()):
            if (code := process.poll()) is not None:
                del self._started[pid]
                self._give_back(claimed, held)
                self._over(claimed)
                with _surviving(claimed):
                    note_silent_death(claimed.training, code)
        while self._waiting and len(self._started) < self.parallel:
            claimed = self._waiting[0]
            if not wanted(claimed.training):
                self._over(self._waiting.pop(0))
                continue
            gpus = self._gpus_for(self._shape(claimed))
            if gpus is None:
                return  # until one is given back
            del self._waiting[0]
            with _surviving(claimed):
                process = self._start(claimed, gpus)
                self._started[process.pid] = (claimed, process, gpus)
                continue
            self._give_back(claimed, gpus)
            self._over(claimed)

    @property
    def busy(self) -> bool:
        """Whether anything of this pool waits or runs."""
        return bool(self._waiting or self._started)

    def cancel(self, replicates: Sequence[Replicate]) -> None:
        """Let what waits and is no longer wanted go; `poll` does it."""
        self.poll()

    def close(self, finished: bool) -> None:
        """Wait for what is ending; if not finished, end what runs and give back what waits.

        A process that is told to end writes a checkpoint, and ends as interrupted. One that takes longer than
        `CLOSE_SECONDS` is told to end at once, and after as long again it is killed.
        """
        try:
            while finished and self.busy:
                self.poll()
                time.sleep(ENDING_SECONDS)
        except BaseException:  # asked to stop meanwhile
            self.close(False)
            raise
        try:
            self._end()
        finally:
            self._starter.close()

    def _end(self) -> None:
        """Give back what waits, and end what runs."""
        for claimed in self._waiting:
            self._over(claimed)
        self._waiting.clear()
        processes = [process for _, process, _ in self._started.values()]
        for _ in range(2):
            for process in processes:
                process.terminate()
            _wait(processes, CLOSE_SECONDS)
        for claimed, process, _ in self._started.values():
            with _surviving(claimed):
                if process.poll() is None:
                    _kill(process)
                    note_silent_death(claimed.training, process.wait())
            self._over(claimed)
        self._started.clear()

    def _over(self, claimed: Claim) -> None:
        """Note that nobody has a training any more, else it would count as sent for as long as this process lives."""
        with _surviving(claimed):
            claimed.submission.end()
            return
        if claimed.training.is_dir():
            _unnoted.append(claimed)

    def _shape(self, claimed: Claim) -> Shape:
        return shape_of(claimed.replicates[0].arm, self.resources, Shape())

    def _gpus_for(self, shape: Shape) -> list[str] | None:
        """The GPUs of one replicate: as many as it has processes, none without GPUs, None if too few are free now.

        Where replicates share a GPU, the emptiest come first.
        """
        share = Fraction(1, shape.at_once)
        roomy = sorted((gpu for gpu, free in self._free.items() if free >= share), key=lambda gpu: -self._free[gpu])
        wanted = min(shape.tasks, len(self._free))
        if len(roomy) < wanted:
            return None
        for gpu in roomy[:wanted]:
            self._free[gpu] -= share
        return roomy[:wanted]

    def _give_back(self, claimed: Claim, gpus: Sequence[str]) -> None:
        for gpu in gpus:
            self._free[gpu] += Fraction(1, self._shape(claimed).at_once)

    def _start(self, claimed: Claim, gpus: list[str]) -> Process:
        tasks = self._shape(claimed).tasks
        threads = claimed.replicates[0].spec.runtime.threads or threads_of(self.parallel * tasks)
        return self._starter.start(claimed.training, threads, gpus=gpus, processes=tasks)


def _note_again() -> None:
    """Try again to note of trainings that they are over."""
    for claimed in list(_unnoted):
        with contextlib.suppress(OSError):
            if claimed.training.is_dir():
                claimed.submission.end()
            _unnoted.remove(claimed)


def _wait(processes: Sequence[Process], seconds: float) -> None:
    """Wait until all have ended, but not longer."""
    until = time.monotonic() + seconds
    with contextlib.suppress(subprocess.TimeoutExpired):
        for process in processes:
            process.wait(max(0.0, until - time.monotonic()))


def _kill(process: Process) -> None:
    """Kill a process and those that it started, which torchrun's would outlive."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


@contextlib.contextmanager
def _surviving(claimed: Claim) -> Iterator[None]:
    """Let what goes wrong with one training's files end that training alone: the others of the pool go on."""
    try:
        yield
    except OSError as error:
        print(f"{claimed.name}: {error.filename or claimed.training}: {error.strerror}", file=sys.stderr, flush=True)


def visible_gpus() -> list[str]:
    """Return the GPUs of this machine as CUDA_VISIBLE_DEVICES names them, without asking torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name and name != "-1"]
    return [str(number) for number in range(len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))]
