"""The states of many replicates at once: their files, and one question to Slurm where jobs are concerned."""

import contextlib
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.record import slurm_queue
from experiments.record.recording import Numbered
from experiments.record.slurm_queue import Queue
from registry.runs.attempts import ATTEMPTS, SUBMISSIONS, latest, numbered, take, this_process
from registry.runs.run_folder import STARTABLE, Replicate, State


def queue_of(replicates: Iterable[Replicate]) -> Queue:
    """What Slurm says of the jobs that the replicates were sent as, or run in; it is not asked where there are none."""
    jobs = set()
    for replicate in replicates:
        if not (replicate.folder / "result.json").exists():
            for folder in (ATTEMPTS, SUBMISSIONS):
                jobs.add((latest(replicate.folder / folder) or {}).get("job"))
    return slurm_queue.ask(job for job in jobs if job)


def states(replicates: Sequence[Replicate], queue: Queue | None = None) -> list[State]:
    """The state of each replicate; done and running ones are known by their files, whatever Slurm says."""
    queue = queue_of(replicates) if queue is None else queue
    return [replicate.state_with(queue.hint) for replicate in replicates]


def in_state(replicates: Sequence[Replicate], wanted: Sequence[State]) -> list[Replicate]:
    """Those of the replicates that are in one of these states now."""
    return [replicate for replicate, state in zip(replicates, states(replicates), strict=True) if state in wanted]


class Submission(Numbered):
    """The sending of one replicate to an executor."""

    def sent(self, job: str) -> None:
        """Note the Slurm job that it became."""
        self.note(job=job)

    def end(self) -> None:
        """Note that nothing waits any more: it was refused, or its process is over."""
        self.note(ended=time.time())


def newest_submission(folder: Path) -> Submission | None:
    """The newest submission of a run folder's replicate."""
    content = latest(folder / SUBMISSIONS)
    return Submission(numbered(folder / SUBMISSIONS)[-1], content) if content is not None else None


def new_token() -> str:
    """A name for one launch: of its folder, and the comment of its jobs."""
    return uuid.uuid4().hex[:12]


def claim(replicates: Sequence[Replicate], executor: str, token: str) -> list[tuple[Replicate, Submission]]:
    """Those of the replicates that can be started and that nobody else is starting, each with its submission.

    The number of a submission is read before Slurm is asked, and the next one taken behind it: whoever submits in
    between has that number, and a job that was not asked about counts as waiting.
    """
    numbers = {replicate.folder: (replicate.submission() or {"number": 0})["number"] for replicate in replicates}
    found = []
    for replicate, state in zip(replicates, states(replicates), strict=True):
        if state in STARTABLE:
            mine = {**this_process(), "job": None, "executor": executor, "token": token}
            number = numbers[replicate.folder] + 1
            with contextlib.suppress(FileExistsError):
                path = take(replicate.folder / SUBMISSIONS, number, mine)
                found.append((replicate, Submission(path, {"number": number, **mine})))
    return found
