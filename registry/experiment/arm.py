"""An arm of an experiment: a name, its place on the axes, and its spec."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from registry.schema.spec import Spec


@dataclass(frozen=True)
class Arm:
    """One resolved point of an experiment, named by what differs from the baseline."""

    name: str
    axes: Mapping[str, str]  # axis -> the label of this arm's value on it
    spec: Spec = field(repr=False)

    @cached_property
    def identity(self) -> str:
        return self.spec.identity
