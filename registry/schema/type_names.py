"""How the type of a key or a parameter is written for people."""

from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

SYMBOLS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))


def type_name(annotation: Any, constraints: Iterable[Any] = ()) -> str:
    """Return a type as a file's author thinks of it.

    `int (> 0)`, `float (>= 0, <= 1)`, `stride | linspace`, `str | null`, `list of int`, `mapping of list of any`.

    Args:
        annotation: of a field.
        constraints: its limits, as pydantic keeps them in the field's metadata.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [limit for mark in arguments[1:] for limit in getattr(mark, "metadata", [mark])]
        return type_name(arguments[0], [*limits, *constraints])
    if origin in (Union, UnionType):
        return " | ".join(type_name(argument) for argument in arguments)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is tuple:
        if arguments[-1:] == (...,):
            return f"list of {_one(type_name(arguments[0]))}"
        return f"[{', '.join(type_name(argument) for argument in arguments)}]"
    if origin is dict:
        return "mapping" if arguments[1] is Any else f"mapping of {_one(type_name(arguments[1]))}"
    if annotation is NoneType or annotation is None:
        return "null"
    if annotation is Any:
        return "any"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return str(getattr(annotation, "written_as", "mapping"))
    name = getattr(annotation, "__name__", str(annotation))
    limits = [
        f"{symbol} {_number(getattr(limit, attribute))}"
        for limit in constraints
        for attribute, symbol in SYMBOLS
        if getattr(limit, attribute, None) is not None
    ]
    return f"{name} ({', '.join(limits)})" if limits else name


def is_list(annotation: Any) -> bool:
    """Return whether a value of that type is a list, if it is not null."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return any(get_origin(kind) is tuple for kind in kinds)


def _one(name: str) -> str:
    return f"({name})" if " | " in name else name


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
