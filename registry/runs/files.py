"""Writing files so that a reader, or a kill, never meets half of one."""

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout


def write_atomically(path: Path, text: str) -> None:
    """Write a text file whole or not at all: under another name, onto the disk, then renamed."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_new(path: Path, text: str) -> None:
    """Write a text file whole and at once, which only one process can do: a shared file system grants a link once.

    Raises:
        FileExistsError: the file is there already.
    """
    mine = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with mine.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(mine, path)
    except FileExistsError:
        if mine.stat().st_nlink != 2:  # else the answer was lost on its way from the server, and the link is ours
            raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        with path.open("x", encoding="utf-8") as file:  # a file system without hard links
            file.write(text)
    finally:
        mine.unlink()


@contextmanager
def locked(folder: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """The only one at work in the folder, which is made if need be, on this machine or another.

    A process that dies lets go. Where the file system has no locks, a file stands for one, and one that a dead process
    of another machine left must be removed by hand.

    Args:
        folder: what is locked.
        waiting: is called every second while another process has it; what it raises ends the waiting.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock: FileLock | SoftFileLock = FileLock(folder / ".lock")
    try:
        _acquire(lock, waiting)
    except NotImplementedError:
        lock = SoftFileLock(folder / ".lock")
        _acquire(lock, waiting)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock | SoftFileLock, waiting: Callable[[], None] | None) -> None:
    timeout = 0.0
    while True:
        try:
            lock.acquire(timeout=timeout)
            return
        except Timeout:
            timeout = 1.0
            if waiting is not None:
                waiting()
