"""The data of a search's trials on Slurm: jobs prepare them, since the controller may run on a login node."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.launch.slurm_arrays import SlurmArrays
from experiments.launch.slurm_launch import PreparingJob
from experiments.plan.plan import Plan
from experiments.record.recording import bind_data, bound_data
from registry.errors import RunError
from registry.runs.run_folder import Replicate, open_replicate
from registry.schema.values import values_at

# What prepared data follow from.
SHARED = ("data", "scoring", "sampling.clips", "model.classes", "runtime.device")


class SearchDataError(RunError):
    """What the data lack is no trial's fault."""


class DataJobs:
    """Has the data of trials prepared by jobs, one for trials that share their data.

    Args:
        plan: of the experiment.
        arrays: submits them.
    """

    def __init__(self, plan: Plan, arrays: SlurmArrays) -> None:
        self.base, self.arrays = values_at(plan.arms[0].spec, SHARED), arrays
        self._jobs: dict[str, tuple[PreparingJob, Sequence[Replicate]]] = {}
        self._ready: set[Path] = set()

    def prepare(self, own: Plan, made: Sequence[Replicate]) -> None:
        """Bring the data of a trial one step further: send a job, look whether it is over, or note what is there.

        Args:
            own: the plan of the trial's arm alone.
            made: its replicates, their run folders made.

        Raises:
            SearchDataError: the data of the base cannot be prepared, or Slurm refuses the job.
            RunError: the data of this trial cannot be prepared.
        """
        if all(replicate.training in self._ready for replicate in made):
            return
        shared = values_at(made[0].spec, SHARED)
        if shared not in self._jobs:
            if (known := next(_bound_alike(own, shared), None)) is not None:
                return self._bind(made, known)
            names = tuple(dict.fromkeys(replicate.link.parent.name for replicate in made))
            self._jobs[shared] = PreparingJob(replace(own, folders=names)), made
        job, first = self._jobs[shared]
        try:
            job.go_before(self.arrays, first)
        except RunError as error:
            if shared == self.base or not job.job:
                raise SearchDataError(str(error)) from None
            raise
        finally:
            self.arrays.after = None  # trials are submitted when their data are there
        if (known := bound_data(first[0].training)) is not None and all(
            bound_data(replicate.training) for replicate in first
        ):
            self._bind(made, known)

    def _bind(self, made: Sequence[Replicate], data: dict[str, Any]) -> None:
        for replicate in made:
            bind_data(replicate.training, data)
            self._ready.add(replicate.training)


def _bound_alike(own: Plan, shared: str) -> Iterator[dict[str, Any]]:
    """What the experiment's run folders with the same data say of them."""
    for path in sorted(own.folder.glob("*/seed-*")):
        try:
            replicate = open_replicate(path)
        except RunError:  # of another version
            continue
        if (data := bound_data(replicate.training)) is not None and values_at(replicate.spec, SHARED) == shared:
            yield data
