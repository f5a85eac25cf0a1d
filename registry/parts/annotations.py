"""The annotation of a part's parameter -> the type that it names: looked up in the source, never evaluated."""

import ast
import contextlib
import operator
from functools import reduce
from typing import Any, Literal

from registry.errors import did_you_mean, shortened
from registry.schema.parameter_types import NAMES


def type_named(node: ast.expr) -> Any:
    """Return the type that an annotation names.

    Args:
        node: a name of `registry.schema.parameter_types.NAMES`, `None`, `A | B`, `Literal[…]` of plain values, or
            `tuple[…]` of such types.

    Raises:
        ValueError: anything else; with the nearest name, or the annotation as written.
    """
    if isinstance(node, ast.Name):
        if node.id not in NAMES:
            raise ValueError(f"there is no type {node.id!r}; {did_you_mean(node.id, NAMES)}")
        return NAMES[node.id]
    if isinstance(node, ast.Constant) and node.value is None:
        return None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return reduce(operator.or_, (type_named(side) for side in (node.left, node.right)))
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in ("Literal", "tuple"):
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if node.value.id == "Literal":
            return Literal[tuple(_choice(item) for item in items)]
        return tuple[tuple(... if _is_ellipsis(item) else type_named(item) for item in items)]  # type: ignore[misc]
    raise ValueError(f"{shortened(ast.unparse(node))} is not a type that a parameter may have")


def _choice(node: ast.expr) -> Any:
    with contextlib.suppress(ValueError, TypeError):
        if isinstance(value := ast.literal_eval(node), (str, int, bool, type(None))):
            return value
    raise ValueError(f"{shortened(ast.unparse(node))} cannot stand in a Literal; write text or numbers")


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...
