"""What the rest of the workbench reads of a part without importing it: the facts, by slot, with their defaults.

A fact is a plain value assigned in the class body (`depth_multiple = 2`). A part inherits facts from its base classes
as Python does; what no class says is the default below. A part of any slot may also list the parts of another slot that
it goes with, under that slot's name with an `s` (`samplers = ("ddim",)`), and its rules under `requires`
(`registry.parts.rules`).
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry.schema.parameter_types import PositiveFloat, PositiveInt

PresetKey = Literal["resolution", "frames", "interval", "picking", "transform", "antialias", "flip"]


class Facts(BaseModel):
    """The facts of any slot."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    # Parameters that a spec only has where they are not the default: a part may get such later, and what was made
    # before keeps its identity.
    only_if_said: Annotated[tuple[str, ...], Field(strict=False)] = ()


class BlocksFacts(Facts):
    """Of the slot `blocks`."""

    block_parameters: PositiveFloat = 18  # learned parameters of one block, in units of width^2: the depth of a size
    depth_multiple: PositiveInt = 1  # `match` tries depths that are multiples of it
    branches: PositiveInt = 1  # attentions side by side that share the heads


class DatasetFacts(Facts):
    """Of the slot `dataset`."""

    needs_path: bool = True  # whether the videos lie somewhere, so that `data.path` must be given before they are read
    preset: dict[PresetKey, Any] = {}  # keys of `data` as the set is trained on in official code; what departs is told


class DetectorFacts(Facts):
    """Of the slot `detector`."""

    score_suffix: str | None = None  # end of its scores' names; None: the detector's name in brackets
    minimum_frames: PositiveInt = 1  # of a clip that it can measure
    caution: str = ""  # what whoever reads its scores has to know; printed below them


class MetricFacts(Facts):
    """Of the slot `metric`."""

    scores: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None  # names; None: the metric's own
    by_detector: bool = True  # whether it measures with the protocol's detector, not with an extractor of its own
    higher_is_better: bool = False
    undirected: Annotated[tuple[str, ...], Field(strict=False)] = ()  # those of its scores of which neither end is best
    meaning: str = ""  # what its number says, in a line; printed below tables of scores


class TemporalPositionFacts(Facts):
    """Of the slot `temporal_position`."""

    fixed_length: str = ""  # why a trained network takes no other number of frames; empty where it does


OF_SLOT: dict[str, type[Facts]] = {
    "blocks": BlocksFacts,
    "dataset": DatasetFacts,
    "detector": DetectorFacts,
    "metric": MetricFacts,
    "temporal_position": TemporalPositionFacts,
}


def read_by_the_workbench(slot: str, declared: dict[str, Any]) -> Facts:
    """The facts that are asked for, from those that a part declares.

    Raises:
        ValueError: a fact of the wrong type; the text names the fact.
    """
    try:
        return OF_SLOT.get(slot, Facts).model_validate(declared)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        said = first["msg"].removeprefix("Input should be ")
        raise ValueError(f"fact {first['loc'][0]!r}: expected {said}, got {first.get('input')!r}") from None
