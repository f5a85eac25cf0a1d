"""`search` and `screen` as written in an experiment file."""

import math
import re
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from registry.schema.labels import label_of
from registry.schema.parameter_types import Count, NonNegativeInt, PositiveInt
from registry.schema.section import Section

# What the training loop writes to metrics.jsonl, and so what can be looked at before a replicate is done.
Early = Literal[
    "validation_loss",
    "validation_loss_band_0",
    "validation_loss_band_1",
    "validation_loss_band_2",
    "validation_loss_band_3",
]


def raw_name(metric: str) -> str:
    """Return what a metric of `Early` is called that is of the weights themselves, and not of their average."""
    return f"raw_{metric}"


COUNTED = ("macs", "parameters")  # objectives that the spec says by itself
_TRIAL = re.compile(r"trial-\d+")


def is_trial(name: str) -> bool:
    """Whether an arm's name is that of a search's trial, which no arm of a file may have."""
    return _TRIAL.fullmatch(name) is not None


class Dimension(Section):
    """The values of one key that a search may choose: a span from `low` to `high`, or `choices`.

    A span of two integers is searched in integers. `log` searches in orders of magnitude, `step` in whole steps.
    """

    low: int | float | None = None
    """The lowest value; two integers are searched in integers."""
    high: int | float | None = None
    """The highest value."""
    log: bool = False
    """Whether values are searched in orders of magnitude."""
    step: int | float | None = None
    """Whole steps from `low` that values are taken in."""
    choices: tuple[Any, ...] | None = None
    """Values to choose from, instead of a span; a list is short for it."""

    @model_validator(mode="after")
    def _one_kind(self) -> "Dimension":
        span = [name for name in ("low", "high", "step") if getattr(self, name) is not None]
        if self.choices is not None:
            if span or self.log:
                raise ValueError("expected low and high, or choices, not both")
            labels = [label_of(choice) for choice in self.choices]
            if len(labels) < 2 or len(set(labels)) < len(labels):
                raise ValueError("expected at least two choices, each once")
            return self
        if self.low is None or self.high is None:
            raise ValueError("expected low and high, such as {low: 1e-4, high: 1e-2, log: true}, or choices")
        if not all(math.isfinite(bound) for bound in (self.low, self.high)) or self.low >= self.high:
            raise ValueError("expected low below high")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("expected low above zero and no step, with log")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError("expected a step above zero that fits between low and high")
        if self.whole and isinstance(self.step, float):
            raise ValueError("expected a whole step between whole numbers")
        return self

    @property
    def whole(self) -> bool:
        """Whether it is a span of integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def edges(self) -> tuple[Any, ...]:
        """Values that show whether the key takes what the dimension offers: every choice, or both ends."""
        return self.choices if self.choices is not None else (self.low, self.high)


class Objective(Section):
    """A score that the search makes small or large."""

    metric: str
    """A score, or macs or parameters."""
    direction: Literal["min", "max"] | None = None
    """Which way it is better; left out: as the metric says."""


class Pruning(Section):
    """Which trials are stopped early, by what they have at fixed steps (runtime.validate_every).

    `median`: worse than the median of earlier trials at the same step. `halving`: at steps `first`, `first` * `factor`,
    … only the best share 1/`factor` of the trials that got there goes on.
    """

    method: Literal["median", "halving"]
    """Stops what is worse than the median of earlier trials, or all but the best share 1/`factor`."""
    metric: Early = "validation_loss"
    """What trials are compared by."""
    startup: NonNegativeInt = 5
    """median: so many trials are run to their end first."""
    first: PositiveInt | None = None
    """The first step that is looked at; left out: runtime.validate_every."""
    factor: int = Field(default=3, ge=2)
    """halving: one in so many trials goes on, to so many times the step."""

    @model_validator(mode="after")
    def _own_keys(self) -> "Pruning":
        foreign = "factor" if self.method == "median" else "startup"
        if getattr(self, foreign) != Pruning.model_fields[foreign].default:
            raise ValueError(f"expected no {foreign} with {self.method}")
        return self


class Search(Section):
    """A search over keys of the spec; its trials are replicates like others, and no arms of the file."""

    space: dict[str, Dimension] = Field(min_length=1)
    """By key of the spec: the values that may be chosen."""
    objective: tuple[Objective, ...] = (Objective(metric="validation_loss"),)
    """The scores that are made small or large; a name, a mapping, or a list of such."""
    sampler: Literal["tpe", "gp", "nsga2", "random"] = "tpe"
    """Optuna's sampler."""
    seed: NonNegativeInt = 0
    """Of the sampler."""
    trials: Count = 30
    """How many points are tried."""
    parallel: Count = 1
    """Trials at once."""
    seeds: tuple[NonNegativeInt, ...] | None = None
    """Of each trial; left out: the first of the experiment's."""
    pruning: Pruning | None = None
    """Which trials are stopped early; median or halving alone will do."""

    @field_validator("space", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """A list of values is short for choices."""
        if not isinstance(value, dict):
            return value
        return {key: {"choices": item} if isinstance(item, tuple | list) else item for key, item in value.items()}

    @field_validator("objective", mode="before")
    @classmethod
    def _objectives(cls, value: Any) -> Any:
        """`fvd`, `{metric: fvd}`, or a list of such."""
        many = value if isinstance(value, tuple | list) else (value,)
        return tuple({"metric": one} if isinstance(one, str) else one for one in many)

    @field_validator("objective")
    @classmethod
    def _distinct(cls, value: tuple[Objective, ...]) -> tuple[Objective, ...]:
        names = [objective.metric for objective in value]
        if len(set(names)) < len(names) or not names:
            raise ValueError("expected at least one objective, each once")
        if all(name in COUNTED for name in names):
            raise ValueError(f"expected an objective that is measured: {' and '.join(names)} needs no training")
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("expected at least one seed, each once")
        return value

    @field_validator("pruning", mode="before")
    @classmethod
    def _pruning(cls, value: Any) -> Any:
        """`none`, `median` and `halving` may be written without a mapping."""
        if value == "none":
            return None
        return {"method": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_to_prune_by(self) -> "Search":
        if self.pruning is not None and len(self.objective) > 1:
            raise ValueError("expected no pruning with several objectives: a trial bad at one may be best at another")
        return self


class Screen(Section):
    """Successive halving over the arms: all run to the first rung, the best share of them to the next, and so on.

    Arms are compared by a loss on fixed clips, for which they pause at the rungs; or by a score of clips that are
    sampled there, in a cheaper way than the arms' own where `evaluation` says so.
    """

    rungs: tuple[PositiveInt, ...] = Field(min_length=1)
    """Steps at which arms are compared: for a loss multiples of runtime.validate_every before the last step."""
    keep: float = Field(default=1 / 3, gt=0, lt=1)
    """The share of arms that goes on from each rung, one at least."""
    metric: str = "validation_loss"
    """What arms are compared by: validation_loss, one of its noise bands, or a score of sampled clips."""
    evaluation: dict[str, Any] = Field(default_factory=dict)
    """By key of sampling or scoring: what is other at the rungs, where metric is a score; such as fewer clips."""

    @property
    def by_score(self) -> bool:
        """Whether clips are sampled at the rungs."""
        return self.metric not in get_args(Early)

    @field_validator("rungs")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("expected steps in ascending order, each once")
        return value

    @model_validator(mode="after")
    def _sampled_for_a_score(self) -> "Screen":
        if self.evaluation and not self.by_score:
            raise ValueError(f"expected no evaluation with {self.metric}: nothing is sampled for it; name a score")
        return self
