"""What sections of a spec are made of: strict frozen models, the choice of a part, and the mark of a slot."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


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
