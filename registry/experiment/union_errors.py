"""Errors of keys that take a list or a section: pydantic tells what is wrong with the value as either.

`seeds` and `evaluate_at` are such keys. Only what is wrong with the kind that was written is of use to its author.
"""

from collections.abc import Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

OF_ANOTHER_KIND = ("tuple_type", "model_type")  # errors that say: this is not a list, or not a mapping


def as_written(model: type[BaseModel], items: Sequence[Any]) -> list[dict[str, Any]]:
    """Return errors without those of the kind that a value is not, each where it was written.

    Args:
        model: that was validated.
        items: pydantic's errors.
    """
    placed = [(*_place(model, item["loc"]), item) for item in items]
    told = {whole for _, whole, item in placed if item["type"] not in OF_ANOTHER_KIND}
    return [
        {**item, "loc": loc}
        for loc, whole, item in placed
        if whole is None or whole not in told or item["type"] not in OF_ANOTHER_KIND
    ]


def _place(model: type[BaseModel], loc: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Return an error's place without pydantic's names of kinds; and where the value of several kinds stands."""
    annotation: Any = model
    found: tuple[Any, ...] = ()
    whole: tuple[Any, ...] | None = None
    for step in loc:
        kind = _kind_called(annotation, str(step))
        if kind is not None:
            annotation, whole = kind, found
        else:
            annotation, found = below(annotation, str(step)), (*found, step)
    return found, whole


def _kind_called(annotation: Any, name: str) -> Any:
    """Return the list or section of a union that pydantic names so, None where it is no such name."""
    if get_origin(annotation) not in (Union, UnionType):
        return None
    for kind in get_args(annotation):
        if get_origin(kind) is tuple and name.startswith("tuple["):
            return kind
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__name__ in name:
            return kind
    return None


def below(annotation: Any, step: str) -> Any:
    """Return the annotation of what stands at a field, an item of a list, or a key of a mapping."""
    for kind in get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,):
        if get_origin(kind) is tuple:
            return get_args(kind)[0]
        if get_origin(kind) is dict:
            return get_args(kind)[1]
        if isinstance(kind, type) and issubclass(kind, BaseModel) and step in kind.model_fields:
            return kind.model_fields[step].annotation
    return None
