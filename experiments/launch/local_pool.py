"""The local executor: a bounded pool of processes, each with its share of the cores, or with GPUs of its own."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from experiments.record.recording import Recorder
from experiments.record.snapshot import Snapshot
from experiments.record.states import Submission, claim, new_token
from registry.runs.attempts import ATTEMPTS, is_alive, latest
from registry.runs.machine import usable_cores
from registry.runs.run_folder import Replicate
from registry.schema.resources import Resources, Shape, shape_of

RAN_ELSEWHERE = 4  # exit code of a process that found another one running the replicate
CLOSE_SECONDS = 60.0  # that processes are given to end of themselves, and once more when they are told to end at once
ENDED = (0, 3, RAN_ELSEWHERE)  # exit codes of processes that have noted their end themselves


class LocalPool:
    """Runs replicates in processes of this machine, so many at once.

    Args:
        resources: `parallel` at once; `tasks_per_node` and `gpus` of each.
        snapshot: the code that they run.
    """

    name = "local"

    def __init__(self, resources: Resources, snapshot: Snapshot) -> None:
        self.resources, self.snapshot = resources, snapshot
        self.parallel = resources.parallel or 1
        self._waiting: list[tuple[Replicate, Submission]] = []
        self._started: dict[int, tuple[Replicate, Submission, subprocess.Popen[bytes], list[str]]] = {}
        self._free = visible_gpus()

    def submit(self, replicates: Sequence[Replicate]) -> list[str]:
        """Put those that can be started into the pool; they start as others end."""
        found = claim(replicates, self.name, new_token())
        self._waiting += found
        self.poll()
        return [replicate.name for replicate, _ in found]

    def poll(self) -> None:
        """Take note of the processes that have ended, and start what waits in their place."""
        for pid, (replicate, submission, process, held) in list(self._started.items()):
            if process.poll() is not None:
                del self._started[pid]
                self._free += held
                submission.end()
                _note_silent_death(replicate, process.returncode)
        while self._waiting and len(self._started) < self.parallel:
            replicate, submission = self._waiting[0]
            if replicate.control().get("action") in ("cancel", "stop"):
                del self._waiting[0]
                submission.end()
                continue
            gpus = self._gpus_for(self._shape(replicate))
            if gpus is None:
                return  # until one is given back
            del self._waiting[0]
            process = self._start(replicate, gpus)
            self._started[process.pid] = (replicate, submission, process, gpus)

    @property
    def busy(self) -> bool:
        """Whether anything of this pool waits or runs."""
        return bool(self._waiting or self._started)

    def close(self) -> None:
        """End what runs (it writes a checkpoint, and ends as interrupted) and give back what waits.

        A process that takes longer than `CLOSE_SECONDS` is told to end at once, and after as long again it is killed.
        """
        for _, submission in self._waiting:
            submission.end()
        self._waiting.clear()
        processes = [process for _, _, process, _ in self._started.values()]
        for _ in range(2):
            for process in processes:
                process.terminate()
            _wait(processes, CLOSE_SECONDS)
        for replicate, submission, process, _ in self._started.values():
            if process.poll() is None:
                _kill(process)
                _note_silent_death(replicate, process.wait())
            submission.end()
        self._started.clear()

    def _shape(self, replicate: Replicate) -> Shape:
        return shape_of(replicate.arm, self.resources, Shape())

    def _gpus_for(self, shape: Shape) -> list[str] | None:
        """The GPUs of one replicate: as many as it has processes, none without GPUs, None if too few are free now."""
        if not visible_gpus():
            return []
        wanted = min(shape.tasks, len(visible_gpus()))
        if len(self._free) < wanted:
            return None
        taken, self._free = self._free[:wanted], self._free[wanted:]
        return taken

    def _start(self, replicate: Replicate, gpus: list[str]) -> "subprocess.Popen[bytes]":
        tasks = self._shape(replicate).tasks
        threads = replicate.spec.runtime.threads or max(1, usable_cores() // (self.parallel * tasks))
        environment = os.environ | self.snapshot.environment() | {"OMP_NUM_THREADS": str(threads)}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={tasks}"] if tasks > 1 else []
        command = [sys.executable, *torchrun, "-m", "experiments.worker.replicate", str(replicate.folder.resolve())]
        with (replicate.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )


def _wait(processes: "Sequence[subprocess.Popen[bytes]]", seconds: float) -> None:
    """Wait until all have ended, but not longer."""
    until = time.monotonic() + seconds
    with contextlib.suppress(subprocess.TimeoutExpired):
        for process in processes:
            process.wait(max(0.0, until - time.monotonic()))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and those that it started, which torchrun's would outlive."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def visible_gpus() -> list[str]:
    """The GPUs of this machine as CUDA_VISIBLE_DEVICES names them, without asking torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name and name != "-1"]
    return [str(number) for number in range(len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))]


def _note_silent_death(replicate: Replicate, code: int) -> None:
    """Note the end of a process that could not: killed is interrupted, any other silent end has failed."""
    if is_alive(latest(replicate.folder / ATTEMPTS), replicate.folder / "heartbeat.json"):
        return  # another launcher's process has it; what it noted is not ours to judge
    events = replicate.events()
    silent = not events or events[-1]["event"] in ("started", "retry")
    if code < 0 and silent:
        Recorder(replicate.folder).event("interrupted", reason=f"killed by signal {-code} (out of memory, or by hand)")
    elif code not in ENDED and silent:
        log = replicate.folder / "log.txt"
        Recorder(replicate.folder).event("failed", error=f"the process ended with code {code}; see {log}")
