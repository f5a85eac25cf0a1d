"""The identity of code: a digest of the source that a part, or a set of modules, is made of. Nothing is imported.

Counted is the part's class with all that it names, in its module and in other own modules (`registry.parts.sources`),
and what these name in turn: base classes, helpers, constants. So is whatever runs when one of these modules is
imported. What else stands in the same files is not: a part that is added beside another leaves the other's digest as it
is. Comments, layout and docstrings do not count. Nor does `registry`: what it decides stands in the resolved spec.

A module that is handed on as a value (`getattr(module, name)`) counts as a whole. What is looked up in `globals()`, or
reaches a part as an argument, is not seen: arguments are other parts, which have digests of their own, and the loop.
"""

import ast
import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from registry.errors import SpecError
from registry.parts.catalogue import Catalogue, PartInfo
from registry.parts.definitions import Name, is_passed_over, runs_at_import, unit_of
from registry.parts.sources import Imported, Module, Sources, Stamp, flattened, imported_by, stamp_of
from registry.schema.section import Part
from registry.schema.spec import Spec, slot_fields

LENGTH = 12  # hex digits
NOT_COUNTED = ("registry",)

_digests: dict[tuple[str, ...], tuple[str, dict[Path, Stamp]]] = {}  # by this process, with the files that were read


def digests(spec: Spec, parts: Catalogue, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the digest of every part that a spec names, by key and name: `model.blocks.variant_1`.

    Args:
        spec: a resolved spec.
        parts: its catalogue.
        known: what `digests_of_parts` has said of this code before.
    """
    chosen = {}
    for (section, key), slot in slot_fields().items():
        value = getattr(getattr(spec, section), key)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Part):
                chosen[f"{section}.{key}.{part.name}"] = parts.find(slot, part.name)
    found = dict(known or {})
    found |= digests_of_parts(parts, [info for info in chosen.values() if info.dotted not in found])
    return {name: found[info.dotted] for name, info in chosen.items()}


def digests_of_parts(parts: Catalogue, infos: Iterable[PartInfo]) -> dict[str, str]:
    """Return the digests of a catalogue's parts by the dotted names of their classes."""
    sources = Sources(info.module for info in parts.parts())
    return {info.dotted: _digest(sources, [(info.module, info.class_name)], ()) for info in infos}


def digest_of_modules(modules: Iterable[str], without: Collection[str] = (), own: Collection[str] = ()) -> str:
    """Return one digest of whole modules and of what they name elsewhere.

    Args:
        modules: dotted names; `registry.parts.sources.modules_below` lists those of a package.
        without: packages and modules that do not count, beside `registry`.
        own: packages that count wherever they are installed, beside those of the modules.

    Raises:
        SpecError: there is no such module.
    """
    modules = sorted(modules)
    sources = Sources([*modules, *own])
    for module in modules:
        if sources.file(module) is None:
            raise SpecError(f"there is no Python module {module!r}")
    return _digest(sources, [(module, "") for module in modules], tuple(sorted(without)))


def files_of(digests: Collection[str]) -> set[Path]:
    """Return the files that digests which this process has worked out are made of."""
    return {file for digest, files in _digests.values() if digest in digests for file in files}


def _digest(sources: Sources, roots: list[tuple[str, str]], without: tuple[str, ...]) -> str:
    """The digest of classes or, for an empty name, whole modules; worked out again only where a file has changed."""
    key = (*(word for root in roots for word in root), "", *without)
    if key in _digests:
        digest, files = _digests[key]
        if all(file.exists() and stamp_of(file) == stamp for file, stamp in files.items()):
            return digest
    code = _Code(sources, (*NOT_COUNTED, *without))
    for module, name in roots:
        code.count(module, (name,) if name else ())
    digest = hashlib.sha256("\n".join(sorted(code.lines)).encode()).hexdigest()[:LENGTH]
    _digests[key] = digest, code.files
    return digest


class _Code:
    """What counts, collected from where it starts.

    Args:
        sources: reads modules.
        without: packages and modules that do not count.
    """

    def __init__(self, sources: Sources, without: tuple[str, ...]) -> None:
        self._sources, self._without = sources, without
        self.lines: set[str] = set()  # what a statement says, and what an imported name stands for, with the module
        self.files: dict[Path, Stamp] = {}
        self._modules: dict[str, Module | None] = {}
        self._followed: set[tuple[str, Name]] = set()
        self._todo: list[tuple[Module, Name]] = []

    def count(self, module: str, path: Name) -> None:
        """Count what a dotted name in a module stands for, or the whole module, and all that this needs."""
        self._reach(module, path)
        while self._todo:
            found, name = self._todo.pop()
            for statement in found.definitions.get(name[0], ()):
                self._take(found, statement)
            self._bind(found, name, found.imports.get(name[0], ()))
            if not found.binds(name[0]):
                for star in found.stars:
                    self._reach(star, name)

    def _reach(self, name: str, path: Name) -> None:
        """Count what a dotted name in a module stands for; the whole module where that is not plain to see."""
        module = self._import(name)
        bound = module is not None and bool(path) and (module.binds(path[0]) or bool(module.stars))
        if path and not bound and (module is None or self._sources.file(f"{name}.{path[0]}")):
            if self._counts(name):
                self._reach(f"{name}.{path[0]}", path[1:])
        elif module is not None:
            for wanted in [path] if bound else [(own,) for own in module.definitions]:
                if (module.name, wanted) not in self._followed:
                    self._followed.add((module.name, wanted))
                    self._todo.append((module, wanted))

    def _take(self, module: Module, statement: ast.stmt) -> None:
        unit = unit_of(statement, module.package)
        self.lines.add(f"{module.name}: {unit.digest}")
        for _, target in unit.imports:
            self._import_target(target)
        for name in unit.reads:
            self._bind(module, name, [target for own, target in unit.imports if own == name[0]])
            if module.binds(name[0]) or module.stars:
                self._reach(module.name, name)

    def _bind(self, module: Module, name: Name, targets: Iterable[Imported]) -> None:
        for target in targets:
            self.lines.add(f"{module.name}: {name[0]} = {target.module}.{target.name or ''}")
            self._reach(target.module, (*filter(None, [target.name]), *name[1:]))

    def _import_target(self, target: Imported) -> None:
        module = self._import(target.module)
        if target.name and module is not None and not module.binds(target.name):
            self._import(f"{target.module}.{target.name}")

    def _import(self, name: str) -> Module | None:
        """Return a module that counts, and count what runs when Python imports it; None where it does not count."""
        if name not in self._modules:
            self._modules[name] = None
            if "." in name:
                self._import(name.rpartition(".")[0])
            module = self._modules[name] = self._read(name) if self._counts(name) else None
            if module is not None:
                runs = (statement for statement in module.tree.body if not is_passed_over(statement))
                for statement in flattened(runs):
                    for _, target in imported_by(statement, module.package):
                        self._import_target(target)
                for statement in filter(runs_at_import, module.tree.body):
                    self._take(module, statement)
        return self._modules[name]

    def _counts(self, name: str) -> bool:
        left_out = any(f"{name}.".startswith(f"{package}.") for package in self._without)
        return not left_out and self._sources.is_own(name)

    def _read(self, name: str) -> Module | None:
        file = self._sources.file(name)
        if file is None:
            return None
        self.files[file] = stamp_of(file)
        try:
            return self._sources.read(name)
        except SpecError:  # not Python: its bytes count
            self.lines.add(f"{name}: {hashlib.sha256(file.read_bytes()).hexdigest()}")
            return None
