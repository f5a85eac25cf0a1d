"""Launching: make the run folders, and send what is not done to an executor.

Missing and interrupted replicates are started, waiting and running ones left, finished ones skipped, failed and
cancelled ones left to `retry`. Nothing is cancelled by omission.
"""

import contextlib
import getpass
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from experiments.launch.local_pool import LocalPool
from experiments.launch.preparing import bind_replicates, prepare_data
from experiments.plan.plan import Plan
from experiments.record import slurm_queue
from experiments.record.progress import Progress
from experiments.record.recording import create, desire, open_again
from experiments.record.snapshot import freeze
from experiments.record.states import in_state, queue_of, states
from experiments.worker.run import run_training
from registry.runs.attempts import ATTEMPTS, SUBMISSIONS, is_alive, latest
from registry.runs.records import Attempt, State, Submission
from registry.runs.run_folder import Replicate, wanted

Watch = Callable[[Sequence[Replicate], Sequence[State]], None]
POLL_SECONDS = 0.25


class Executor(Protocol):
    """Where replicates run."""

    name: str

    def submit(self, replicates: Sequence[Replicate]) -> list[str]:
        """Start those that can be started, now or when there is room; returns their names."""
        ...


@dataclass
class Launched:
    """What a launch did.

    Args:
        todo: the selected replicates.
        submitted: names of those that it started or submitted.
        jobs: what was submitted to Slurm, a line each.
        report: the job that reports.
    """

    todo: list[Replicate]
    submitted: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    report: str | None = None


def make_run_folders(plan: Plan, code: dict[str, Any]) -> list[Replicate]:
    """Ask for every selected replicate: make the folders of trainings and evaluations, or check those that are there.

    Args:
        plan: what is launched.
        code: what their provenance says of the code.
    """
    for replicate in (found := [absolute(replicate) for replicate in plan.work]):
        create(replicate, code)
    return found


def absolute(replicate: Replicate) -> Replicate:
    """Return the replicate with an absolute path of its data, since a job may start elsewhere."""
    path = replicate.spec.data.path
    if path is None or Path(path).is_absolute():
        return replicate
    data = replicate.spec.data.model_copy(update={"path": str(Path(path).expanduser().resolve())})
    return Replicate(**{**vars(replicate), "spec": replicate.spec.model_copy(update={"data": data})})


def launch_here(plan: Plan, executor: str, progress: Progress, watch: Watch) -> Launched:
    """Run every selected replicate that is missing or interrupted on this machine, and return when nothing runs.

    Args:
        plan: what to launch.
        executor: `local` (a bounded pool of processes) or `debug` (in this process, the first failure is raised).
        progress: is called while data are prepared, and by `debug`.
        watch: is called with all replicates and their states again and again while `local` runs.

    Raises:
        RunError: the data cannot be prepared.
        SpecError: the data do not fit the spec.
    """
    prepared = prepare_data(plan, progress)
    snapshot = freeze(plan.runs, plan.file.path, bool(plan.file.experiment.plugins))
    todo = make_run_folders(plan, snapshot.about())
    bind_replicates(plan, prepared)
    launched = Launched(todo)
    if executor == "debug":
        for replicate in todo:
            if replicate.state.startable:  # an earlier one may have made it, since they share a training
                run_training(replicate.training, progress)
                launched.submitted.append(replicate.name)
        return launched
    pool = LocalPool(plan.file.experiment.resources, snapshot)
    with closing_on_signals(pool):
        launched.submitted = pool.submit(todo)
        wait(pool, launched, watch)
    return launched


@contextlib.contextmanager
def closing_on_signals(pool: LocalPool) -> Iterator[None]:
    """Close the pool when the block fails or is interrupted; SIGTERM counts as Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except BaseException:
        pool.close()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def wait(pool: LocalPool | None, launched: Launched, watch: Watch) -> None:
    """Return when none of the replicates waits or runs any more, here or elsewhere; states are asked for in moderation.

    What another launcher has begun is waited for, and taken over where it ends without a result.

    Args:
        pool: is let move on; None where Slurm does the work.
        launched: its replicates; it takes note of what is taken over.
        watch: is called with them and their states.
    """
    asked = pause = 0.0
    todo = launched.todo
    while True:
        if pool is not None:
            pool.poll()
        if time.monotonic() - asked >= pause:
            began = time.monotonic()
            now = states(todo)
            asked = time.monotonic()
            pause = max(2 * POLL_SECONDS if pool is not None else 5.0, 20 * (asked - began))
            watch(todo, now)
            left = [one for one, state in zip(todo, now, strict=True) if state.startable]
            left = [replicate for replicate in left if replicate.name not in launched.submitted]
            if pool is not None and left:
                launched.submitted += pool.submit(left)
            elif not any(state.active for state in now) and not (pool is not None and pool.busy):
                return
        time.sleep(POLL_SECONDS)


def retried(plan: Plan) -> list[Replicate]:
    """Return the selected replicates that `retry` would open again."""
    return in_state(plan.work, lambda state: state.retried)


def retry(plan: Plan) -> list[Replicate]:
    """Mark the selected failed, cancelled and damaged replicates as wanted again; they go on from checkpoints."""
    again = retried(plan)
    for replicate in again:
        open_again(replicate)
    return again


def cancel(plan: Plan, dry_run: bool = False) -> list[Replicate]:
    """End the selected replicates that wait or run, wherever they do; they are cancelled until `retry`.

    A training goes on as long as another experiment, or another arm, still wants something of it.

    Args:
        plan: what is selected.
        dry_run: only say which.

    Raises:
        RunError: scancel fails.
    """
    todo, queue = plan.work, queue_of(plan.work)
    now = states(todo, queue)
    ended = [replicate for replicate, state in zip(todo, now, strict=True) if state.active]
    if dry_run:
        return ended
    for replicate in ended:
        desire(replicate, "cancel", reason=f"by {getpass.getuser()} on {socket.gethostname()}")
    before = [one for one, state in zip(todo, now, strict=True) if state is State.CANCELLED]  # Slurm may have it still
    jobs: set[str] = set()
    for training in dict.fromkeys(one.training for one in (*ended, *before)):
        if wanted(training):
            continue
        submission = latest(training / SUBMISSIONS, Submission)
        attempt = latest(training / ATTEMPTS, Attempt)
        alive = is_alive(attempt, training / "heartbeat.json", queue.hint)
        job = (attempt.job if alive and attempt else None) or (submission.job if submission else None)
        if job and queue.hint(job) != "":
            jobs.add(job)
        elif alive and attempt and attempt.host == socket.gethostname():
            with contextlib.suppress(ProcessLookupError):
                os.kill(attempt.pid, signal.SIGTERM)
    slurm_queue.cancel(jobs)
    return ended


def unfinished(todo: Sequence[Replicate]) -> list[str]:
    """Return a line for each replicate that has ended without a result: what happened, and what makes it go on."""
    now = states(todo)
    ended = [(one, state) for one, state in zip(todo, now, strict=True) if not state.ended and not state.active]
    endings = slurm_queue.endings([job for replicate, _ in ended if (job := _job_of(replicate))])
    lines = []
    for replicate, state in ended:
        last = replicate.last_word()
        told = endings.get(_job_of(replicate) or "")
        desired = replicate.desired()
        why = (last.error or last.reason if last else "") or (desired.reason if desired else "") or replicate.damage()
        if last is None or last.event in ("started", "retry"):
            why = str(told) if told else why
        on = "mend the cause, then `retry`" if state.retried else "the same command goes on from its checkpoint"
        on = "`retry` goes on" if state is State.CANCELLED else on
        on = "`retry` makes it again" if state is State.DAMAGED else on
        on = "it goes on when the other arms of the screen have come there" if state is State.PAUSED else on
        lines.append(f"{replicate.name}: {state}: {why or 'it never started'}; {on}")
    return lines


def _job_of(replicate: Replicate) -> str | None:
    submission = replicate.submission()
    return submission.job if submission else None
