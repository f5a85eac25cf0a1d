"""The contract of an executor: where trainings run. The controller knows no more of it than this."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from experiments.plan.plan import Plan
from experiments.record.progress import Progress, silent
from experiments.record.snapshot import Snapshot, freeze
from registry.errors import RunError
from registry.runs.replicate import Replicate
from registry.schema.resources import Shape


class RefusedError(RunError):
    """The executor takes nothing more just now, such as sbatch at a limit; asking again later may help.

    Args:
        message: who refuses what, and why.
        accepted: names of the replicates that it took in the same call before; these go on.
    """

    def __init__(self, message: str, accepted: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.accepted = tuple(accepted)


def unheard(line: str) -> None:
    """Take a line that nobody reads."""


def freeze_code(plan: Plan) -> Snapshot:
    """Freeze the code that a plan's trainings run, plug-ins beside its file included.

    Raises:
        RunError: git fails on the checkout.
    """
    return freeze(plan.runs, plan.file.path, bool(plan.file.experiment.plugins))


@dataclass(frozen=True)
class ExecutorOptions:
    """How an executor is opened.

    Args:
        progress: is called with (what, done, in all) while something is made in this process.
        say: takes a line.
        at_once: replicates at once on this machine where `resources.parallel` says nothing.
        reports: an executor that is detached also has the report written behind what it runs.
    """

    progress: Progress = silent
    say: Callable[[str], None] = unheard
    at_once: int = 1
    reports: bool = False


class Executor(Protocol):
    """Where trainings run.

    Args:
        name: as `--executor` has it.
        pause: seconds between two looks at what it runs; 0 where `submit` returns when all has run.
        detached: what it runs goes on without this process.
        snapshot: the code that it runs.
    """

    name: str
    pause: float
    detached: bool
    snapshot: Snapshot

    @classmethod
    def open(cls, plan: Plan, options: ExecutorOptions) -> Self:
        """Return an executor for a plan, its code frozen.

        Raises:
            RunError: there is none here, or it does not answer.
        """
        ...

    @staticmethod
    def defaults() -> Shape | None:
        """Return the resources of a job where the experiment says nothing; None where it has no jobs.

        Raises:
            RunError: it does not answer.
            SpecError: the user's file of clusters is wrong.
        """
        ...

    @staticmethod
    def preview(plan: Plan, replicates: Sequence[Replicate]) -> list[str]:
        """Return what `launch` would do about replicates that can be started, a text each; nothing is written."""
        ...

    def prepare(self, plan: Plan, replicates: Sequence[Replicate]) -> list[Replicate]:
        """Have the data of replicates prepared, and return those that may be submitted now.

        Args:
            plan: whose selected arms the replicates belong to.
            replicates: what is about to be submitted, their folders made; none where this process is only to prepare
                what it would have to.

        Raises:
            RunError: the data cannot be prepared.
            RefusedError: the executor takes no job that prepares them just now.
            SpecError: the data do not fit the spec.
        """
        ...

    def submit(self, replicates: Sequence[Replicate]) -> list[str]:
        """Start the trainings that can be started, now or when there is room; return the names of their replicates.

        Raises:
            RefusedError: it takes nothing more just now; what it took before goes on, and is named in the error.
        """
        ...

    def poll(self) -> None:
        """Take note of what has ended, and start what waits in its place."""
        ...

    def cancel(self, replicates: Sequence[Replicate]) -> None:
        """Take away what waits for a start and is no longer wanted; what runs sees that of itself."""
        ...

    def close(self, finished: bool) -> None:
        """End, before this process goes on or ends.

        Args:
            finished: nothing more will be submitted: return when what is ending has ended. If not, this process is to
                stop at once: what would end with it is told to, and can go on later.
        """
        ...
