"""Running the code of parts from outside: what it raises is told with its file and line, and it ends no process."""

import contextlib
import os
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn, Protocol

from registry.errors import RunError, SpecError, shortened
from registry.schema.spec import slot_fields


class PartFromOutside(Protocol):
    """What is told of a part whose code fails: its slot, its name, and `file:line` of its class."""

    @property
    def slot(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def where(self) -> str: ...


@contextlib.contextmanager
def explained(parts: Iterable[PartFromOutside]) -> Iterator[None]:
    """Run code of the given parts, which are not the workbench's own.

    Raises:
        SpecError: whatever they raise, also SystemExit: with the key of the slot, the part, its file and line.
    """
    parts = list(parts)
    try:
        with _endless() if parts else contextlib.nullcontext():
            yield
    except (SpecError, RunError):
        raise
    except (Exception, SystemExit) as error:
        for info in parts:
            if (line := _line(error, info)) is not None:
                raise SpecError(f"{_key(info.slot)}: part {info.name!r} fails at {line}: {_told(error)}") from error
        raise


def _line(error: BaseException, info: PartFromOutside) -> str | None:
    """`file:line` of the part's module where an error passed through it; of its class where it cannot be read."""
    path = info.where.rpartition(":")[0]
    frames = traceback.extract_tb(error.__traceback__)
    if found := [frame.lineno for frame in frames if Path(frame.filename) == Path(path)]:
        return f"{path}:{found[-1]}"
    return f"{path}:{error.lineno}" if isinstance(error, SyntaxError) and error.filename == path else None


def _told(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {shortened(text, 200)}" if text else type(error).__name__


def _key(slot: str) -> str:
    """The key of the spec that names a part of a slot."""
    return next((".".join(key) for key, name in slot_fields().items() if name == slot), slot)


@contextlib.contextmanager
def _endless() -> Iterator[None]:
    """Let `os._exit` raise instead of ending this process; a child that was forked meanwhile may still end."""
    real, owner = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != owner:
            real(status)
        raise RuntimeError(f"os._exit({status}) would end the workbench")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = real
