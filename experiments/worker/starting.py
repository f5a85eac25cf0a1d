"""Starting the process of one training, warm where that is possible, and noting the end of one that could not itself.

Who starts processes here is the pool of this machine and a Slurm task that takes several trainings in turn.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.record.recording import Numbered, Recorder
from experiments.worker.warm_start import Forked, WarmStart
from registry.runs.attempts import ATTEMPTS, is_alive, latest, numbered
from registry.runs.records import Attempt
from registry.runs.stored import read_events

RUN = ("-m", "experiments.worker.run")
IN_TURN = "in-turn"  # behind the folder: who started the process has it go on where its time is up
IMPORTED = ("experiments.worker.stages", "experiments.worker.sources_read")  # by what trainings are forked from
RAN_ELSEWHERE = 4  # exit code of a process that found another one running the replicate
ENDED = (0, 3, RAN_ELSEWHERE)  # exit codes of processes that have noted their end themselves

Process = subprocess.Popen[bytes] | Forked


class Starter:
    """Starts trainings, each in a process of its own.

    A training of one process is forked from a process that has imported torch; where that one could not import, and for
    a training of several processes, Python is started anew.

    Args:
        variables: of every process, beside those of this one.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = dict(variables)
        self._warm: dict[int, WarmStart] = {}  # by the threads of what they start

    def start(
        self, training: Path, threads: int, *, words: Sequence[str] = (), gpus: Sequence[str] = (), processes: int = 1
    ) -> Process:
        """Return the process of a training, which prints into the training's log.

        Args:
            training: its folder.
            threads: of each process.
            words: behind the folder on its command line.
            gpus: that it is to see; none leaves it what this process sees.
            processes: that share the work.
        """
        environment = self._environment(threads)
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        program = [*RUN, str(training.resolve()), *words]
        with (training / "log.txt").open("ab") as log:
            if processes == 1 and (process := self._warm_start(threads).start(program, environment, log)) is not None:
                return process
            torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
            command = [sys.executable, *(torchrun if processes > 1 else ()), *program]
            return subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    @property
    def servers(self) -> list[int]:
        """The ids of the processes that fork."""
        return [warm.pid for warm in self._warm.values()]

    def close(self) -> None:
        """End the processes that fork; what they started goes on."""
        for warm in self._warm.values():
            warm.close()
        self._warm.clear()

    def _environment(self, threads: int) -> dict[str, str]:
        return os.environ | self.variables | {"OMP_NUM_THREADS": str(threads)}

    def _warm_start(self, threads: int) -> WarmStart:
        if threads not in self._warm:
            self._warm[threads] = WarmStart(IMPORTED, self._environment(threads))
        return self._warm[threads]


def note_silent_death(training: Path, code: int) -> None:
    """Note the end of a process of this machine that could not: killed is interrupted, any other silent end has failed.

    Args:
        training: its folder.
        code: its exit code; of a signal the negative number.
    """
    attempt = latest(training / ATTEMPTS, Attempt)
    if is_alive(attempt, training / "heartbeat.json"):
        return  # another launcher's process has it; what it noted is not ours to judge
    events = read_events(training)
    silent = not events or events[-1].event in ("started", "retry")
    how = "interrupted" if code < 0 else "failed"
    if code < 0 and silent:
        Recorder(training).event("interrupted", reason=f"killed by signal {-code} (out of memory, or by hand)")
    elif code not in ENDED and silent:
        Recorder(training).event("failed", error=f"the process ended with code {code}; see {training / 'log.txt'}")
    if attempt is not None and attempt.ended is None and attempt.host == socket.gethostname():
        with contextlib.suppress(OSError):  # other machines would believe its heartbeat for a while
            Numbered(numbered(training / ATTEMPTS)[-1], attempt).note(ended=time.time(), how=how)
