"""The executor `debug`: replicates run in this process, one behind the other, and the first failure is raised."""

import contextlib
from collections.abc import Sequence
from typing import Self

from experiments.launch.executor import ExecutorOptions, freeze_code
from experiments.launch.this_machine import ThisMachine
from experiments.plan.plan import Plan
from experiments.worker.run import run_training
from registry.errors import Interrupted
from registry.runs.replicate import Replicate


class InProcess(ThisMachine):
    """Runs replicates in this process.

    Args:
        snapshot: what their provenance says of the code.
        progress: is called with (what, done, in all).
    """

    name = "debug"
    pause = 0.0

    @classmethod
    def open(cls, plan: Plan, options: ExecutorOptions) -> Self:
        """Return the executor of a plan."""
        return cls(freeze_code(plan), options.progress)

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
