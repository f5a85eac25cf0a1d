"""The replicates of a search's trials: ordinary ones, resolved, named and prepared like those of the file's arms."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.network_counts import count_for_matching
from experiments.launch.executor import Executor, RefusedError
from experiments.launch.launching import make_run_folders
from experiments.launch.preparing import shared_by
from experiments.plan.check import check
from experiments.plan.plan import Plan
from experiments.search.goals import seeds_of
from experiments.search.study import Trial
from registry.errors import RunError, SpecError
from registry.experiment.arm import Arm
from registry.experiment.arms import resolve_trial
from registry.runs.replicate import Replicate


class DataError(RunError):
    """What the data of the base lack is no trial's fault."""


class Trials:
    """The replicates of a search's trials.

    Args:
        plan: of the experiment.
        code: what their provenance says of the code.
    """

    def __init__(self, plan: Plan, code: dict[str, Any]) -> None:
        self.plan, self.code = plan, code
        self.seeds = seeds_of(plan)
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
        """The replicates of a trial, their run folders made.

        Raises:
            SpecError: its spec cannot be assembled, or is another one than when it was asked for.
            RunError: a stored spec is another one.
        """
        if trial.number not in self._made:
            arm = self.arm(trial.number, trial.values)
            if arm.identity != trial.identity:
                raise SpecError(f"{trial.name}: its values now make {arm.identity}, and made {trial.identity}")
            self._made[trial.number] = self._make(self._owned(trial))
        return self._made[trial.number]

    def prepare(self, trial: Trial, replicates: Sequence[Replicate], executor: Executor) -> list[Replicate]:
        """Have the data of a trial's replicates prepared, and return those that may be submitted now.

        Raises:
            DataError: the data cannot be prepared, and are those of the base: no trial's fault.
            RefusedError: the executor takes nothing more just now.
            RunError: the data of this trial cannot be prepared.
            SpecError: the data do not fit its spec.
        """
        arm = self._owned(trial)
        names = tuple(dict.fromkeys(replicate.link.parent.name for replicate in replicates))
        try:
            return executor.prepare(replace(self._plan_of(arm), folders=names), replicates)
        except RefusedError:
            raise
        except RunError as error:
            if shared_by(arm.spec) == shared_by(self.plan.arms[0].spec):
                raise DataError(str(error)) from None
            raise

    def all(self, trials: Sequence[Trial]) -> list[Replicate]:
        """The replicates of trials, each once, without those of the file's own arms; nothing is made."""
        own = {arm.name for arm in self.plan.arms}
        found: dict[Path, Replicate] = {}
        for trial in trials:
            if trial.identity and trial.arm not in own:
                arm = replace(self.arm(trial.number, trial.values), name=trial.arm)
                found |= {replicate.folder: replicate for replicate in self._plan_of(arm).replicates}
        return list(found.values())

    def prepare_base(self, executor: Executor) -> None:
        """Prepare the data of the base where this process would have to, so that what is wrong is no trial's fault.

        Raises:
            RunError: nothing readable.
            SpecError: a path or split that is wrong.
        """
        executor.prepare(self._plan_of(self.plan.arms[0]), ())

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
        return make_run_folders(own, self.code)
