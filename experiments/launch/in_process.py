"""The executor `debug`: replicates run in this process, one behind the other, and the first failure is raised."""

import contextlib
from collections.abc import Sequence
from typing import Self

from experiments.launch.executor import ExecutorOptions, would_run
from experiments.launch.preparing import PreparedHere
from experiments.plan.plan import Plan
from experiments.record.progress import Progress
from experiments.record.snapshot import Snapshot, freeze
from experiments.worker.run import run_training
from registry.errors import Interrupted
from registry.runs.run_folder import Replicate
from registry.schema.resources import Shape


class InProcess:
    """Runs replicates in this process.

    Args:
        snapshot: what their provenance says of the code.
        progress: is called with (what, done, in all).
    """

    name = "debug"
    pause = 0.0
    detached = False

    def __init__(self, snapshot: Snapshot, progress: Progress) -> None:
        self.snapshot, self.progress = snapshot, progress
        self.prepared = PreparedHere(progress)

    @classmethod
    def open(cls, plan: Plan, options: ExecutorOptions) -> Self:
        """Return the executor of a plan."""
        return cls(freeze(plan.runs, plan.file.path, bool(plan.file.experiment.plugins)), options.progress)

    @staticmethod
    def defaults() -> Shape | None:
        """There are no jobs."""
        return None

    @staticmethod
    def preview(plan: Plan, replicates: Sequence[Replicate]) -> list[str]:
        """Return a line for each replicate that would run."""
        return would_run(replicates)

    def prepare(self, plan: Plan, replicates: Sequence[Replicate]) -> list[Replicate]:
        """Prepare the data of the plan here, those that are new to it."""
        self.prepared.prepare(plan)
        return list(replicates)

    def submit(self, replicates: Sequence[Replicate]) -> list[str]:
        """Run those that can be started, to their end or to where they are to pause."""
        started = []
        for replicate in replicates:
            if replicate.state.startable:  # an earlier one may have made it, since they share a training
                started.append(replicate.name)
                with contextlib.suppress(Interrupted):
                    run_training(replicate.training, self.progress)
                if replicate.state.startable:
                    raise Interrupted(f"{replicate.name}: stopped; the same command goes on")
        return started

    def poll(self) -> None:
        """Nothing goes on beside this process."""

    def cancel(self, replicates: Sequence[Replicate]) -> None:
        """Nothing waits."""

    def close(self, finished: bool) -> None:
        """Nothing is left to end."""
