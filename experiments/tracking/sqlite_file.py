"""The SQLite file that `sync` fills: one writer, and one wait for the disk a sync instead of four for each commit.

MLflow commits some ten times a run. On a busy disk most of a sync was waiting for them. The file is a view of the run
folders, so what is written is handed to the system, which survives the end of any process, and brought onto the disk
once, at the end. Only where the machine itself goes down in the middle can the file be damaged: a sync that finds the
one before it without its end looks, and says what to do. A file that somebody named may hold what is not ours: there
every commit waits.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from experiments.record.lease import leased
from registry.errors import RunError
from registry.runs.attempts import latest
from registry.runs.records import Owner


@contextlib.contextmanager
def written_alone(
    file: Path, leases: Path, patience: float, waiting: Callable[[str], None] | None, view: bool = True
) -> Iterator[None]:
    """Be the only one who writes to an SQLite file, for whatever experiment: on a shared folder it bears one writer.

    Args:
        file: need not be there yet.
        leases: the folder that says whose turn it is.
        patience: seconds to wait for another writer.
        waiting: is told once which process that is.
        view: all that it holds can be made again of the run folders.

    Raises:
        RunError: another process is still at work when patience is at its end, or the file is damaged.
    """
    last = latest(leases, Owner)
    with leased(leases, patience, waiting):
        if last is not None and last.ended is None:
            _check_whole(file)
        if view:
            _hand_to_the_system(str(file))
        try:
            yield
        finally:
            _onto_the_disk(file)


def _check_whole(file: Path) -> None:
    """Raise where a file is damaged that a machine may have gone down over."""
    if not file.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            (told,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        told = str(error)
    if told != "ok":
        first = str(told).splitlines()[-1]
        raise RunError(
            f"{file}: is damaged ({first}): the machine went down while a sync wrote it; the run folders are the "
            "truth: move it away, and `sync` again"
        )


@cache
def _hand_to_the_system(file: str) -> None:
    """Let connections to a file that are opened from now on not wait for the disk."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "connect")
    def switch(connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            opened = [row[2] for row in connection.execute("PRAGMA database_list")]
            if opened and os.path.realpath(opened[0]) == os.path.realpath(file):
                with contextlib.suppress(sqlite3.DatabaseError):  # it is damaged: MLflow says so
                    connection.execute("PRAGMA synchronous = OFF")


def _onto_the_disk(file: Path) -> None:
    with contextlib.suppress(FileNotFoundError), file.open("rb+") as opened:
        os.fsync(opened.fileno())
