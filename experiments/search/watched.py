"""A launch that one process watches to its end, on Slurm as well: its policy decides while replicates run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from experiments.launch.controller import Controller, Launched, Policy, Watch
from experiments.launch.executor import ExecutorOptions
from experiments.launch.executors import EXECUTORS, opened
from experiments.launch.launching import make_run_folders
from experiments.plan.check import check
from experiments.plan.plan import Plan
from experiments.plan.resolved_experiment import resolved
from experiments.record.lease import leased
from experiments.record.progress import Progress
from registry.runs.resolved_experiment import write_resolved

CONTROLLERS = "controllers"  # in the folder of a policy's decisions: whose turn it is
Decides = TypeVar("Decides", bound=Policy)


@dataclass(frozen=True)
class Watching:
    """Who is told how a launch gets on.

    Args:
        progress: is called while data are prepared, and by `debug`.
        watch: is called with all replicates and their states again and again.
        say: takes a line for each decision.
    """

    progress: Progress
    watch: Watch
    say: Callable[[str], None]


def launch_watched(
    plan: Plan, executor: str, decisions: Path, policy_of: Callable[[Launched], Decides], told: Watching
) -> tuple[Launched, Decides]:
    """Run the selected arms as a policy says, and return when they have nothing more to do.

    Args:
        plan: what to launch.
        executor: local, slurm or debug.
        decisions: the folder of the policy's decisions, of which one process at a time makes any.
        policy_of: what decides, of the selected replicates.
        told: who is told how it gets on.

    Raises:
        RunError: another process is running it; the data cannot be prepared; the executor refuses again and again.
        SpecError: the plan is wrong.
    """
    check(plan, with_data=True, cluster=EXECUTORS[executor].defaults())
    with leased(decisions / CONTROLLERS, patience=0) as lease:
        launched = Launched([])
        policy = policy_of(launched)
        with opened(plan, executor, ExecutorOptions(told.progress, told.say)) as where:
            write_resolved(plan.folder, resolved(plan))
            launched.todo += make_run_folders(plan, where.snapshot.about())
            where.prepare(plan, ())
            Controller(where, launched, told.watch, told.say, lease).run(policy)
    return launched, policy


def listed(names: Sequence[str]) -> str:
    """Return the first names of arms, and how many more there are."""
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
