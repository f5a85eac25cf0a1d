"""The replicates of a search's trials: ordinary ones, resolved, named and prepared like those of the file's arms."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.launch.launching import make_run_folders
from experiments.launch.preparing import bind_replicates, prepare_data
from experiments.launch.slurm_arrays import SlurmArrays
from experiments.plan.check import check
from experiments.plan.network_counts import count_for_matching
from experiments.plan.plan import Plan
from experiments.record.progress import Progress
from experiments.record.recording import bound_data
from experiments.search.data_jobs import SHARED, DataJobs
from experiments.search.goals import seeds_of
from experiments.search.study import Trial
from registry.errors import SpecError
from registry.experiment.arms import Arm, resolve_trial
from registry.runs.run_folder import Replicate
from registry.schema.values import values_at


class Trials:
    """The replicates of a search's trials.

    Args:
        plan: of the experiment.
        code: what their provenance says of the code.
        progress: is called while data are prepared.
        arrays: where there is Slurm: its jobs prepare the data.
    """

    def __init__(self, plan: Plan, code: dict[str, Any], progress: Progress, arrays: SlurmArrays | None = None) -> None:
        self.plan, self.code, self.progress = plan, code, progress
        self.seeds = seeds_of(plan)
        self._jobs = DataJobs(plan, arrays) if arrays is not None else None
        self._prepared: dict[str, Any] = {}
        self._made: dict[int, list[Replicate]] = {}
        self._arms: dict[int, Arm] = {}

    def arm(self, number: int, values: Mapping[str, Any]) -> Arm:
        """A trial's arm.

        Raises:
            SpecError: the values do not go together.
        """
        if number not in self._arms:
            baseline = self.plan.arms[0].spec
            self._arms[number] = resolve_trial(self.plan.file, f"trial-{number}", values, baseline, count_for_matching)
        return self._arms[number]

    def owner(self, arm: Arm, trials: Sequence[Trial]) -> str:
        """Whose run folders hold an arm's spec: an arm of the file, an earlier trial, or the arm itself."""
        owners = {trial.identity: trial.arm for trial in reversed(trials) if trial.identity}
        owners |= {own.identity: own.name for own in self.plan.arms}
        return owners.get(arm.identity, arm.name)

    def replicates(self, trial: Trial) -> list[Replicate]:
        """The replicates of a trial, their run folders made and their data prepared; on Slurm see `ready`.

        Raises:
            SpecError: its spec cannot be assembled, or is another one than when it was asked for.
            SearchDataError: the data of the base cannot be prepared by a job.
            RunError: its data cannot be prepared.
        """
        if trial.number not in self._made:
            arm = self.arm(trial.number, trial.values)
            if arm.identity != trial.identity:
                raise SpecError(f"{trial.name}: its values now make {arm.identity}, and made {trial.identity}")
            self._made[trial.number] = self._make(self._owned(trial))
        made = self._made[trial.number]
        if self._jobs is not None:
            self._jobs.prepare(self._plan_of(self._owned(trial)), made)
        return made

    def ready(self, replicate: Replicate) -> bool:
        """Whether the data of a trial's replicate are there, so that it may be submitted."""
        return self._jobs is None or bound_data(replicate.training) is not None

    def all(self, trials: Sequence[Trial]) -> list[Replicate]:
        """The replicates of trials, each once, without those of the file's own arms; nothing is made."""
        own = {arm.name for arm in self.plan.arms}
        found: dict[Path, Replicate] = {}
        for trial in trials:
            if trial.identity and trial.arm not in own:
                arm = replace(self.arm(trial.number, trial.values), name=trial.arm)
                found |= {replicate.folder: replicate for replicate in self._plan_of(arm).replicates}
        return list(found.values())

    def prepare_base(self) -> None:
        """Prepare the data of the base, so that what is wrong with them is no trial's fault.

        Raises:
            RunError: nothing readable.
            SpecError: a path or split that is wrong.
        """
        arm = self.plan.arms[0]
        self._prepared[values_at(arm.spec, SHARED)] = prepare_data(self._plan_of(arm), self.progress)[arm.name]

    def _owned(self, trial: Trial) -> Arm:
        """The arm whose run folders are a trial's."""
        own = {arm.name: arm for arm in self.plan.arms}
        return own.get(trial.arm) or replace(self.arm(trial.number, trial.values), name=trial.arm)

    def _plan_of(self, arm: Arm) -> Plan:
        """A plan with this arm alone, and the search's seeds."""
        experiment = self.plan.file.experiment.model_copy(update={"seeds": self.seeds, "floors": ()})
        file = replace(self.plan.file, experiment=experiment)
        return replace(self.plan, file=file, arms=[arm], claims=[], selected=[arm])

    def _make(self, arm: Arm) -> list[Replicate]:
        own = self._plan_of(arm)
        check(own)
        made = make_run_folders(own, self.code)
        if self._jobs is None and not all(bound_data(replicate.training) for replicate in made):
            shared = values_at(arm.spec, SHARED)
            if shared not in self._prepared:
                self._prepared[shared] = prepare_data(own, self.progress)[arm.name]
            bind_replicates(own, {arm.name: self._prepared[shared]})
        return made
