"""What sections of a spec are made of: strict frozen models, the choice of a part, and the mark of a slot."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section of a file. What stands below a field says what it means, and is what `keys` prints."""

    written_as: ClassVar[str] = "mapping"  # how a file has it

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Part(BaseModel):
    """The choice of a part for a slot: its name, and its parameters beside it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")
    name: str

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def __getattr__(self, item: str) -> Any:  # for type checkers: parameters are attributes
        return super().__getattr__(item)  # type: ignore[misc]


class Slot:
    """Marks a field of the spec as a slot of the catalogue."""

    def __init__(self, name: str) -> None:
        self.name = name
