"""`tune` as written in an experiment file: each arm finds values of some keys before the seeds that count."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from registry.schema.labels import label_of
from registry.schema.parameter_types import NonNegativeInt
from registry.schema.percentages import share_of
from registry.schema.search import Early
from registry.schema.section import Section


class Tune(Section):
    """Every arm tries the same candidates in short trainings on seeds of their own, and is then trained with its best.

    `{learning.learning_rate: [5e-4, 1e-3, 2e-3, 4e-3], budget: 20%, metric: validation_loss}`. Several keys are
    combined, all with all.
    """

    values: dict[str, tuple[Any, ...]] = Field(min_length=1)
    """By key of `learning`: the candidates. A dotted key beside the other keys is short for one in here."""
    budget: float = Field(default=0.2, gt=0, le=10)
    """The share of one training of an arm, in steps, that all candidates of this arm take together; such as 20%."""
    metric: Early = "validation_loss"
    """What candidates are compared by: the least is best."""
    seeds: tuple[NonNegativeInt, ...] = (10_000,)
    """Of the short trainings; none of them may be a seed of the experiment."""

    @model_validator(mode="before")
    @classmethod
    def _keys_beside(cls, value: Any) -> Any:
        """Take dotted keys beside the others for candidates."""
        if not isinstance(value, dict):
            return value
        beside = {key: item for key, item in value.items() if "." in key}
        rest = {key: item for key, item in value.items() if key not in beside}
        values = rest.get("values", {})
        return {**rest, "values": {**values, **beside}} if beside and isinstance(values, dict) else value

    @field_validator("budget", mode="before")
    @classmethod
    def _percent(cls, value: Any) -> Any:
        """`20%` or 0.2."""
        share = share_of(value)
        return float(share) if isinstance(share, int) and not isinstance(share, bool) else share

    @field_validator("values")
    @classmethod
    def _distinct_values(cls, value: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key, candidates in value.items():
            labels = [label_of(one) for one in candidates]
            if len(labels) < 2 or len(set(labels)) < len(labels):
                raise ValueError(f"expected at least two candidates for {key}, each once")
        return value

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("expected at least one seed, each once")
        return value
