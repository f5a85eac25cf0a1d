"""Where a class gets its attributes from, as Python's method resolution order says, read without importing anything.

Base classes are followed through imports, re-exports, `A = B` and `from module import *` as far as own modules go
(`registry.parts.sources`). A base that is not own (`torch.nn.Module`, `Protocol`) or is made by an expression
(`namedtuple(…)`) adds nothing. A name that nothing in an own module stands for is an error, as it is for Python.
"""

import ast
import builtins
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from registry.errors import SpecError, did_you_mean
from registry.parts.sources import Module, Sources, dotted

BUILT_IN_NAMES = frozenset(dir(builtins))

Way = frozenset[tuple[str, tuple[str, ...]]]  # (module, dotted name) that were looked up on the way to a name


class NotThereError(Exception):
    """A name that an own module neither defines nor imports; the text is for people."""


@dataclass(frozen=True)
class ClassSource:
    """A class statement and the module that it stands in."""

    module: Module
    node: ast.ClassDef

    @property
    def name(self) -> str:
        """The class with its module, dotted."""
        return f"{self.module.name}.{self.node.name}"

    @property
    def where(self) -> str:
        """file:line of the class statement."""
        return f"{self.module.path}:{self.node.lineno}"

    def methods(self) -> dict[str, ast.FunctionDef]:
        """The functions that the class itself defines, by name."""
        return {node.name: node for node in self.node.body if isinstance(node, ast.FunctionDef)}


def lineage(cls: ClassSource, sources: Sources) -> list[ClassSource]:
    """The class and those of its bases that are read, in the order in which Python looks attributes up.

    Raises:
        SpecError: a base that is not there, inherits from itself, or an order of bases that Python refuses.
    """
    try:
        return _linear(cls, sources, (), {})
    except RecursionError:
        raise SpecError(
            f"{cls.where}: class {cls.node.name} has more bases above each other than can be read"
        ) from None


def _linear(
    cls: ClassSource, sources: Sources, below: tuple[str, ...], done: dict[str, list[ClassSource]]
) -> list[ClassSource]:
    """The lineage of a class that is a base of the classes `below`; `done` has those that were worked out before."""
    if cls.name in below:
        circle = " -> ".join([*below[below.index(cls.name) :], cls.name])
        raise SpecError(f"{cls.where}: class {cls.node.name} inherits from itself: {circle}")
    if cls.name not in done:
        bases = _bases(cls, sources)
        merged = _merged([*(_linear(base, sources, (*below, cls.name), done) for base in bases), bases])
        if merged is None:
            names = ", ".join(base.node.name for base in bases)
            raise SpecError(
                f"{cls.where}: class {cls.node.name}: Python finds no order of lookup for its bases {names}"
            )
        done[cls.name] = [cls, *merged]
    return done[cls.name]


def _merged(orders: list[list[ClassSource]]) -> list[ClassSource] | None:
    """The C3 merge: the next is the first head that is in no other order's tail; None where there is no such head."""
    merged: list[ClassSource] = []
    left = [order for order in orders if order]
    while left:
        tails = {cls.name for order in left for cls in order[1:]}
        head = next((order[0] for order in left if order[0].name not in tails), None)
        if head is None:
            return None
        merged.append(head)
        left = [rest for order in left if (rest := [cls for cls in order if cls.name != head.name])]
    return merged


def _bases(cls: ClassSource, sources: Sources) -> list[ClassSource]:
    """The bases that are own classes, as written."""
    found = []
    for written in cls.node.bases:
        path = dotted(written.value if isinstance(written, ast.Subscript) else written)  # Base or Base[T]
        try:
            base = class_named(path, cls.module, sources) if path else None
        except NotThereError as error:
            raise SpecError(f"{cls.where}: class {cls.node.name}: no base {'.'.join(path)!r}: {error}") from None
        if base is not None:
            found.append(base)
    return found


def class_named(path: Sequence[str], module: Module, sources: Sources, way: Way = frozenset()) -> ClassSource | None:
    """The class that a dotted name stands for in a module.

    Args:
        path: the dotted name's parts.
        module: where the name is written.
        sources: reads other modules.
        way: what was looked up before, on the way here.

    Returns:
        None for what is not own, or is no class statement.

    Raises:
        NotThereError: an own module is asked for a name that it does not have.
        SpecError: an own module on the way cannot be read.
    """
    first, rest = path[0], tuple(path[1:])
    if (module.name, tuple(path)) in way:
        raise NotThereError(f"the imports of {first!r} go round in a circle through {module.name}")
    way |= {(module.name, tuple(path))}
    for statement in module.definitions.get(first, ()):
        if isinstance(statement, ast.ClassDef) and not rest:
            return ClassSource(module, statement)
        other = dotted(statement.value) if isinstance(statement, ast.Assign) else ()
        return class_named((*other, *rest), module, sources, way) if other else None
    if targets := module.imports.get(first):
        places = [(target.module, (*filter(None, [target.name]), *rest)) for target in targets]
        return _first_found(places, sources, way)
    with contextlib.suppress(NotThereError):
        if found := _first_found([(star, tuple(path)) for star in module.stars], sources, way):
            return found
    unread = any(sources.read(star) is None for star in module.stars)
    if first in BUILT_IN_NAMES or unread or "__getattr__" in module.definitions:
        return None
    names = [*module.definitions, *module.imports]
    raise NotThereError(f"{module.name} neither defines nor imports {first!r}; {did_you_mean(first, names)}")


def _first_found(places: list[tuple[str, tuple[str, ...]]], sources: Sources, way: Way) -> ClassSource | None:
    """Return what the first (module, name) has: in `try: from a import X`, `except ImportError: from b …` either may.

    Raises:
        NotThereError: every module is read, and has no such name.
    """
    missing: list[NotThereError] = []
    for module, path in places:
        try:
            if (found := _within(module, path, sources, way)) is not None:
                return found
        except NotThereError as error:
            missing.append(error)
    if missing and len(missing) == len(places):
        raise missing[0]
    return None


def _within(module: str, path: Sequence[str], sources: Sources, way: Way) -> ClassSource | None:
    """The class that a dotted name stands for in the module, or below the package, of that name."""
    if not path or not sources.is_own(module):
        return None
    below = f"{module}.{path[0]}"
    found = sources.read(module)
    if found is not None and (found.binds(path[0]) or sources.file(below) is None):
        return class_named(path, found, sources, way)
    if sources.file(below) is None and len(path) == 1:
        raise NotThereError(f"there is no Python module {module!r}")
    return _within(below, path[1:], sources, way)  # a package, which may also be a folder without __init__.py
