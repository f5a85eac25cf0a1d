"""An experiment file -> its plan: arms, claims, replicates, what they cost and how far they are. Writes nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from experiments.plan.network_counts import count_for_matching
from experiments.plan.tuning import tuning_plan, with_chosen
from registry.errors import SpecError, did_you_mean
from registry.experiment.arm import Arm
from registry.experiment.arms import resolution, select
from registry.experiment.claims import ResolvedClaim
from registry.experiment.evaluate_at import early_steps
from registry.experiment.experiment_file import ExperimentFile, load_experiment
from registry.experiment.tuning import TuningCandidate
from registry.runs.given_seeds import read_given, seeds_by_identity
from registry.runs.orphans import Orphan, orphans
from registry.runs.replicate import Replicate, open_replicate, replicate_of
from registry.runs.tunings import TunedArm
from registry.schema.search import is_trial


@dataclass
class Plan:
    """A resolved experiment and where its runs are.

    Args:
        file: the experiment as read.
        arms: every arm, baseline first.
        claims: every claim, between two of the arms.
        runs: the folder of all runs.
        selected: the arms that this command is about.
        only: the patterns that selected them.
        folders: patterns of run folders that they were read from instead.
        overrides: of the file, as given on the command line.
        start_of: the experiment whose arms start from its arms, where it is planned for that.
        kept: arm -> the steps that others start from: it is evaluated there, and the checkpoints are kept.
        candidates: of every arm, where the experiment tunes them.
        chosen: arm -> what its tuning has chosen, once that is so for all arms.
        tunes: the file of the experiment whose arms are tuned, where this is the plan of a tuning.
    """

    file: ExperimentFile
    arms: list[Arm]
    claims: list[ResolvedClaim]
    runs: Path
    selected: list[Arm]
    only: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    start_of: str = ""
    kept: Mapping[str, frozenset[int]] = field(default_factory=dict)
    candidates: Sequence[TuningCandidate] = ()
    chosen: Mapping[str, TunedArm] = field(default_factory=dict)
    tunes: ExperimentFile | None = None

    @property
    def name(self) -> str:
        return self.file.experiment.name

    @property
    def folder(self) -> Path:
        return self.runs / self.name

    @property
    def untuned(self) -> bool:
        """Whether the arms are as they are written and wait for their tuning: none has replicates then."""
        return bool(self.candidates) and not self.chosen

    @property
    def comes_first(self) -> str:
        """What it is to the plan that waits for it, empty where none does."""
        if self.tunes is not None:
            return f"tuning of {self.tunes.experiment.name}"
        return f"start of {self.start_of}" if self.start_of else ""

    @property
    def replicates(self) -> list[Replicate]:
        """The replicates of the selected arms, with the seeds that are expected of each now."""
        return self._replicates(self.selected)

    @property
    def all_replicates(self) -> list[Replicate]:
        return self._replicates(self.arms)

    def _replicates(self, arms: Sequence[Arm]) -> list[Replicate]:
        seeds = self.seeds_by_identity()
        made = [] if self.untuned else arms
        return [replicate_of(self.name, arm, seed, self.runs) for arm in made for seed in seeds[arm.identity]]

    def seeds_by_identity(self) -> Mapping[str, tuple[int, ...]]:
        """Return the seeds that are expected of each arm now, by its identity: all, or those that it was given."""
        identities = list(dict.fromkeys(arm.identity for arm in (*self.arms, *self.selected)))
        design = self.file.experiment.until_decided
        if design is None:
            return dict.fromkeys(identities, self.file.experiment.all_seeds)
        return seeds_by_identity(design, identities, read_given(self.folder))

    def possible_seeds(self) -> Mapping[str, tuple[int, ...]]:
        """Return the seeds that each arm has at most, by identity: all of a design while a claim about it is open."""
        expected, design = self.seeds_by_identity(), self.file.experiment.until_decided
        if design is None:
            return expected
        identities = {arm.name: arm.identity for arm in self.arms}
        claims = Counter(own for claim in self.claims for own in {identities[name] for name in claim.arms})
        made = read_given(self.folder)[-1:]
        known = bool(made) and made[0].design == design
        growing = {own for own, number in claims.items() if not known or made[0].may_grow(own, number)}
        return {own: design.seeds if own in growing else seeds for own, seeds in expected.items()}

    @property
    def work(self) -> list[Replicate]:
        """The replicates of the selected arms, and behind them those that evaluate their trainings at earlier steps."""
        return [*self.replicates, *self.early]

    @property
    def early(self) -> list[Replicate]:
        """What evaluates the selected arms' trainings on their way: at the steps of `evaluate_at`, and those kept."""
        seeds = self.seeds_by_identity()
        return [
            replicate_of(self.name, arm, seed, self.runs, step)
            for arm in ([] if self.untuned else self.selected)
            for step in self.early_steps(arm)
            for seed in seeds[arm.identity]
        ]

    def early_steps(self, arm: Arm) -> list[int]:
        """Return the steps before its own at which an arm is evaluated, in ascending order."""
        kept = {step for step in self.kept.get(arm.name, ()) if step < arm.spec.step}
        return sorted({*early_steps(self.file.experiment, arm.spec), *kept})

    @property
    def with_trials(self) -> list[Replicate]:
        """The replicates of the selected arms, and the trials of the experiment's search that have a run folder."""
        if self.only or self.folders:
            return self.replicates
        places = (path for path in sorted(self.folder.glob("trial-*/seed-*")) if path.is_symlink() and path.exists())
        opened = (open_replicate(path) for path in places)
        return [*self.replicates, *(one for one in opened if is_trial(one.arm))]

    def orphans(self) -> list[Orphan]:
        """Run folders of this experiment that no arm owns any more."""
        return [] if self.untuned else orphans(self.name, self.arms, self.runs)


def load_plan(
    path: Path,
    overrides: Iterable[str] = (),
    runs: Path = Path("runs"),
    only: Iterable[str] = (),
    folders: Iterable[str] = (),
    assembled: bool = False,
    tuning: bool = False,
) -> Plan:
    """Read, validate and resolve an experiment file.

    Args:
        path: the experiment file.
        overrides: `key.path=value` words.
        runs: the folder of all runs.
        only: fnmatch patterns of arm names; `!pattern` takes away.
        folders: fnmatch patterns of run folders that are selected instead, such as those of a search's trials.
        assembled: where something is wrong, also tell what `check` would find in all that is right.
        tuning: the plan of the experiment's tuning instead, and `only` patterns of its arms.

    Raises:
        SpecError: with one line for everything that is wrong.
        RunError: the file of what a tuning has chosen is damaged.
    """
    overrides = tuple(overrides)
    file = load_experiment(path, overrides)
    found = resolution(file, count_for_matching)
    only, folders = tuple(only), tuple(folders)
    lines = list(found.problems)
    if lines and assembled:
        from experiments.plan.assembling import assemble  # imports torch, which most verbs do without

        lines += assemble(file, found.checkable)[1]
    if folders and only:
        lines.append("--only selects arms and --folder run folders: give one of the two")
    try:
        selected = [] if tuning else select(found.names if lines else [arm.name for arm in found.arms], only)
    except SpecError as error:
        lines += error.problems
    if lines:
        raise SpecError(list(dict.fromkeys(lines)))
    arms = [arm for arm in found.arms if arm.name in selected]
    plan = Plan(file, found.arms, found.claims, runs, arms, only, folders, overrides, candidates=found.tuning)
    if tuning:
        plan = _tuning_of(plan)
    elif plan.candidates:
        plan = with_chosen(plan)
    return _in_folders(plan) if folders else plan


def _tuning_of(plan: Plan) -> Plan:
    """The plan of an experiment's tuning, with what the patterns select of it.

    Raises:
        SpecError: the experiment tunes nothing, or a pattern matches nothing.
    """
    if not plan.candidates:
        raise SpecError(f"{plan.file.path}: the experiment has no `tune`, so that there is no --tuning of it")
    tuning = replace(tuning_plan(plan), only=plan.only, folders=plan.folders)
    names = select([arm.name for arm in tuning.arms], plan.only)
    return replace(tuning, selected=[arm for arm in tuning.arms if arm.name in names])


def _in_folders(plan: Plan) -> Plan:
    """The plan with the run folders that its patterns name as what is selected, each as its own files say.

    Raises:
        SpecError: there are none, or two of them have the same name of an arm.
        RunError: a folder holds no spec of this version.
    """
    places = [path for path in sorted(plan.folder.glob("*/seed-*")) if path.is_symlink()]
    names = sorted({path.parent.name for path in places})
    for pattern in plan.folders:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SpecError(f"no run folder in {plan.folder} matches {pattern!r}; {did_you_mean(pattern, names)}")
    found = [open_replicate(path) for path in places if any(fnmatchcase(path.parent.name, one) for one in plan.folders)]
    selected = {one.identity: Arm(one.arm, one.axes, one.spec) for one in found}
    twice = [name for name, number in Counter(arm.name for arm in selected.values()).items() if number > 1]
    if twice:
        raise SpecError(f"several run folders in {plan.folder} are of {twice[0]!r}: name one with its identity")
    seeds = tuple(sorted({one.seed for one in found}))
    file = replace(plan.file, experiment=plan.file.experiment.model_copy(update={"seeds": seeds}))
    return replace(plan, file=file, claims=[], selected=list(selected.values()))
