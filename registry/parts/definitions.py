"""One statement of a module as code: what it says, apart from how it is written, and the names that it reads.

Comments, blank lines, line breaks, quotes and docstrings are not part of what a statement says. The form is our own and
not `ast.dump`, whose text differs between versions of Python.
"""

import ast
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from registry.parts.sources import Imported, bound_by, dotted, imported_by

Name = tuple[str, ...]  # a dotted name
_LEFT_OUT = {"ctx", "kind", "type_comment"}
# Decorators that do nothing beyond what they decorate, so that a definition below them matters only where it is used.
_QUIET = {
    *("part", "dataclass", "cache", "lru_cache", "contextmanager", "no_grad", "inference_mode", "runtime_checkable"),
    *("overload", "final", "total_ordering", "wraps", "singledispatch", "unique"),
}


@dataclass(frozen=True)
class Unit:
    """What a top-level statement says.

    Args:
        digest: of what it says.
        reads: the dotted names that it reads.
        imports: (name, what it stands for) of the imports within it, those within its functions included.
    """

    digest: str
    reads: frozenset[Name]
    imports: tuple[tuple[str, Imported], ...]


_units: WeakKeyDictionary[ast.stmt, Unit] = WeakKeyDictionary()  # read by this process


def unit_of(statement: ast.stmt, package: str) -> Unit:
    """Return what a statement says, read once.

    Args:
        statement: anything that may stand at the top level of a module.
        package: what its relative imports start from.
    """
    if statement not in _units:
        _units[statement] = _read(statement, package)
    return _units[statement]


def _read(statement: ast.stmt, package: str) -> Unit:
    said = hashlib.sha256()
    reads: set[Name] = set()
    imports: list[tuple[str, Imported]] = []
    todo: list[Any] = [statement]  # not recursive: an expression may be nested deeper than Python calls
    while todo:
        item = todo.pop()
        if not isinstance(item, ast.AST):
            said.update(_plain(item).encode("utf-8", "surrogatepass") + b"\0")
        elif isinstance(item, ast.Import | ast.ImportFrom):
            imports += imported_by(item, package)
        elif isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str):
            pass  # a docstring
        elif isinstance(item, ast.Name | ast.Attribute) and (name := dotted(item)):
            if isinstance(item, ast.Attribute) or isinstance(item.ctx, ast.Load):
                reads.add(name)
            said.update(f"{'.'.join(name)}\0".encode("utf-8", "surrogatepass"))
        else:
            said.update(f"{type(item).__name__}(\0".encode())
            todo += reversed([*_fields(item), ")"])
    return Unit(said.hexdigest(), frozenset(reads), tuple(imports))


def _fields(node: ast.AST) -> Iterable[Any]:
    """A node's fields, name and value in turn, without absent and empty ones, in which Python's versions differ."""
    for name, value in ast.iter_fields(node):
        if name in _LEFT_OUT or value is None or value == []:
            continue
        yield name
        items = value if isinstance(value, list) else [value]
        if isinstance(node, ast.JoinedStr):  # Python 3.12 ends some formats with an empty text
            items = [item for item in items if not (isinstance(item, ast.Constant) and item.value == "")]
        yield from items


def _plain(value: Any) -> str:
    return f"{value:x}" if type(value) is int else repr(value)  # Python refuses to write very long integers as decimals


def runs_at_import(statement: ast.stmt) -> bool:
    """Return whether a top-level statement may do more, when its module is imported, than to bind a name.

    Definitions, imports and assignments of plain expressions only bind names. What calls something may change the state
    of the program, as do assignments to attributes, and decorators that are not known to be quiet.
    """
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return any(_called(decorator) not in _QUIET for decorator in statement.decorator_list)
    if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass):
        return False
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        if statement.value is None:
            return False
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        plain = all(bound_by(statement)) and not any(
            isinstance(node, ast.Attribute | ast.Subscript) for target in targets for node in ast.walk(target)
        )
        return not plain or any(isinstance(node, ast.Call) for node in ast.walk(statement.value))
    return not is_passed_over(statement)


def _called(decorator: ast.expr) -> str:
    name = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
    return name[-1] if name else ""


def is_passed_over(statement: ast.stmt) -> bool:
    """Return whether importing its module passes over a statement: below `__name__ == "__main__"` or TYPE_CHECKING."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    test = statement.test
    if isinstance(test, ast.Compare):
        return isinstance(test.ops[0], ast.Eq) and dotted(test.left) == ("__name__",)
    return dotted(test)[-1:] == ("TYPE_CHECKING",)
