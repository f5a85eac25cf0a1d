"""What a part asks of the rest of a spec, as it says itself: the fact `requires`, judged without importing the part.

    requires = (
        ("data.frames", "data.frames % temporal_stride == 0", "tubelets of {temporal_stride} frames do not divide …"),
    )

A rule is (key, condition, message): where the condition does not hold, the message is told at the key. The condition is
arithmetic, comparison, `and`, `or`, `not`, `in` and `a if b else c` over

- `temporal_stride`: a parameter of the part, else a fact of it; `name`: the part's name;
- `data.frames`: a key of the spec; of a slot it is the name of the part there, of a list of parts their names;
- `model.blocks.branches`: a parameter, else a fact, of the part that stands in that slot.

Rules of base classes hold for a part as well; one with the key and condition of a base's tells its own message instead.
A base's rule is loosened by a fact that its condition asks for; a parameter that the part has dropped becomes one.

A condition that asks another part for what that part does not have does not apply, and holds. The key is a key of the
spec, a parameter of the part, or, for the part itself, "" or a fact. A message shows `{data.frames % 2}` by its value,
or as the text `data.frames % 2` where a name in it has none.
"""

import ast
import operator
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from registry.errors import did_you_mean
from registry.parts.sources import dotted
from registry.schema.spec import sections, slot_fields

Look = Callable[[tuple[str, ...]], Any]  # dotted name -> its value in a spec; raises AbsentError
OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.USub: operator.neg, ast.Not: operator.not_,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_SHOWN = re.compile(r"\{([^{}]*)\}")


class AbsentError(Exception):
    """A name that has no value in this spec, so that a rule does not apply."""


@dataclass(frozen=True)
class Rule:
    """One requirement of a part.

    Args:
        key: where the message is told, from the spec's root or, for a parameter of the part, from the part.
        own: whether the key starts at the part.
        condition: what must hold.
        message: what is told otherwise: texts and expressions, in turn.
    """

    key: str
    own: bool
    condition: ast.expr
    message: tuple[str | ast.expr, ...]

    def broken(self, look: Look) -> str | None:
        """The message where the condition does not hold, None where it holds or does not apply.

        Raises:
            ValueError: the condition cannot be judged, because it divides by zero, say.
        """
        try:
            if _value(self.condition, look):
                return None
            return "".join(piece if isinstance(piece, str) else _shown(piece, look) for piece in self.message)
        except AbsentError:
            return None
        except (TypeError, ArithmeticError) as error:
            raise ValueError(f"the rule {ast.unparse(self.condition)!r} cannot be judged: {error}") from None


def with_inherited(written: Iterable[Any]) -> tuple[Any, ...]:
    """Return the rules of a part, its bases' first, as they are written.

    Args:
        written: the value of `requires` in each class that has one, the furthest base first.

    Raises:
        ValueError: not rules; the text says why.
    """
    found: dict[Any, Any] = {}
    for rules in written:
        if not isinstance(rules, tuple | list):
            raise ValueError('requires: write a tuple of rules, each ("key", "condition", "message")')
        for rule in rules:
            found[repr(rule[:2]) if isinstance(rule, tuple | list) else repr(rule)] = rule
    return tuple(found.values())


def read_rules(written: Iterable[Any], parameters: Collection[str], facts: Collection[str]) -> tuple[Rule, ...]:
    """Return the rules that a part's `requires` holds, with those of its bases.

    Args:
        written: rules as `with_inherited` returns them.
        parameters: names of the part's parameters.
        facts: names of the part's facts.

    Raises:
        ValueError: not rules; the text says why.
    """
    return tuple(_rule(rule, parameters, {"name", *parameters, *facts}) for rule in written)


def _rule(written: Any, parameters: Collection[str], known: Collection[str]) -> Rule:
    if not isinstance(written, tuple | list) or len(written) != 3 or not all(isinstance(text, str) for text in written):
        raise ValueError(f'requires: a rule is ("key", "condition", "message"), three texts; got {written!r}')
    key, condition, message = written
    own = not key or key in known  # a fact has no key of its own: the part's
    if not own:
        try:
            _check_name(tuple(key.split(".")), known)
        except ValueError as error:
            raise ValueError(f"requires: the key {key!r}: {error}") from None
    pieces = [_expression(piece, known) if place % 2 else piece for place, piece in enumerate(_SHOWN.split(message))]
    return Rule("" if own and key not in parameters else key, own, _expression(condition, known), tuple(pieces))


def _expression(text: str, known: Collection[str]) -> ast.expr:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        _check(tree, known)
    except SyntaxError as error:
        raise ValueError(f"requires: {text!r} is not an expression: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"requires: {text!r}: {error}") from None
    return tree


def _check(node: ast.expr, known: Collection[str]) -> None:
    """Refuse all that `_value` does not know."""
    if name := dotted(node):
        return _check_name(name, known)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | None):
        return None
    operators: list[ast.AST] = []
    if isinstance(node, ast.BinOp | ast.UnaryOp):
        operators = [node.op]
    elif isinstance(node, ast.Compare):
        operators = list(node.ops)
    elif not isinstance(node, ast.BoolOp | ast.IfExp | ast.Tuple | ast.List):
        raise ValueError(f"{ast.unparse(node)!r} is not arithmetic, a comparison, or a name of the spec")
    if any(type(op) not in OPERATORS for op in operators):
        raise ValueError(f"{ast.unparse(node)!r} has an operator that rules do not have")
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            _check(child, known)
    return None


def _check_name(name: tuple[str, ...], known: Collection[str]) -> None:
    """Refuse a name that is neither the part's own nor a key of the spec."""
    if len(name) == 1:
        if name[0] not in known:
            raise ValueError(f"the part has no {name[0]!r}; {did_you_mean(name[0], known)}")
        return
    section, key, *more = name
    if section not in sections():
        raise ValueError(f"the spec has no section {section!r}; {did_you_mean(section, sections())}")
    keys = sections()[section].model_fields
    if key not in keys:
        raise ValueError(f"{section} has no key {key!r}; {did_you_mean(key, keys)}")
    if more and (len(more) > 1 or (section, key) not in slot_fields()):
        raise ValueError(f"{'.'.join(name)!r}: only a slot's part has parameters and facts, each of one name")


def _value(node: ast.expr, look: Look) -> Any:
    """The value of an expression that `_check` let pass."""
    if name := dotted(node):
        return look(name)
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_value(item, look) for item in node.elts)
    if isinstance(node, ast.UnaryOp):
        return OPERATORS[type(node.op)](_value(node.operand, look))
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_number(node.left, look), _number(node.right, look))
    if isinstance(node, ast.IfExp):
        return _value(node.body if _value(node.test, look) else node.orelse, look)
    if isinstance(node, ast.BoolOp):
        wanted = isinstance(node.op, ast.Or)
        return wanted if any(bool(_value(item, look)) is wanted for item in node.values) else not wanted
    assert isinstance(node, ast.Compare)
    left = _value(node.left, look)
    for op, right in zip(node.ops, (_value(item, look) for item in node.comparators), strict=True):
        if not OPERATORS[type(op)](left, right):
            return False
        left = right
    return True


def _shown(node: ast.expr, look: Look) -> str:
    """The value of an expression of a message, or its source where a name in it has no value."""
    try:
        return str(_value(node, look))
    except AbsentError:
        return ast.unparse(node)


def _number(node: ast.expr, look: Look) -> int | float:
    value = _value(node, look)
    if not isinstance(value, int | float):
        raise TypeError(f"{ast.unparse(node)} is {value!r}, not a number")
    return value
