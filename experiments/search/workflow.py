"""The workflows that start replicates, as functions: a notebook or a job calls them as the command line does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from experiments.launch import launching
from experiments.launch.controller import Launched
from experiments.launch.executors import EXECUTORS
from experiments.launch.report import Report, report
from experiments.plan import status
from experiments.plan.plan import Plan
from experiments.plan.starts import refuse_missing
from experiments.plan.tuning import refuse_untuned, without_diverged
from registry.runs.records import State
from registry.runs.replicate import Replicate

WATCHING = (
    "this process only submits and watches: it can be killed, its jobs go on, and the same command goes on with them"
)


class Watcher(Protocol):
    """Who is told how a workflow gets on."""

    def show(self, what: str, done: int, total: int) -> None:
        """Take note that `done` of `total` are done."""

    def watch(self, todo: Sequence[Replicate], states: Sequence[State]) -> None:
        """Take note of how far the replicates are; is called again and again."""

    def line(self, text: str) -> None:
        """Take a line."""


class Nobody:
    """A watcher that keeps all to itself."""

    def show(self, what: str, done: int, total: int) -> None:
        """Ignore it."""

    def watch(self, todo: Sequence[Replicate], states: Sequence[State]) -> None:
        """Ignore it."""

    def line(self, text: str) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class Outcome:
    """What came of a launch.

    Args:
        launched: the replicates, and what was started or submitted.
        report: what was written; None where jobs go on, or the job that reports has written it.
        waits: jobs go on by themselves, and this process does not wait for them.
        unfinished: a line for each replicate that ended without a result, what runs beside it, and how many there are.
    """

    launched: Launched
    report: Report | None
    waits: bool
    unfinished: Sequence[str]


def launch(plan: Plan, executor: str = "local", *, wait: bool = False, watcher: Watcher | None = None) -> Outcome:
    """Run every selected replicate that is not done, as a screen or seeds "until decided" have it, and report.

    Args:
        plan: what to launch.
        executor: `local` (a pool of processes), `slurm` (job arrays) or `debug` (this process).
        wait: on Slurm, return when nothing waits or runs any more; what is decided on the way is always watched.
        watcher: is told how it gets on.

    Raises:
        RunError: the data cannot be prepared, Slurm refuses, or the results cannot be reported.
        SpecError: the plan is wrong.
    """
    refuse_untuned(plan)
    refuse_missing(plan)
    watcher = watcher or Nobody()
    experiment, detached = plan.file.experiment, EXECUTORS[executor].detached
    watched = experiment.screen is not None or experiment.until_decided is not None
    if watched:
        from experiments.search.scored_screening import launch_screened_by_score
        from experiments.search.screening import launch_screened
        from experiments.search.until_decided import launch_until_decided
        from experiments.search.watched import Watching

        if detached:
            watcher.line(WATCHING)
        watching = Watching(watcher.show, watcher.watch, watcher.line)
        if experiment.screen is None:
            launched = launch_until_decided(plan, executor, watching)
        elif experiment.scored_screen is not None:
            launched = launch_screened_by_score(plan, executor, watching)
        else:
            launched = launch_screened(plan, executor, watching)
    else:
        launched = launching.launch_all(plan, executor, watcher.show, watcher.watch, watcher.line, wait)
        if detached and not wait:
            return Outcome(launched, None, True, ())
    written = None if detached and not watched else report(plan, watcher.show)  # else the report job has written all
    return Outcome(launched, written, False, _unfinished(plan, launched))


def retry(plan: Plan, executor: str = "local", *, wait: bool = False, watcher: Watcher | None = None) -> Outcome:
    """Launch again with the selected failed and cancelled replicates; they go on from their last checkpoint.

    The arguments and errors are those of `launch`.
    """
    refuse_untuned(plan)
    refuse_missing(plan)  # before anything is marked
    again = launching.retry(plan)
    if watcher is not None:
        watcher.line(f"{len(again)} failed or cancelled replicates are tried again")
    return launch(plan, executor, wait=wait, watcher=watcher)


def _unfinished(plan: Plan, launched: Launched) -> list[str]:
    left = without_diverged(plan, launched.todo)
    own, screened = ([one for one in left if (one.experiment == plan.name) is ours] for ours in (True, False))
    lines = [*launching.unfinished(screened, "--screen"), *launching.unfinished(own)]
    if not lines:
        return []
    total = f"{len(lines)} of {len(launched.todo)} replicates are not done"
    return [*lines, *status.beside(plan, status.rows(plan)), total]
