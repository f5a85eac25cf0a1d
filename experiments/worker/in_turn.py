"""One Slurm job that takes several trainings, in turn or at once, each in a process of its own forked from a warm one.

A crash, a kill or the end of its time ends one training and not its neighbours. This process imports no torch; it
starts, watches and signals, and passes on what Slurm tells it, since Slurm signals only what it started itself.
"""

import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
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
    """Brings trainings to their results one behind the other, or so many at once.

    One that is not ready within its own time writes its checkpoint and goes on behind the others. When the job's time
    is up, the trainings that run do the same, and the job is started anew for all that is left.

    Args:
        seconds: that one training may take while others wait.
        grace: seconds that it then has to write its checkpoint, before it is killed.
        at_once: trainings that run at the same time, on the GPU that the task has; they share its cores as well.
    """

    def __init__(self, seconds: float, grace: float, at_once: int = 1) -> None:
        self.seconds, self.grace, self.at_once = seconds, grace, at_once

    def __call__(self, *arguments: Any) -> None:
        (pairs,) = arguments  # of folders and the numbers of their submissions
        todo = [(Path(folder), int(number)) for folder, number in pairs]
        end_as(_Turns(todo, self.seconds, self.grace, self.at_once).run())


@dataclass
class _Turn:
    """A training whose turn it is.

    Args:
        folder: of the training.
        submission: by which this job has it.
        process: that runs it.
        began: when, by the monotonic clock.
        late: whether it was told that its time is up.
        passed: signals that it was sent.
    """

    folder: Path
    submission: Submission
    process: Process
    began: float
    late: bool = False
    passed: set[int] = field(default_factory=set)

    def look(self, told: set[int], others_wait: bool, seconds: float, grace: float) -> int | None:
        """Return the exit code of the process if it has ended; pass on what Slurm says, and see to its time."""
        if (code := self.process.poll()) is not None:
            return code
        for number in told - self.passed:
            self.process.send_signal(number)
        self.passed |= told
        over = time.monotonic() - self.began - seconds
        if over > 0 and others_wait and not self.late:
            self.late = True
            self.process.send_signal(signal.SIGUSR2)
        if self.late and over > grace:
            self.process.kill()
        return None


class _Turns:
    """The turns of one start of a job."""

    def __init__(self, todo: Sequence[tuple[Path, int]], seconds: float, grace: float, at_once: int) -> None:
        self.todo, self.folders = deque(todo), [folder for folder, _ in todo]
        self.seconds, self.grace, self.at_once = seconds, grace, at_once
        self.told: set[int] = set()  # signals that came
        self.starter = Starter({})
        self.threads = max(1, int(os.environ.get("OMP_NUM_THREADS", 1)) // at_once)

    def run(self) -> int:
        """Take every training in turn; return the worst of how they ended, as an exit code."""
        kept = {number: signal.signal(number, self._signalled) for number in (signal.SIGUSR2, signal.SIGTERM)}
        running: list[_Turn] = []
        worst = DONE
        try:
            while True:
                while self.todo and not self.told and len(running) < self.at_once:
                    running += self._started(*self.todo.popleft())
                if not running:
                    break
                time.sleep(LOOK_SECONDS)
                for turn in list(running):
                    code = turn.look(self.told, bool(self.todo), self.seconds, self.grace)
                    if code is not None:
                        running.remove(turn)
                        worst = self._ended(turn, code) or worst
            if signal.SIGUSR2 in self.told and self.todo and not requeue_this() and signal.SIGTERM not in self.told:
                self._give_back()
        finally:
            self.starter.close()
            for signal_number, handler in kept.items():
                signal.signal(signal_number, handler)
        return worst or (INTERRUPTED if self.todo else DONE)

    def _started(self, folder: Path, number: int) -> list[_Turn]:
        """Start a training; nothing where this job is not to see to it any more, or nobody wants it."""
        if (submission := self._mine(folder, number)) is None:
            return []
        if not wanted(folder):
            submission.end()
            return []
        process = self.starter.start(folder, self.threads, words=[IN_TURN])
        with suppress(OSError):
            Path(f"/proc/{process.pid}/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")
        return [_Turn(folder, submission, process, time.monotonic())]

    def _ended(self, turn: _Turn, code: int) -> int:
        """Note how a training has ended, and put it back where it is to go on; return what the exit code becomes."""
        if code not in (*NOTED, INTERRUPTED):
            note_silent_death(turn.folder, code)
            print(f"{turn.folder}: its process ended with code {code}", flush=True)
        if self.told and code not in NOTED:
            self.todo.appendleft((turn.folder, turn.submission.number))
        elif turn.late and code == INTERRUPTED and wanted(turn.folder):
            print(f"{turn.folder}: its time is up; it goes on behind the others", flush=True)
            self.todo.append((turn.folder, turn.submission.number))
        else:
            turn.submission.end()
            return DONE if code in (DONE, INTERRUPTED, RAN_ELSEWHERE) else FAILED
        return DONE

    def _mine(self, folder: Path, number: int) -> Submission | None:
        """The submission of a training, if this job is still to see to it."""
        newest = newest_submission(folder)
        if newest is None or newest.number != number or newest.content.ended is not None:
            print(f"submission {number} of {folder} was superseded, or is over; this job passes it over", flush=True)
            return None
        if newest.content.job is None:  # the launcher died before it could note the job
            newest.sent(this_job() or "", [other for other in self.folders if other != folder])
        return newest

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
