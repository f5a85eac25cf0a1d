"""A resolved experiment: its arms, claims and replicates, and the seeds expected of each now. Writes nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.experiment.arm import Arm
from registry.experiment.claims import ResolvedClaim
from registry.experiment.evaluate_at import early_steps
from registry.experiment.experiment_file import ExperimentFile
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
        shared_early: arm -> the earlier steps at which experiments that are launched behind this one evaluate the same
            training: it is evaluated there on its way, since afterwards it would have to be trained to there again.
        candidates: of every arm, where the experiment tunes them.
        chosen: arm -> what its tuning has chosen, once that is so for all arms.
        stage: what runs before the arms and this is the plan of: `tuning` or `screen`; empty: it is the experiment.
        whole: the file of the experiment that the stage is of.
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
    shared_early: Mapping[str, frozenset[int]] = field(default_factory=dict)
    candidates: Sequence[TuningCandidate] = ()
    chosen: Mapping[str, TunedArm] = field(default_factory=dict)
    stage: str = ""
    whole: ExperimentFile | None = None

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
        if self.whole is not None:
            return f"{self.stage} of {self.whole.experiment.name}"
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
        """What evaluates the selected arms' trainings on their way: at the steps of `evaluate_at`, and of others."""
        seeds = self.seeds_by_identity()
        return [
            replicate_of(self.name, arm, seed, self.runs, step)
            for arm in ([] if self.untuned else self.selected)
            for step in self.early_steps(arm)
            for seed in seeds[arm.identity]
        ]

    def early_steps(self, arm: Arm) -> list[int]:
        """Return the steps before its own at which an arm is evaluated, in ascending order."""
        of_others = (*self.kept.get(arm.name, ()), *self.shared_early.get(arm.name, ()))
        return sorted({*early_steps(self.file.experiment, arm.spec), *(s for s in of_others if s < arm.spec.step)})

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
