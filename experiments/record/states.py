"""The states of many replicates at once: their files, and one question to Slurm where jobs are concerned."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.record import slurm_queue
from experiments.record.recording import Numbered
from experiments.record.slurm_queue import Queue
from registry.runs import records, stored
from registry.runs.attempts import ATTEMPTS, SUBMISSIONS, is_alive, latest, numbered, take, this_process
from registry.runs.records import Attempt, State
from registry.runs.replicate import Replicate


def queue_of(replicates: Iterable[Replicate]) -> Queue:
    """Return what Slurm says of the jobs that trainings were sent as, or run in; without jobs it is not asked."""
    jobs = set()
    for training in {one.training for one in replicates if not (one.folder / "result.json").exists()}:
        for owner in (latest(training / ATTEMPTS, Attempt), latest(training / SUBMISSIONS, records.Submission)):
            jobs.add(owner.job if owner else None)
    return slurm_queue.ask(job for job in jobs if job)


def states(replicates: Sequence[Replicate], queue: Queue | None = None) -> list[State]:
    """Return the state of each replicate; done and running ones are known by their files, whatever Slurm says."""
    queue = queue_of(replicates) if queue is None else queue
    return [replicate.state_with(queue.hint) for replicate in replicates]


def in_state(replicates: Sequence[Replicate], wanted: Callable[[State], bool]) -> list[Replicate]:
    """Return those of the replicates whose state now is wanted, such as `lambda state: state.startable`."""
    return [replicate for replicate, state in zip(replicates, states(replicates), strict=True) if wanted(state)]


def is_active(training: Path) -> bool:
    """Return whether a process is at work on a training or its evaluations, sends it off, or Slurm has its job."""
    attempt, submission = latest(training / ATTEMPTS, Attempt), latest(training / SUBMISSIONS, records.Submission)
    queue = slurm_queue.ask(owner.job for owner in (attempt, submission) if owner is not None and owner.job)
    job = submission.job if submission is not None and submission.ended is None else None
    waits = job is not None and queue.hint(job) not in ("", None)
    return waits or is_alive(attempt, training / "heartbeat.json", queue.hint) or is_alive(submission)


def startable(state: State) -> bool:
    """Return whether `launch` starts a replicate in that state."""
    return state.startable


class Submission(Numbered[records.Submission]):
    """The sending of one training to an executor, made by this process or known to it."""

    def sent(self, job: str, beside: Sequence[Path] = ()) -> None:
        """Note the Slurm job that it became, and the other trainings that the job takes in turn."""
        self.note(job=job, beside=[str(folder) for folder in beside])

    def end(self) -> None:
        """Note that nothing waits any more: it was refused, or its process is over."""
        self.note(ended=time.time())


def newest_submission(training: Path) -> Submission | None:
    """Return the newest submission of a training."""
    content = latest(training / SUBMISSIONS, records.Submission)
    return Submission(numbered(training / SUBMISSIONS)[-1], content) if content is not None else None


def job_of_others(job: str, training: Path) -> bool:
    """Return whether a job still has to do with other trainings that are wanted, so that it must not be ended."""
    submission = latest(training / SUBMISSIONS, records.Submission)
    if submission is None or submission.job != job:
        return False
    for other in map(Path, submission.beside):
        theirs = latest(other / SUBMISSIONS, records.Submission)
        if theirs is not None and theirs.job == job and theirs.ended is None and stored.wanted(other):
            return True
    return False


def new_token() -> str:
    """Return a name for one launch: of its folder, and the comment of its jobs."""
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True)
class Task:
    """A training that is to be started, and the replicates of this launcher that wait for it, at least one."""

    replicates: tuple[Replicate, ...]

    @property
    def training(self) -> Path:
        return self.replicates[0].training

    @property
    def name(self) -> str:
        """The first replicate's name, and how many share its training."""
        more = len(self.replicates) - 1
        return self.replicates[0].name + (f" and {more} more of its training" if more else "")


@dataclass(frozen=True)
class Claim(Task):
    """A training that this launcher may start, and the file that says so."""

    submission: Submission


def tasks_of(replicates: Iterable[Replicate]) -> list[Task]:
    """Return the trainings of replicates, each once."""
    found: dict[Path, list[Replicate]] = {}
    for replicate in replicates:
        found.setdefault(replicate.training, []).append(replicate)
    return [Task(tuple(own)) for own in found.values()]


def claim(replicates: Sequence[Replicate], executor: str, token: str) -> list[Claim]:
    """Return the trainings that can be started for the replicates and that nobody else is starting, each once.

    The number of a submission is read before Slurm is asked, and the next one taken behind it: whoever submits in
    between has that number, and a job that was not asked about counts as waiting.
    """
    newest = {task.training: latest(task.training / SUBMISSIONS, records.Submission) for task in tasks_of(replicates)}
    found = []
    for task in tasks_of(in_state(replicates, startable)):
        before = newest[task.training]
        mine = {**this_process(), "job": None, "executor": executor, "token": token}
        number = 1 + (before.number if before else 0)
        with contextlib.suppress(FileExistsError):
            path = take(task.training / SUBMISSIONS, number, mine)
            found.append(Claim(task.replicates, Submission(path, records.Submission(number=number, **mine))))
    return found
