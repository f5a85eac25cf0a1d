"""The executor `debug`: replicates run in this process, one behind the other, and the first failure is raised."""

import contextlib
from collections.abc import Sequence
from typing import Self

from experiments.launch.executor import ExecutorOptions, freeze_code
from experiments.launch.this_machine import ThisMachine
from experiments.plan.plan import Plan
from experiments.record import code_digests
from experiments.worker.run import run_training
from registry.errors import Interrupted, RunError
from registry.parts.catalogue import catalogue
from registry.runs.replicate import Replicate

_run_here: dict[str, str] = {}  # digests of what this process has run, by name; of parts from outside with their module


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
                _refuse_edited(replicate)
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


def _refuse_edited(replicate: Replicate) -> None:
    """Stop where code was edited that this process has run before: it would note one code, and run another.

    Raises:
        RunError: it was; what is made already is kept.
    """
    spec = replicate.spec
    now = {**code_digests.of_training(spec), **code_digests.of_evaluation(spec)}
    modules = {info.name: info.module for info in catalogue(spec.plugins).from_outside()}
    keys = {name: f"{modules.get(name.rpartition('.')[2], '')}: {name}" for name in now}
    edited = [name for name, digest in now.items() if _run_here.get(keys[name], digest) != digest]
    if edited:
        raise RunError(
            f"{replicate.name}: {', '.join(edited)}: edited since this Python process began to run it, which goes on "
            "with what it has imported; start Python anew (in a notebook: restart the kernel), or launch with "
            "`--executor local`"
        )
    _run_here.update({keys[name]: digest for name, digest in now.items()})
