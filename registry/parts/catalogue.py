"""Names -> parts.

A part is a class under `@part(slot, name)`. The catalogue reads parts from their *source*, without importing it,
so that checking, planning and reading back never wait for torch; only `PartInfo.load()` imports the class.

The rule for a part's constructor: what stands before the bare `*` is given by the assembly (widths, shapes),
what stands after it is the part's parameters in the spec, each with a type from `registry.schema.parameter_types`
and a default. The docstring has a `Source:` line (paper section or equation) and an `Official code:` line that
begins with yes or no. A part inherits its constructor and its facts (`registry.parts.facts`) as any Python class does;
`registry.parts.classes` says which base classes are read. The docstring is its own: what is derived from official code
is not official code.

Parts stand in the order of the schema's slots; within a slot the built-in ones come first, by module and by their place
in the file, then those of installed packages, then plug-ins.
"""

import ast
import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, create_model

from registry.errors import SpecError, did_you_mean
from registry.parts.annotations import type_named
from registry.parts.classes import ClassSource, lineage
from registry.parts.discovery import built_in, installed
from registry.parts.facts import Facts, read_by_the_workbench
from registry.parts.part_code import explained
from registry.parts.rules import Rule, read_rules, with_inherited
from registry.parts.sources import ROOMS, Module, Sources
from registry.schema.spec import slot_fields
from registry.schema.type_names import type_name

Class = TypeVar("Class", bound=type)


def part(slot: str, name: str) -> Callable[[Class], Class]:
    """Mark a class as the part `name` of `slot`; the catalogue finds the mark in the source.

    Args:
        slot: the slot in which the part competes, e.g. `blocks`.
        name: the part's name in specs, e.g. `variant_1`; unique within its slot.
    """

    def mark(cls: Class) -> Class:
        cls.slot, cls.part_name = slot, name  # type: ignore[attr-defined]
        return cls

    return mark


@dataclass(frozen=True)
class PartInfo:
    """What the catalogue knows of a part without importing it."""

    slot: str
    name: str
    module: str
    class_name: str
    where: str  # file:line
    summary: str
    source: str
    official_code: bool
    parameters: type[BaseModel] = field(repr=False)
    facts: Mapping[str, Any] = field(repr=False)  # plain values assigned in class bodies, e.g. what it goes with
    rules: tuple[Rule, ...] = field(repr=False)  # what it asks of the rest of a spec
    from_outside: bool  # whether it is not one of the workbench's own parts
    _read: Facts = field(repr=False)

    @property
    def dotted(self) -> str:
        """The part's class, as Python names it."""
        return f"{self.module}.{self.class_name}"

    def fact(self, name: str) -> Any:
        """Return a fact that the workbench reads: as a class body says, else the slot's default."""
        return getattr(self._read, name)

    def known_facts(self) -> dict[str, Any]:
        """Return every fact by name, the slot's defaults included."""
        return {**self.facts, **self._read.model_dump()}

    def load(self) -> type:
        """Import the class; this is where torch comes in.

        Raises:
            SpecError: the module of a part from outside cannot be imported.
        """
        with explained([self] if self.from_outside else []):
            return getattr(importlib.import_module(self.module), self.class_name)

    def describe(self) -> dict[str, Any]:
        """The part as the `parts` verb prints it."""
        return {
            "slot": self.slot,
            "name": self.name,
            "summary": self.summary,
            "source": self.source,
            "official_code": self.official_code,
            "parameters": {
                name: {"type": type_name(info.annotation, info.metadata), "default": info.default}
                for name, info in self.parameters.model_fields.items()
            },
        }


class Catalogue:
    """Every part that can be named in a spec, by slot.

    Args:
        modules: dotted names of the modules to read, in order; a name taken twice in a slot is an error.
        incomplete: some module could not be read, so that a part that is missing may be one of its.

    Raises:
        SpecError: a module is not found, two parts share a name, or a part's constructor cannot be read.
    """

    def __init__(self, modules: Iterable[str], incomplete: bool = False) -> None:
        self.incomplete = incomplete
        modules, own = list(dict.fromkeys(modules)), frozenset(built_in())
        sources = Sources(modules)
        self._parts: dict[str, dict[str, PartInfo]] = {slot: {} for slot in slot_fields().values()}
        for module in modules:
            for info in _read_module(module, sources, module not in own):
                taken = self._parts[info.slot].setdefault(info.name, info)
                if taken is not info:
                    raise SpecError(f"{info.where}: {info.slot} {info.name!r} is already taken by {taken.where}")
        # What parts from outside inherit counts as well.
        outside = [module for module in sources.read_so_far() if module.name.split(".")[0] not in ROOMS]
        self._from_outside = {module.name: (module.path, _content(module.path)) for module in outside}
        self._refuse_edited_after_import()

    @property
    def slots(self) -> list[str]:
        """Return the slots that have parts."""
        return [slot for slot, by_name in self._parts.items() if by_name]

    def names(self, slot: str) -> list[str]:
        return list(self._parts.get(slot, {}))

    def parts(self) -> list[PartInfo]:
        return [info for by_name in self._parts.values() for info in by_name.values()]

    def find(self, slot: str, name: str) -> PartInfo:
        """The part of that name.

        Raises:
            SpecError: no such part; the message names the nearest ones.
        """
        try:
            return self._parts[slot][name]
        except KeyError:
            raise SpecError(f"no {slot} {name!r}: {did_you_mean(name, self.names(slot))}") from None

    def build(self, slot: str, choice: Mapping[str, Any], *given: Any, **given_by_name: Any) -> Any:
        """Load the part named by `choice["name"]` and construct it from what the assembly gives and its parameters.

        Raises:
            SpecError: no such part, or what it refuses; whatever a part from outside raises.
        """
        parameters = {key: value for key, value in choice.items() if key != "name"}
        info = self.find(slot, choice["name"])
        part_class = info.load()
        with explained([info] if info.from_outside else []):
            return part_class(*given, **given_by_name, **parameters)

    def from_outside(self) -> list[PartInfo]:
        """The parts that are not the workbench's own."""
        return [info for info in self.parts() if info.from_outside]

    def edited(self) -> dict[str, tuple[Path, bytes]]:
        """Return the modules from outside that are others now, by name: the file, and a digest of what it was."""
        return {name: own for name, own in self._from_outside.items() if _content(own[0]) != own[1]}

    def _refuse_edited_after_import(self) -> None:
        for name, (file, content) in self._from_outside.items():
            if _imported.get(file, content) != content:
                why = f"{name} was edited after this Python process imported it"
                raise SpecError(f"{file}: {why}; start Python anew (in a notebook: restart the kernel)")


_made: dict[tuple[str, ...], Catalogue] = {}  # by this process
_imported: dict[Path, bytes] = {}  # file that was edited after this process imported it -> a digest of what it was


def catalogue(plugins: Iterable[str] = ()) -> Catalogue:
    """The catalogue of the built-in parts, installed entry points, and the plugin modules named by a spec.

    It is read once: a command that runs for days means the parts as they were when it began.

    Raises:
        SpecError: as of `Catalogue`; or a module was edited after this process imported it (`read_edited_again`).
    """
    names = tuple(plugins)
    if names not in _made:
        _made[names] = Catalogue((*built_in(), *installed(), *names))
    return _made[names]


def read_edited_again() -> None:
    """Forget what was read of modules from outside that were edited, where one process takes many commands.

    A catalogue that has a module which this process imported as it was is refused then: it would say one thing and do
    another.
    """
    for names, made in list(_made.items()):
        if edited := made.edited():
            del _made[names]
            for name, (file, content) in edited.items():
                if getattr(sys.modules.get(name), "__file__", None) == str(file):
                    _imported.setdefault(file, content)


def _content(file: Path) -> bytes:
    """A digest of a file, empty where it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return b""


def _read_module(name: str, sources: Sources, from_outside: bool) -> list[PartInfo]:
    module = sources.read(name)
    if module is None:
        raise SpecError(f"plugins: no Python module {name!r} is importable from here")
    infos = []
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and _called_name(decorator) == "part":
                    infos.append(_read_class(module, node, decorator, sources, from_outside))
    return infos


def _plain(node: ast.expr) -> Any:
    """The value of a literal.

    Raises:
        ValueError: it is something else.
    """
    try:
        return ast.literal_eval(node)
    except (TypeError, SyntaxError) as error:  # such as a list as the key of a mapping
        raise ValueError(str(error)) from None


def _called_name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _read_class(
    module: Module, node: ast.ClassDef, decorator: ast.Call, sources: Sources, from_outside: bool
) -> PartInfo:
    cls = ClassSource(module, node)
    try:
        slot, name = (_plain(argument) for argument in decorator.args)
        if decorator.keywords or not isinstance(slot, str) or not isinstance(name, str):
            raise ValueError
    except ValueError:
        raise SpecError(f"{cls.where}: write @part(slot, name) with two plain strings") from None
    slots = set(slot_fields().values())
    if slot not in slots:
        raise SpecError(f"{cls.where}: there is no slot {slot!r}; {did_you_mean(slot, slots)}")
    order = lineage(cls, sources)
    constructed_by = next((base for base in order if "__init__" in base.methods()), cls)
    parameters = _read_parameters(constructed_by.where, name, constructed_by.node)
    facts = _read_facts(order)
    try:
        own = [_read_facts([cls]) for cls in reversed(order)]
        written = with_inherited(said["requires"] for said in own if "requires" in said)
        if written:
            facts["requires"] = written
        read = read_by_the_workbench(slot, facts)
        if unknown := set(read.only_if_said) - set(parameters.model_fields):
            raise ValueError(f"fact 'only_if_said': there is no parameter {', '.join(sorted(unknown))}")
        of_slot = type(read).model_fields.keys() - Facts.model_fields.keys()
        rules = read_rules(written, parameters.model_fields, {*facts, *of_slot})
    except ValueError as error:
        inherited = "; the class can say as a fact what it inherits a rule about" if len(order) > 1 else ""
        raise SpecError(f"{cls.where}: {slot} {name}: {error}{inherited}") from None
    text = inspect.cleandoc(ast.get_docstring(node) or "")
    official = _line_after(text, "Official code:")
    return PartInfo(
        slot=slot,
        name=name,
        module=module.name,
        class_name=node.name,
        where=cls.where,
        summary=" ".join(text.split("\n\n")[0].split()),
        source=_line_after(text, "Source:"),
        official_code=official.lower().startswith("yes"),
        parameters=parameters,
        facts=facts,
        rules=rules,
        from_outside=from_outside,
        _read=read,
    )


def _line_after(text: str, label: str) -> str:
    """The paragraph that follows `label` in a docstring, up to the next blank line or the next `Label:` line."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(label):
            found = [line.removeprefix(label).strip()]
            for more in lines:
                if not more.startswith("    "):
                    break
                found.append(more.strip())
            return " ".join(found)
    return ""


def _read_parameters(where: str, name: str, node: ast.ClassDef) -> type[BaseModel]:
    constructor = next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)
    fields: dict[str, Any] = {}
    if constructor is not None:
        if constructor.args.kwarg is not None:
            raise SpecError(f"{where}: a part spells out its parameters; **{constructor.args.kwarg.arg} hides them")
        for argument, default in zip(constructor.args.kwonlyargs, constructor.args.kw_defaults, strict=True):
            if argument.annotation is None:
                raise SpecError(f"{where}: parameter {argument.arg!r} needs a type")
            if default is None:
                raise SpecError(f"{where}: parameter {argument.arg!r} needs a default")
            try:
                fields[argument.arg] = (type_named(argument.annotation), _plain(default))
            except (TypeError, ValueError) as error:
                raise SpecError(
                    f"{where}: parameter {argument.arg!r}: {error}; see registry.schema.parameter_types"
                ) from None
    return create_model(
        name, __config__=ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False), **fields
    )


def _read_facts(order: Sequence[ClassSource]) -> dict[str, Any]:
    """Return the plain values that class bodies assign; what a class assigns or defines hides what its bases say.

    Args:
        order: the class and its bases, as attributes are looked up.
    """
    facts: dict[str, Any] = {}
    for cls in reversed(order):
        for name in cls.methods():
            facts.pop(name, None)
        for statement in cls.node.body:
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
                for target in targets:
                    if isinstance(target, ast.Name):
                        facts.pop(target.id, None)
                        with contextlib.suppress(ValueError):
                            facts[target.id] = _plain(statement.value)
    return facts
