"""A claim as written in an experiment file: of order, of equivalence, of trend or of interaction."""

import math
import re
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt, field_validator

from registry import strict_yaml
from registry.schema.labels import label_of
from registry.schema.section import Section

MarginUnit = Literal["share", "floor", "score"]
FORMS = ("better", "equivalent", "improving", "interacts_with")  # the key that says which kind of claim it is

_MARGIN = re.compile(r"(?P<number>[^\s%a-zA-Z]+(?:[eE][-+]?[0-9]+)?)\s*(?P<unit>%|floors?)")


class Margin(Section):
    """How far apart equivalent scores may be.

    As a `share` of the first arm's mean score (0.05 for `5%`), in `floor`s (the mean score of real halves against each
    other), or in the `score`'s own unit.
    """

    written_as: ClassVar[str] = "float (> 0) | str"

    value: float
    unit: MarginUnit

    def __str__(self) -> str:
        if self.unit == "share":
            return f"{100 * self.value:g}%"
        return f"{self.value:g}" + ("" if self.unit == "score" else " floor" if self.value == 1 else " floors")


class Claim(Section):
    """What an experiment is expected to show on an axis, by exactly one of four keys.

    Order: `better` scores better than `worse` (left out: than each other value of the axis), and with `holds_over` at
    each value of another axis. Equivalence: the scores of `equivalent`, pair by pair, differ by less than `margin`.
    Trend: scores improve along `improving`, worst first. Interaction: what a value of the axis changes differs between
    the values of `interacts_with`.
    """

    axis: str
    """The key that differs, or its last words where no other axis ends so; `arms` for named arms."""
    better: str | None = None
    """Order: the value that is expected to score better."""
    worse: str | None = None
    """Order: than which one; left out: than each other value of the axis."""
    holds_over: str | None = None
    """Order: another axis of the grid, such as model.size, at each of whose values the order is expected to hold."""
    equivalent: tuple[str, ...] | None = None
    """Equivalence: the values that are expected to score alike, pair by pair."""
    margin: Margin | None = None
    """Equivalence: within what: 5% of the first value's score, 1 floor, or a number in the score's unit."""
    improving: tuple[str, ...] | None = None
    """Trend: values along which scores are expected to improve, worst first."""
    interacts_with: str | None = None
    """Interaction: another axis of the grid, between whose values the effect of each value of `axis` should differ."""
    metric: tuple[str, ...] = ("fvd",)
    """The score, or a list of scores: judged in each, and the answer says whether they agree."""
    direction: Literal["min", "max"] | None = None
    """Which way the score is better; left out: as the metric says."""
    step: NonNegativeInt | None = None
    """The training step whose evaluations are judged, of `evaluate_at`; left out: the one that arms are compared at."""
    at_steps: tuple[NonNegativeInt, ...] | None = None
    """Steps of `evaluate_at`: judged at each, and whether the effect differs between the first and the last of them."""

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes that it names."""
        return tuple(axis for axis in (self.axis, self.holds_over, self.interacts_with) if axis is not None)

    @field_validator("better", "worse", mode="before")
    @classmethod
    def _label(cls, value: Any) -> Any:
        """Values may be written as on the axis: `better: 8` as well as `better: "8"`."""
        return None if value is None else label_of(value)

    @field_validator("equivalent", "improving", mode="before")
    @classmethod
    def _labels(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, tuple | list):
            raise ValueError("expected a list of values of the axis")
        return None if value is None else tuple(label_of(item) for item in value)

    @field_validator("metric", mode="before")
    @classmethod
    def _scores(cls, value: Any) -> Any:
        """One score may stand without a list."""
        return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value

    @field_validator("metric")
    @classmethod
    def _one_at_least(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("expected a score or a list of scores")
        return value

    @field_validator("margin", mode="before")
    @classmethod
    def _amount(cls, value: Any) -> Any:
        """`5%`, `1 floor`, or a number in the score's unit."""
        if value is None or isinstance(value, Margin):
            return value
        number = value
        unit: MarginUnit = "score"
        if isinstance(value, str) and (found := _MARGIN.fullmatch(value.strip())):
            number = strict_yaml.plain(found["number"])
            unit = "share" if found["unit"] == "%" else "floor"
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
            raise ValueError("expected a margin above zero: 5%, 1 floor, or a number in the score's unit")
        return Margin(value=number / 100 if unit == "share" else float(number), unit=unit)
