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
from experiments.record.recording import Recorder, create
from experiments.record.snapshot import freeze
from experiments.record.states import in_state, queue_of, states
from experiments.worker.replicate import run_replicate
from registry.runs.attempts import ATTEMPTS, is_alive, latest
from registry.runs.run_folder import GOING_ON, RETRIED, STARTABLE, Replicate, State

Watch = Callable[[Sequence[Replicate], Sequence[State]], None]
POLL_SECONDS = 0.25
ENDED: tuple[State, ...] = ("done", "stopped")  # nothing is to be done about these


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
    """The run folder of every selected replicate, made or checked.

    Args:
        plan: what is launched.
        code: what their provenance says of the code.
    """
    for replicate in (found := [absolute(replicate) for replicate in plan.replicates]):
        create(replicate, code)
    return found


def absolute(replicate: Replicate) -> Replicate:
    """The replicate with an absolute path of its data, since a job may start elsewhere."""
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
        for replicate in in_state(todo, STARTABLE):
            run_replicate(replicate.folder, progress)
            launched.submitted.append(replicate.name)
        return launched
    pool = LocalPool(plan.file.experiment.resources, snapshot)
    with closing_on_signals(pool):
        launched.submitted = pool.submit(todo)
        wait(pool, todo, watch)
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


def wait(pool: LocalPool | None, todo: Sequence[Replicate], watch: Watch) -> None:
    """Return when none of the replicates waits or runs any more, here or elsewhere; states are asked for in moderation.

    Args:
        pool: is let move on; None where Slurm does the work.
        todo: the replicates.
        watch: is called with them and their states.
    """
    asked = pause = 0.0
    while True:
        if pool is not None:
            pool.poll()
        if time.monotonic() - asked >= pause:
            began = time.monotonic()
            now = states(todo)
            asked = time.monotonic()
            pause = max(2 * POLL_SECONDS if pool is not None else 5.0, 20 * (asked - began))
            watch(todo, now)
            if not any(state in GOING_ON for state in now) and not (pool is not None and pool.busy):
                return
        time.sleep(POLL_SECONDS)


def retried(plan: Plan) -> list[Replicate]:
    """The selected replicates that `retry` would open again."""
    return in_state(plan.replicates, RETRIED)


def retry(plan: Plan) -> list[Replicate]:
    """Mark the selected failed and cancelled replicates as wanted again; they go on from their last checkpoint."""
    again = retried(plan)
    for replicate in again:
        if replicate.control().get("action") == "cancel":
            Recorder(replicate.folder).control("run")
        Recorder(replicate.folder).event("retry")
    return again


def cancel(plan: Plan, dry_run: bool = False) -> list[Replicate]:
    """End the selected replicates that wait or run, wherever they do; they are cancelled until `retry`.

    Args:
        plan: what is selected.
        dry_run: only say which.

    Raises:
        RunError: scancel fails.
    """
    todo, queue = plan.replicates, queue_of(plan.replicates)
    ended, jobs = [], set()
    for replicate, state in zip(todo, states(todo, queue), strict=True):
        job = (replicate.submission() or {}).get("job")
        if state == "cancelled" and job and queue.hint(job) not in (None, "") and not dry_run:
            jobs.add(job)  # cancelled before, but Slurm has it still
        if state not in GOING_ON:
            continue
        ended.append(replicate)
        if dry_run:
            continue
        Recorder(replicate.folder).control("cancel", reason=f"by {getpass.getuser()} on {socket.gethostname()}")
        attempt, submission = latest(replicate.folder / ATTEMPTS), replicate.submission() or {}
        alive = is_alive(attempt, replicate.folder / "heartbeat.json", queue.hint)
        if job := (attempt["job"] if alive and attempt else None) or submission.get("job"):
            jobs.add(job)
        elif alive and attempt and attempt["host"] == socket.gethostname():
            with contextlib.suppress(ProcessLookupError):
                os.kill(attempt["pid"], signal.SIGTERM)
    slurm_queue.cancel(jobs)
    return ended


def unfinished(todo: Sequence[Replicate]) -> list[str]:
    """One line for each replicate that has ended without a result: what happened, and what makes it go on."""
    now = states(todo)
    ended = [(replicate, state) for replicate, state in zip(todo, now, strict=True) if state not in (*ENDED, *GOING_ON)]
    silent = [job for replicate, _ in ended if (job := (replicate.submission() or {}).get("job"))]
    endings = slurm_queue.endings(silent)
    lines = []
    for replicate, state in ended:
        last: dict[str, Any] = next(iter(reversed(replicate.events())), {})
        told = endings.get((replicate.submission() or {}).get("job") or "")
        why = last.get("error") or last.get("reason") or replicate.control().get("reason")
        if last.get("event") in (None, "started", "retry"):
            why = str(told) if told else why
        on = "mend the cause, then `retry`" if state == "failed" else "the same command goes on from its checkpoint"
        on = "`retry` goes on" if state == "cancelled" else on
        on = "it goes on when the other arms of the screen have come there" if state == "paused" else on
        lines.append(f"{replicate.name}: {state}: {why or 'it never started'}; {on}")
    return lines
