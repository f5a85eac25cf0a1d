"""The memory of a search: Optuna's journal, in which every decision is one line that is written whole or not at all.

Proposals and judgements are made in a copy of the study in memory, by samplers that are seeded by the trial's number,
and then written down. So they are a function of the journal, and a controller that is killed leaves no half a trial.
"""

import contextlib
import copy
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState, create_trial

from registry.errors import RunError
from registry.runs.places import folder_name
from registry.schema.labels import label_of
from registry.schema.search import Dimension, Pruning, Search

JOURNAL = "journal.log"
optuna.logging.set_verbosity(optuna.logging.ERROR)

Ending = Literal["complete", "pruned", "failed"]
STATES: dict[TrialState, str] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
ENDINGS: dict[Ending, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


@dataclass(frozen=True)
class Trial:
    """A trial as the journal has it.

    Args:
        number: counted from 0.
        state: running, complete, pruned or failed.
        values: by key of the space, as the spec takes them.
        arm: whose run folders are its, mostly its own name.
        identity: of its spec, empty where its values do not go together.
        scores: by objective, of a complete trial.
        reported: the metric that is pruned by, by step.
        judged: the last step at which it was judged, and whether to stop it.
        again_of: the failed trial whose values it tries again.
        failed: why it failed, and whether it may be tried again.
    """

    number: int
    state: str
    values: Mapping[str, Any]
    arm: str
    identity: str
    scores: tuple[float, ...]
    reported: Mapping[int, float]
    judged: Mapping[str, Any]
    again_of: int | None
    failed: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"trial-{self.number}"


@dataclass(frozen=True)
class Proposal:
    """What a sampler asks for next: values by key, and what the journal keeps beside them."""

    values: Mapping[str, Any]
    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    marks: Mapping[str, Any]


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension as Optuna has it; choices go by their labels."""
    if dimension.choices is not None:
        return CategoricalDistribution([label_of(choice) for choice in dimension.choices])
    low, high, step = dimension.low, dimension.high, dimension.step
    assert low is not None, "validated"
    assert high is not None, "validated"
    if step is not None:
        high = low + step * math.floor((high - low) / step * (1 + 1e-12))
    if dimension.whole:
        return IntDistribution(int(low), int(high), log=dimension.log, step=int(step or 1))
    return FloatDistribution(float(low), float(high), log=dimension.log, step=step)


def value_of(dimension: Dimension, param: Any) -> Any:
    """What the spec takes for a parameter of a trial."""
    if dimension.choices is None:
        return param
    return next(choice for choice in dimension.choices if label_of(choice) == param)


def _short(dimension: Dimension, param: Any) -> Any:
    """A parameter with six digits, so that it is read, typed and hashed alike everywhere.

    One of a grid, which six digits could leave, has fifteen: 0.3, and not the sum of three tenths.
    """
    if not isinstance(param, float) or dimension.low is None or dimension.high is None:
        return param
    short = f"{param:.6g}" if dimension.step is None else f"{param:.15g}"
    return min(max(float(short), dimension.low), dimension.high)


class Study:
    """The trials of a search.

    Args:
        folder: of the search, where the journal lies.
        name: of the experiment.
        search: as the file has it now.
        directions: `min` or `max` of each objective.
        writing: whether this process is the controller; others only read, and the journal must be there.

    Raises:
        RunError: a line of the journal is damaged.
    """

    def __init__(
        self, folder: Path, name: str, search: Search, directions: Sequence[str], writing: bool = False
    ) -> None:
        self.search = search
        path = folder / JOURNAL
        if writing:
            folder.mkdir(parents=True, exist_ok=True)
            _mend(path)
        _check(path)
        with _quietly():
            lock = JournalFileOpenLock(str(path))
            self._storage = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
            if writing and not self._storage.get_all_studies():
                optuna.create_study(storage=self._storage, study_name=name, directions=_long(directions))
            self._study = optuna.load_study(
                study_name=name, storage=self._storage, sampler=optuna.samplers.RandomSampler(0)
            )

    @property
    def about(self) -> dict[str, Any]:
        """What the trials have in common, empty where nobody has said it yet."""
        return dict(self._study.user_attrs.get("about", {}))

    def set_about(self, about: Mapping[str, Any]) -> None:
        """Say what the trials have in common."""
        self._study.set_user_attr("about", dict(about))

    def trials(self) -> list[Trial]:
        """Every trial, oldest first."""
        return [self._trial(frozen) for frozen in self._frozen()]

    def propose(self) -> Proposal:
        """What to try next; the same journal gives the same answer."""
        frozen = self._frozen()
        space = self.search.space
        with _quietly():
            study = self._copy(
                _imputed(frozen, self._study.directions), _sampler(self.search, len(frozen)), self._study.directions
            )
            study.ask({key: distribution(dimension) for key, dimension in space.items()})
            asked = study.get_trials(deepcopy=False)[-1]
        params = {key: _short(space[key], param) for key, param in asked.params.items()}
        values = {key: value_of(space[key], param) for key, param in params.items()}
        return Proposal(values, params, asked.distributions, asked.system_attrs)

    def again(self, number: int) -> Proposal:
        """The values of a trial, to be tried again."""
        old = self._frozen()[number]
        return Proposal(self._trial(old).values, old.params, old.distributions, {})

    def add(self, proposal: Proposal, arm: str, identity: str, again_of: int | None = None) -> Trial:
        """Write down a trial that is about to run."""
        labels = {key: label_of(value) for key, value in proposal.values.items()}
        folder = folder_name(arm, identity) if identity else None
        about = {"arm": arm, "identity": identity, "folder": folder, "overrides": labels, "again_of": again_of}
        with _quietly():
            self._study.add_trial(
                create_trial(
                    state=TrialState.RUNNING,
                    params=dict(proposal.params),
                    distributions=dict(proposal.distributions),
                    user_attrs=about,
                    system_attrs=dict(proposal.marks),
                )
            )
        return self.trials()[-1]

    def report(self, number: int, step: int, value: float) -> None:
        """Write down what a running trial has reached at a step."""
        self._storage.set_trial_intermediate_value(self._id(number), step, value)

    def judge(self, number: int, every: int) -> bool:
        """Whether a running trial is to be stopped at the last step that was reported; written down and kept.

        Args:
            number: of the trial.
            every: steps between two looks (runtime.validate_every).
        """
        assert self.search.pruning is not None
        frozen = self._frozen()
        own = frozen[number]
        pruner = _pruner(self.search.pruning, every)
        with _quietly():
            study = self._copy(frozen, optuna.samplers.RandomSampler(0), ["minimize"])  # what is looked at is a loss
            stopping = pruner.prune(study, study.get_trials(deepcopy=False)[number])
            marks = study.get_trials(deepcopy=False)[number].system_attrs
        new = {key: value for key, value in marks.items() if key not in own.system_attrs}
        judged = {"step": own.last_step, "stop": bool(stopping), "marks": new}
        self._storage.set_trial_user_attr(self._id(number), "judged", judged)
        return bool(stopping)

    def tell(self, number: int, how: Ending, scores: Sequence[float] = (), why: str = "", again: bool = False) -> None:
        """Write down how a running trial has ended.

        Args:
            number: of the trial.
            how: complete, pruned or failed.
            scores: by objective, of a complete one.
            why: of a failed one.
            again: whether a failed one is to be tried again.
        """
        if how == "failed":
            self._storage.set_trial_user_attr(self._id(number), "failed", {"why": why, "again": again})
        with _quietly():
            self._study.tell(number, list(scores) or None, state=ENDINGS[how])

    def importances(self, objective: int) -> dict[str, float]:
        """How much each key decides whether a trial is among the best by an objective: PED-ANOVA, shares of one."""
        sign = -1.0 if self._study.directions[objective].name == "MAXIMIZE" else 1.0
        done = sum(trial.state == "complete" for trial in self.trials())
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=min(0.5, max(0.1, 5 / max(1, done))))
        with _quietly():
            found = optuna.importance.get_param_importances(
                self._study, evaluator=evaluator, target=lambda trial: sign * trial.values[objective]
            )
        return dict(found)

    def best(self) -> list[int]:
        """Numbers of the best trial, or of those that none beats in every objective."""
        with _quietly():
            return sorted({trial.number for trial in self._study.best_trials})

    def _frozen(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _id(self, number: int) -> int:
        return int(self._frozen()[number]._trial_id)

    def _copy(self, frozen: Sequence[FrozenTrial], sampler: Any, directions: Sequence[Any]) -> Any:
        """The study in memory, with what pruners noted about trials when they were judged."""
        study = optuna.create_study(storage=InMemoryStorage(), directions=directions, sampler=sampler)
        for trial in frozen:
            own = copy.copy(trial)
            own.system_attrs = {**trial.system_attrs, **trial.user_attrs.get("judged", {}).get("marks", {})}
            study.add_trial(own)
        return study

    def _trial(self, frozen: FrozenTrial) -> Trial:
        said = frozen.user_attrs
        complete = frozen.state is TrialState.COMPLETE
        values = {key: value_of(self.search.space[key], param) for key, param in frozen.params.items()}
        return Trial(
            frozen.number, STATES[frozen.state], values, said["arm"], said["identity"],
            tuple(frozen.values) if complete else (), dict(frozen.intermediate_values), said.get("judged", {}),
            said["again_of"], said.get("failed", {}),
        )  # fmt: skip


def _imputed(frozen: Sequence[FrozenTrial], directions: Sequence[Any]) -> list[FrozenTrial]:
    """The trials with failed ones counted as worse than any so far, so that samplers keep away from what fails.

    That is what they do with values that do not go together, or with a step size that diverges; left out as failed,
    such trials would be asked for again and again.
    """
    complete = [trial.values for trial in frozen if trial.state is TrialState.COMPLETE]
    if not complete:
        return list(frozen)
    worst = [
        math.nextafter(max(values), math.inf)
        if direction.name == "MINIMIZE"
        else math.nextafter(min(values), -math.inf)
        for direction, values in zip(directions, zip(*complete, strict=True), strict=True)
    ]
    found = []
    for trial in frozen:
        if trial.state is TrialState.FAIL:
            trial = copy.copy(trial)
            trial.values = worst
            trial.state = TrialState.COMPLETE
        found.append(trial)
    return found


def _mend(path: Path) -> None:
    """Take away what a controller that was killed left: a last line cut short, and the journal's own lock.

    Only the one controller writes, so nobody else can hold that lock.
    """
    Path(f"{path}.lock").unlink(missing_ok=True)
    if path.exists():
        whole = path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            with path.open("r+b") as file:
                file.truncate(end)


def _check(path: Path) -> None:
    """Raise where a line of the journal, apart from one that is being written, is not a decision of a search."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            decision = json.loads(line)
        except (ValueError, RecursionError):
            decision = None
        if not isinstance(decision, dict) or type(decision.get("op_code")) is not int:
            raise RunError(
                f"{path}:{number}: is damaged: it is not a decision of a search; put the file back from a copy, or "
                "remove the search's folder to begin anew (trials that are done are found again)"
            )


def _sampler(search: Search, number: int) -> Any:
    seed = int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])
    if search.sampler == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    if search.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=min(50, max(4, search.trials // 5)))
    return (optuna.samplers.TPESampler if search.sampler == "tpe" else optuna.samplers.RandomSampler)(seed=seed)


def _pruner(pruning: Pruning, every: int) -> Any:
    first = pruning.first or every
    if pruning.method == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=pruning.startup, n_warmup_steps=first)
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=pruning.factor)


def _long(directions: Sequence[str]) -> list[optuna.study.StudyDirection]:
    kinds = optuna.study.StudyDirection
    return [kinds.MINIMIZE if direction == "min" else kinds.MAXIMIZE for direction in directions]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without Optuna's warnings to those who program with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
