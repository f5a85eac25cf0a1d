"""What follows from this repository's sources alone, made once for each user and remembered in the user's cache.

It is filed under a digest of the sources that decide it, so that no edit leaves it stale. A process that meets the same
sources again, such as each of a thousand jobs, reads one small file. What was made while somebody edited the sources is
not kept, since nobody knows of which it is.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from registry.parts.sources import Stamp, stamp_of
from registry.paths import cache_folder
from registry.runs.files import write_atomically
from registry.runs.machine import ROOT

T = TypeVar("T")
KEPT = 2000  # files of a kind; beyond them the older half goes

_sources: dict[tuple[str, ...], tuple[dict[Path, Stamp], str]] = {}  # by this process: what was read, and its digest


class CodeState(NamedTuple):
    """The sources in folders of this repository at one moment: their SHA-256."""

    folders: tuple[str, ...]
    digest: str


def remembered(what: str, code: CodeState, key: str, make: Callable[[], Any], read: Callable[[Any], T]) -> T:
    """Return what follows from a key and the code, as it was made once.

    Args:
        what: its kind, which names the folder in the cache.
        code: the sources that decide it; those that this process has imported, where it runs them to make it.
        key: all else that decides it.
        make: makes it, as JSON can hold it.
        read: turns it into what is returned; a ValueError, TypeError or LookupError of it has it made again.
    """
    digest = hashlib.sha256((code.digest + key).encode()).hexdigest()[:32]
    file = cache_folder() / what / f"{digest}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, LookupError):
        return read(json.loads(file.read_text(encoding="utf-8")))
    made = make()
    if state_of(code.folders) != code:
        return read(made)
    with contextlib.suppress(OSError):  # a home that cannot be written forgets, and that is all
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(made))
        _thin(file.parent)
    return read(made)


def state_of(folders: Sequence[str]) -> CodeState:
    """Return the state of every Python file in folders of this repository, read again only where one has changed."""
    folders = tuple(folders)
    files, digest = _sources.get(folders, ({}, ""))
    if not digest or not _unchanged(files):
        paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
        files, content = {path: stamp_of(path) for path in paths}, hashlib.sha256()
        for path in paths:
            content.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
        digest = content.hexdigest()
        _sources[folders] = files, digest
    return CodeState(folders, digest)


def _unchanged(files: dict[Path, Stamp]) -> bool:
    try:
        return all(stamp_of(path) == stamp for path, stamp in files.items())
    except OSError:
        return False


def _thin(folder: Path) -> None:
    """Remove the older half of more files than are kept."""
    with os.scandir(folder) as entries:
        files = [(entry.stat().st_mtime_ns, entry.path) for entry in entries]
    if len(files) > KEPT:
        for _, path in sorted(files)[: len(files) // 2]:
            Path(path).unlink(missing_ok=True)
