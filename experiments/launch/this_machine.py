"""What the executors of this machine have in common: data are prepared in this process, and there are no jobs."""

from collections.abc import Sequence

from experiments.launch.preparing import PreparedHere
from experiments.plan.plan import Plan
from experiments.record.progress import Progress
from experiments.record.snapshot import Snapshot
from registry.runs.replicate import Replicate
from registry.schema.resources import Shape


class ThisMachine:
    """The part of an executor that is the same wherever on this machine trainings run.

    Args:
        snapshot: the code that they run.
        progress: is called with (what, done, in all).
    """

    detached = False

    def __init__(self, snapshot: Snapshot, progress: Progress) -> None:
        self.snapshot, self.progress = snapshot, progress
        self._prepared = PreparedHere(progress)

    @staticmethod
    def defaults() -> Shape | None:
        """Return None: there are no jobs."""
        return None

    @staticmethod
    def preview(plan: Plan, replicates: Sequence[Replicate]) -> list[str]:
        """Return a line for each replicate that would run."""
        return [f"would run {replicate.name}: {replicate.folder}" for replicate in replicates] or ["nothing to run"]

    def prepare(self, plan: Plan, replicates: Sequence[Replicate]) -> list[Replicate]:
        """Prepare the data of the plan here, those that are new to this process, and return all replicates."""
        self._prepared.prepare(plan)
        return list(replicates)
