"""One Slurm job that takes several trainings in turn, each in a process of its own that is forked from a warm one.

A crash, a kill or the end of its time ends one training and not its neighbours. This process imports no torch; it
starts, watches and signals, and passes on what Slurm tells it, since Slurm signals only what it started itself.
"""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.record.recording import Numbered, Recorder
from experiments.record.states import Submission, newest_submission
from experiments.worker.jobs import Task, end_as, requeue_this
from experiments.worker.starting import IN_TURN, RAN_ELSEWHERE, Process, Starter, note_silent_death
from registry.runs.attempts import ATTEMPTS, latest, numbered, this_job
from registry.runs.records import Attempt
from registry.runs.stored import wanted

LOOK_SECONDS = 0.1  # between two looks at what Slurm says and at the clock
DONE, FAILED, INTERRUPTED = 0, 1, 3  # exit codes
NOTED = (DONE, FAILED, RAN_ELSEWHERE)  # of a training whose process has said all, and which is not to go on here
FIRST_TO_GO = "1000"  # out of memory, Linux ends the training and not what it was forked from


class InTurn(Task):
    """Brings trainings to their results one behind the other.

    One that is not ready within its own time writes its checkpoint and goes on behind the others. When the job's time
    is up, the training that runs does the same, and the job is started anew for all that is left.

    Args:
        seconds: that one training may take while others wait.
        grace: seconds that it then has to write its checkpoint, before it is killed.
    """

    def __init__(self, seconds: float, grace: float) -> None:
        self.seconds, self.grace = seconds, grace

    def __call__(self, *arguments: Any) -> None:
        (pairs,) = arguments  # of folders and the numbers of their submissions
        end_as(_Turns([(Path(folder), int(number)) for folder, number in pairs], self.seconds, self.grace).run())


class _Turns:
    """The turns of one start of a job."""

    def __init__(self, todo: Sequence[tuple[Path, int]], seconds: float, grace: float) -> None:
        self.todo, self.folders = deque(todo), [folder for folder, _ in todo]
        self.seconds, self.grace = seconds, grace
        self.told: set[int] = set()  # signals that came
        self.starter = Starter({})

    def run(self) -> int:
        """Take every training in turn; return the worst of how they ended, as an exit code."""
        kept = {number: signal.signal(number, self._signalled) for number in (signal.SIGUSR2, signal.SIGTERM)}
        worst = DONE
        try:
            while self.todo and not self.told:
                folder, number = self.todo.popleft()
                if (submission := self._mine(folder, number)) is None:
                    continue
                code, late = self._one(folder) if wanted(folder) else (DONE, False)
                if self.told and code not in NOTED:
                    self.todo.appendleft((folder, number))
                elif late and code == INTERRUPTED and wanted(folder):
                    print(f"{folder}: its time is up; it goes on behind the others", flush=True)
                    self.todo.append((folder, number))
                else:
                    submission.end()
                    worst = worst if code in (DONE, INTERRUPTED, RAN_ELSEWHERE) else FAILED
            if signal.SIGUSR2 in self.told and self.todo and not requeue_this() and signal.SIGTERM not in self.told:
                self._give_back()
        finally:
            self.starter.close()
            for signal_number, handler in kept.items():
                signal.signal(signal_number, handler)
        return worst or (INTERRUPTED if self.todo else DONE)

    def _mine(self, folder: Path, number: int) -> Submission | None:
        """The submission of a training, if this job is still to see to it."""
        newest = newest_submission(folder)
        if newest is None or newest.number != number or newest.content.ended is not None:
            print(f"submission {number} of {folder} was superseded, or is over; this job passes it over", flush=True)
            return None
        if newest.content.job is None:  # the launcher died before it could note the job
            newest.sent(this_job() or "", [other for other in self.folders if other != folder])
        return newest

    def _one(self, folder: Path) -> tuple[int, bool]:
        """Run one training to its end; its exit code, and whether it was told that its time is up."""
        process = self.starter.start(folder, int(os.environ.get("OMP_NUM_THREADS", 1)), words=[IN_TURN])
        with suppress(OSError):
            Path(f"/proc/{process.pid}/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")
        code, late = self._watched(process)
        if code not in (*NOTED, INTERRUPTED):
            note_silent_death(folder, code)
            print(f"{folder}: its process ended with code {code}", flush=True)
        return code, late

    def _watched(self, process: Process) -> tuple[int, bool]:
        """Wait for a process, pass on what Slurm says, and see to its time."""
        began, late, passed = time.monotonic(), False, set[int]()
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(LOOK_SECONDS), late
            for number in self.told - passed:
                process.send_signal(number)
            passed |= self.told
            over = time.monotonic() - began - self.seconds
            if over > 0 and self.todo and not late:
                late = True
                process.send_signal(signal.SIGUSR2)
            if late and over > self.grace:
                process.kill()

    def _signalled(self, number: int, frame: Any) -> None:
        """Take note of what Slurm says; it is passed on where a process is waited for."""
        self.told.add(number)

    def _give_back(self) -> None:
        """Note of what is left that nothing goes on by itself, since Slurm would not start the job anew."""
        for folder, number in self.todo:
            if (submission := self._mine(folder, number)) is None:
                continue
            attempt = latest(folder / ATTEMPTS, Attempt)
            if attempt is not None and attempt.requeued and attempt.job == this_job():
                Recorder(folder).event("interrupted", reason="Slurm would not start the job anew", requeued=False)
                Numbered(numbered(folder / ATTEMPTS)[-1], attempt).note(requeued=False)
            submission.end()
