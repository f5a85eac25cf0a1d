"""Launching: make the run folders, and send what is not done to an executor.

Missing and interrupted replicates are started, waiting and running ones left, finished ones skipped, failed and
cancelled ones left to `retry`. Nothing is cancelled by omission.
"""

import contextlib
import getpass
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.launch.controller import Controller, Launched, Wants, Watch
from experiments.launch.executor import Executor, ExecutorOptions, unheard
from experiments.launch.executors import EXECUTORS, opened
from experiments.plan.check import check
from experiments.plan.other_code import outdated
from experiments.plan.plan import Plan
from experiments.plan.resolved_experiment import resolved
from experiments.plan.tuning import without_diverged
from experiments.record import slurm_queue
from experiments.record.progress import Progress
from experiments.record.recording import create, desire, keep_step, open_again
from experiments.record.states import in_state, job_of_others, queue_of, states
from registry.errors import RunError
from registry.paths import expanded
from registry.runs.attempts import ATTEMPTS, SUBMISSIONS, is_alive, latest
from registry.runs.records import Attempt, State, Submission
from registry.runs.replicate import Replicate
from registry.runs.resolved_experiment import write_resolved
from registry.runs.stored import wanted
from registry.schema.resources import Shape


def unwatched(shown: Sequence[Replicate], now: Sequence[State]) -> None:
    """Nobody watches: this process is about to end."""


@dataclass
class AllToTheEnd:
    """The policy of a plain launch: every replicate goes on until it has ended.

    What another launcher has begun is waited for, and taken over where it ends without a result.

    Args:
        plan: whose replicates they are.
        launched: the replicates, and those that were submitted.
    """

    plan: Plan
    launched: Launched

    def next(self, executor: Executor) -> Wants:
        """Start what can be started and was not submitted yet; at the end when nothing waits or runs."""
        todo = self.launched.todo
        now = states(todo)
        left = [one for one, state in zip(todo, now, strict=True) if state.startable]
        left = [replicate for replicate in left if replicate.name not in self.launched.submitted]
        start = executor.prepare(self.plan, left) if left else []
        return Wants(start, todo, now, over=not left and not any(state.active for state in now))


def make_run_folders(plan: Plan, code: dict[str, Any]) -> list[Replicate]:
    """Ask for every selected replicate: make the folders of trainings and evaluations, or check those that are there.

    Args:
        plan: what is launched.
        code: what their provenance says of the code.
    """
    for replicate in (found := [absolute(replicate) for replicate in plan.work]):
        create(replicate, code)
        for step in plan.kept.get(replicate.arm, ()):
            keep_step(replicate.training, step)
    return found


def absolute(replicate: Replicate) -> Replicate:
    """Return the replicate with an absolute path of its data, since a job may start elsewhere."""
    path = replicate.spec.data.path
    if path is None or Path(path).is_absolute():
        return replicate
    data = replicate.spec.data.model_copy(update={"path": str(expanded(path).resolve())})
    return Replicate(**{**vars(replicate), "spec": replicate.spec.model_copy(update={"data": data})})


def launch_all(
    plan: Plan,
    executor: str,
    progress: Progress,
    watch: Watch,
    say: Callable[[str], None] = unheard,
    wait: bool = True,
) -> Launched:
    """Run every selected replicate that is missing or interrupted.

    Args:
        plan: what to launch.
        executor: `local` (a bounded pool of processes), `slurm` (job arrays), or `debug` (in this process, the first
            failure is raised).
        progress: is called while this process prepares data or, with `debug`, trains.
        watch: is called with all replicates and their states again and again.
        say: takes a line for what was submitted.
        wait: return when nothing waits or runs any more; without it an executor that is detached goes on by itself.

    Raises:
        RunError: the data cannot be prepared, or the executor refuses.
        SpecError: the data do not fit the spec.
    """
    check(plan, with_data=True, cluster=EXECUTORS[executor].defaults())
    wait = wait or not EXECUTORS[executor].detached
    with opened(plan, executor, ExecutorOptions(progress, say, reports=True), wait) as where:
        write_resolved(plan.folder, resolved(plan))
        launched = Launched(make_run_folders(plan, where.snapshot.about()))
        where.prepare(plan, ())  # what all replicates share, and those that are done
        controller = Controller(where, launched, watch if wait else unwatched, say)
        controller.run(AllToTheEnd(plan, launched), rounds=1)
        if wait:
            controller.run(AllToTheEnd(plan, launched))
    return launched


def preview(plan: Plan, executor: str, again: bool = False) -> list[str]:
    """Return what `launch` would do, a text each: on Slurm the batch scripts. Nothing is written or submitted.

    Args:
        plan: what would be launched.
        executor: its name.
        again: make anew what other code than the present has made as well.
    """
    cluster: Shape | None = None
    with contextlib.suppress(RunError):  # where no Slurm answers, the experiment alone states what there is
        cluster = EXECUTORS[executor].defaults()
    check(plan, with_data=True, cluster=cluster)
    todo = [absolute(replicate) for replicate in plan.work]
    anew = {one.replicate.folder for one in outdated(plan, todo)} if again else set()
    now = zip(todo, states(todo), strict=True)
    waiting = [one for one, state in now if state.startable or (one.folder in anew and not state.active)]
    return EXECUTORS[executor].preview(plan, waiting)


def retried(plan: Plan) -> list[Replicate]:
    """Return the selected replicates that `retry` would open again.

    What diverged in a tuning has said how good it is, and would diverge again.
    """
    return without_diverged(plan, in_state(plan.work, lambda state: state.retried))


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
        if job and job_of_others(job, training):
            continue  # its turn is passed over, or it sees of itself that it is to end
        if job and queue.hint(job) != "":
            jobs.add(job)
        elif alive and attempt and attempt.host == socket.gethostname():
            with contextlib.suppress(ProcessLookupError):
                os.kill(attempt.pid, signal.SIGTERM)
    slurm_queue.cancel(jobs)
    return ended


def stop_for_good(replicates: Sequence[Replicate], reason: str, executor: Executor) -> None:
    """End replicates for good: those that run see it of themselves, the executor takes away those that wait."""
    now = states(replicates)
    for replicate, state in zip(replicates, now, strict=True):
        if not state.ended:
            desire(replicate, "stop", reason=reason)
    waiting = [replicate for replicate, state in zip(replicates, now, strict=True) if state is State.QUEUED]
    executor.cancel([replicate for replicate in waiting if not wanted(replicate.training)])


def unfinished(todo: Sequence[Replicate], flag: str = "") -> list[str]:
    """Return a line for each replicate that has ended without a result: what happened, and what makes it go on.

    Args:
        todo: the replicates.
        flag: by which `retry` is about them, such as --screen.
    """
    now = states(todo)
    ended = [(one, state) for one, state in zip(todo, now, strict=True) if not state.ended and not state.active]
    endings = slurm_queue.endings([job for replicate, _ in ended if (job := _job_of(replicate))])
    lines, retry = [], f"`{f'retry {flag}'.strip()}`"
    for replicate, state in ended:
        last = replicate.last_word()
        told = endings.get(_job_of(replicate) or "")
        desired = replicate.desired()
        why = (last.error or last.reason if last else "") or (desired.reason if desired else "") or replicate.damage()
        if last is None or last.event in ("started", "retry"):
            why = str(told) if told else why
        on = f"mend the cause, then {retry}" if state.retried else "the same command goes on from its checkpoint"
        on = f"{retry} goes on" if state is State.CANCELLED else on
        on = f"{retry} makes it again" if state is State.DAMAGED else on
        on = "it goes on when the other arms of the screen have come there" if state is State.PAUSED else on
        lines.append(f"{replicate.name}: {state}: {why or 'it never started'}; {on}")
    return lines


def _job_of(replicate: Replicate) -> str | None:
    submission = replicate.submission()
    return submission.job if submission else None
