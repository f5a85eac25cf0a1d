"""Python modules as their source says: where a module lies, what it defines and imports. Nothing is imported.

Own modules are read; the standard library, installed packages, and what the workbench itself needs are not. Own is what
lies in a checkout, beside an experiment or on PYTHONPATH, and, wherever it is installed, the top-level package of a
module that holds parts.
"""

import ast
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple

from registry.errors import SpecError

Stamp = tuple[int, int]
ROOMS = ("registry", "components", "experiments", "analysis")  # packages of the workbench itself
INSTALLED = {"site-packages", "dist-packages"}  # folders of packages that were installed
# What the workbench is built on is not own wherever it lies, such as a torch that was built from a checkout.
THIRD_PARTIES = {
    *("torch", "torchvision", "numpy", "scipy", "pandas", "einops", "timm", "diffusers", "transformers", "safetensors"),
    "huggingface_hub",
    *(
        "av",
        "decord",
        "PIL",
        "cleanfid",
        "matplotlib",
        "pydantic",
        "pydantic_core",
        "yaml",
        "click",
        "rich",
        "filelock",
        "psutil",
        "pyarrow",
        "platformdirs",
        "sqlalchemy",
    ),
    *("threadpoolctl", "submitit", "optuna", "mlflow", "requests", "jinja2", "markupsafe"),
}


class Imported(NamedTuple):
    """What a name that was imported stands for: a module, or a name in it."""

    module: str
    name: str | None = None


@dataclass(frozen=True)
class Module:
    """One module's source.

    Args:
        name: dotted, as it is imported.
        path: its file.
        tree: its syntax tree.
    """

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package that the module's relative imports start from."""
        return self.name if self.path.stem == "__init__" else self.name.rpartition(".")[0]

    @cached_property
    def definitions(self) -> dict[str, list[ast.stmt]]:
        """Name -> the statements at the top level that bind it, those below `if`, `try` and `with` included."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in flattened(self.tree.body):
            for name in bound_by(statement):
                found.setdefault(name, []).append(statement)
        return found

    @cached_property
    def imports(self) -> dict[str, list[Imported]]:
        """Name -> what was imported at the top level under that name; several where `try` has a second choice."""
        found: dict[str, list[Imported]] = {}
        for statement in flattened(self.tree.body):
            for name, target in imported_by(statement, self.package):
                found.setdefault(name, []).append(target)
        return found

    @cached_property
    def stars(self) -> list[str]:
        """The modules of which the module imports everything (`from module import *`)."""
        return [target.module for target in self.imports.get("*", ())]

    def binds(self, name: str) -> bool:
        """Whether the module itself says what a name at its top level is."""
        return name in self.definitions or name in self.imports


def flattened(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body, those below `if`, `try`, `with` and loops included, but not those of definitions."""
    for statement in body:
        yield statement
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for field in ("body", "orelse", "finalbody"):
                yield from flattened(getattr(statement, field, ()))
            for handler in getattr(statement, "handlers", ()):
                yield from flattened(handler.body)


def bound_by(statement: ast.stmt) -> list[str]:
    """The names that one definition or assignment binds; none for `if`, `try` and the like, whose parts come after."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AugAssign) or (isinstance(statement, ast.AnnAssign) and statement.value is not None):
        targets = [statement.target]
    names = [node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return [node.id for node in names if isinstance(node.ctx, ast.Store)]


def imported_by(statement: ast.AST, package: str) -> Iterator[tuple[str, Imported]]:
    """(name, what it stands for) of an import statement; `*` for everything of a module, "" for what is only run.

    Args:
        statement: any statement; those that import nothing give nothing.
        package: what relative imports start from.
    """
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            if alias.asname:
                yield alias.asname, Imported(alias.name)
            else:
                yield alias.name.split(".")[0], Imported(alias.name.split(".")[0])
                yield "", Imported(alias.name)
    elif isinstance(statement, ast.ImportFrom):
        above = package.split(".") if package else []
        above = above[: len(above) - statement.level + 1] if statement.level else []
        module = ".".join([*above, *([statement.module] if statement.module else [])])
        for alias in statement.names:
            yield alias.asname or alias.name, Imported(module, alias.name)


def dotted(node: ast.expr) -> tuple[str, ...]:
    """The names of `a.b.c`; empty for any other expression."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return (*left, node.attr)
    return ()


def file_of(module: str) -> Path | None:
    """Return the Python file of a module, found without importing any package; None where there is none.

    A package stands before a module of the same name, as in Python. Packages that change their own `__path__` when
    they are imported are not followed there.
    """
    top, *rest = module.split(".")
    return _file_below(_top_level(top), rest)


def _top_level(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _file_below(top: ModuleSpec | None, rest: list[str]) -> Path | None:
    if top is None:
        return None
    if not rest:
        return Path(top.origin) if top.origin and top.origin.endswith(".py") else None
    for folder in top.submodule_search_locations or ():
        place = os.path.join(folder, *rest)
        for file in (os.path.join(place, "__init__.py"), f"{place}.py"):
            if os.path.isfile(file):
                return Path(file)
    return None


def modules_below(package: str) -> dict[str, Path]:
    """Return the files of a package and of all modules in its folder and below, by dotted name in alphabetical order.

    Files that cannot be imported by a name (`blocks-old.py`, hidden folders) are left out.
    """
    file = file_of(package)
    if file is None or file.name != "__init__.py":
        return {package: file} if file else {}
    found = {package: file}
    for path in file.parent.rglob("*.py"):
        *above, own = path.relative_to(file.parent).with_suffix("").parts
        names = [*above, *([] if own == "__init__" else [own])]
        if names and all(name.isidentifier() for name in names):
            found[".".join([package, *names])] = path
    return dict(sorted(found.items()))


_known: dict[tuple[str, Path], tuple[Stamp, Module]] = {}  # read by this process


def module_at(name: str, path: Path) -> Module:
    """Return the module of that name in a file, read again only where the file's time or size has changed.

    Raises:
        SpecError: not Python that can be read; with file and line.
    """
    try:
        stamp = stamp_of(path)
        known = _known.get((name, path))
        if known is None or known[0] != stamp:
            module = Module(name, path, ast.parse(path.read_bytes(), filename=str(path)))
            known = _known[name, path] = (stamp, module)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    except SyntaxError as error:
        raise SpecError(f"{path}:{error.lineno}: is not valid Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; brackets nested without end
        raise SpecError(f"{path}: is not valid Python: {error or type(error).__name__}") from None
    return known[1]


def stamp_of(path: Path) -> Stamp:
    """(nanoseconds of the last change, bytes) of a file; what was read of it holds while they stay."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


class Sources:
    """The own modules, found and read when they are asked for, and then as they were.

    Args:
        modules: those that hold parts; their top-level packages are own wherever they are installed.
    """

    def __init__(self, modules: Iterable[str]) -> None:
        self._own = dict.fromkeys((module.split(".")[0] for module in modules), True)  # by top-level package
        self._tops: dict[str, ModuleSpec | None] = {}
        self._files: dict[str, Path | None] = {}
        self._read: dict[str, Module | None] = {}

    def is_own(self, module: str) -> bool:
        """Return whether a module would be read if it is there: see the head of this file."""
        top = module.split(".")[0]
        if top not in self._own:
            found = None if top in sys.stdlib_module_names | THIRD_PARTIES else self._top(top)
            folders = [] if found is None else [*(found.submodule_search_locations or ()), found.origin or ""]
            self._own[top] = any(folder and INSTALLED.isdisjoint(Path(folder).parts) for folder in folders)
        return self._own[top]

    def file(self, module: str) -> Path | None:
        """Return the file of a module, own or not; None where there is none."""
        if module not in self._files:
            top, *rest = module.split(".")
            self._files[module] = _file_below(self._top(top), rest)
        return self._files[module]

    def read(self, module: str) -> Module | None:
        """Return an own module, or None for what is not own or not there.

        Raises:
            SpecError: not Python that can be read.
        """
        if module not in self._read:
            file = self.file(module) if module and self.is_own(module) else None
            self._read[module] = None if file is None else module_at(module, file)
        return self._read[module]

    def read_so_far(self) -> list[Module]:
        """Return the own modules that were read."""
        return [module for module in self._read.values() if module is not None]

    def _top(self, name: str) -> ModuleSpec | None:
        if name not in self._tops:
            self._tops[name] = _top_level(name)
        return self._tops[name]
