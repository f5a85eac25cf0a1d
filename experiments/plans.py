"""An experiment file -> its plan: arms, claims, replicates, what they cost and how far they are. Writes nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.ablation import Arm, ResolvedClaim, make_arms, make_claims, select
from registry.assemble import Assembly, count_for_matching
from registry.errors import SpecError
from registry.experiment import ExperimentFile, load_experiment
from registry.runs import Orphan, Replicate, orphans, replicates


@dataclass
class Plan:
    """A resolved experiment and where its runs are.

    Args:
        file: the experiment as read.
        arms: every arm, baseline first.
        claims: every claim, between two of the arms.
        runs: the folder of all runs.
        selected: the arms that this command is about.
    """

    file: ExperimentFile
    arms: list[Arm]
    claims: list[ResolvedClaim]
    runs: Path
    selected: list[Arm]

    @property
    def name(self) -> str:
        return self.file.experiment.name

    @property
    def folder(self) -> Path:
        return self.runs / self.name

    @property
    def replicates(self) -> list[Replicate]:
        """The replicates of the selected arms."""
        return replicates(self.name, self.selected, self.file.experiment.seeds, self.runs)

    @property
    def all_replicates(self) -> list[Replicate]:
        return replicates(self.name, self.arms, self.file.experiment.seeds, self.runs)

    def orphans(self) -> list[Orphan]:
        """Run folders of this experiment that no arm owns any more."""
        return orphans(self.name, self.arms, self.runs)


def load_plan(path: Path, overrides: Iterable[str] = (), runs: Path = Path("runs"), only: Iterable[str] = ()) -> Plan:
    """Read, validate and resolve an experiment file.

    Args:
        path: the experiment file.
        overrides: `key.path=value` words.
        runs: the folder of all runs.
        only: fnmatch patterns of arm names; `!pattern` takes away.

    Raises:
        SpecError: with one line for everything that is wrong.
    """
    file = load_experiment(path, overrides)
    arms, claims, problems = [], [], []
    try:
        arms = make_arms(file, count_for_matching)
        claims = make_claims(file, arms)
    except SpecError as error:
        problems += error.problems
    if problems:
        raise SpecError(problems)
    return Plan(file, arms, claims, runs, select(arms, only))


def check(plan: Plan) -> list[str]:
    """Assemble every selected arm without memory; one line an arm.

    Raises:
        SpecError: shapes that do not go together, or a data path that is not there; one line each.
    """
    lines, problems = [], []
    for arm in plan.selected:
        try:
            counts = Assembly(arm.spec, plan.file.parts).counts()
            Assembly(arm.spec, plan.file.parts).sampler(Assembly(arm.spec, plan.file.parts).objective())
            lines.append(f"{arm.name}: {counts.parameters:,} parameters, identity {arm.identity}")
        except SpecError as error:
            problems += [located(plan, arm, text) for text in error.problems]
        path = arm.spec.data.path
        if path is not None and not Path(path).exists():
            problems.append(f"{plan.file.place(('base', 'data', 'path'))}: data.path: {path} does not exist")
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return lines


def located(plan: Plan, arm: Arm, text: str) -> str:
    """A problem that a part found, with the place of the key that it names."""
    key = tuple(text.split(":")[0].strip().split("."))
    return f"{plan.file.place(('base', *key))}: arm {arm.name}: {text}"


def rows(plan: Plan) -> list[dict[str, Any]]:
    """One row an arm: identity, depth, parameters, MACs in two conventions, states, GPU-hours."""
    found = []
    for arm in plan.selected:
        try:
            counts = Assembly(arm.spec, plan.file.parts).counts()
        except SpecError as error:
            raise SpecError([located(plan, arm, text) for text in error.problems]) from None
        own = [replicate for replicate in plan.replicates if replicate.arm == arm.name]
        states = [replicate.state for replicate in own]
        found.append({
            "arm": arm.name,
            "identity": arm.identity,
            "axes": dict(arm.axes),
            "depth": arm.spec.model.depth,
            "parameters": counts.parameters,
            "macs": {"paper_convention": counts.paper_convention, "per_clip": counts.per_clip},
            "seeds": list(plan.file.experiment.seeds),
            "state": {str(replicate.seed): state for replicate, state in zip(own, states, strict=True)},
            "gpu_hours": round(gpu_hours(plan, arm, own, counts.evaluated), 4),
        })  # fmt: skip
    return found


def gpu_hours(plan: Plan, arm: Arm, own: list[Replicate], macs: int) -> float:
    """Hours of all seeds of an arm: as measured on its finished replicates, else from arithmetic.

    The estimate takes 6 FLOP a MAC for a training step and 2 for a sampling step, at `resources.tflops` sustained.
    """
    seeds = len(plan.file.experiment.seeds)
    measured = [result["seconds"] for result in (replicate.result() for replicate in own) if result]
    if measured:
        return seeds * sum(measured) / len(measured) / 3600
    learning, sampling = arm.spec.learning, arm.spec.sampling
    assert sampling.sampler is not None
    guided = 2 if arm.spec.model.classes and sampling.guidance != 1.0 else 1
    flop = 6 * macs * learning.steps * learning.batch_size
    flop += 2 * macs * sampling.clips * guided * _sampling_steps(sampling.sampler.parameters.get("steps", 1))
    return seeds * flop / (plan.file.experiment.resources.tflops * 1e12) / 3600


def _sampling_steps(steps: int | str) -> int:
    """Network evaluations of a respacing: `250`, `ddim25` or `10,15,20`."""
    return sum(int(section) for section in str(steps).removeprefix("ddim").split(","))
