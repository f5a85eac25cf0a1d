"""Writing files so that a reader, or a kill, never meets half of one."""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, SoftFileLock, Timeout

WITHOUT_A_NAME = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # errors of writing that name no file


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Give a file whose content becomes that of `path` whole or not at all: onto the disk first, then renamed.

    Where the body fails, `path` stays as it was and nothing is left beside it.

    Raises:
        OSError: the file cannot be written, such as on a full disk; `filename` says which.
    """
    temporary = _temporary(path)
    try:
        with naming(path):
            with temporary.open("wb") as file:
                yield file
                _onto_the_disk(file)
            os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def write_atomically(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic(path) as file:
        file.write(text.encode())


def write_new(path: Path, text: str) -> None:
    """Write a text file whole and at once, which only one process can do: a shared file system grants a link once.

    Raises:
        FileExistsError: the file is there already.
        OSError: the file cannot be written, such as on a full disk; `filename` says which.
    """
    with new(path) as file:
        file.write(text.encode())


@contextmanager
def new(path: Path) -> Iterator[BinaryIO]:
    """Give a file whose content becomes that of `path` whole or not at all, and only where there is no such file.

    Raises:
        FileExistsError: the file is there already.
        OSError: the file cannot be written, such as on a full disk; `filename` says which.
    """
    mine = _temporary(path)
    try:
        with naming(path), mine.open("wb") as file:
            yield file
            _onto_the_disk(file)
        try:
            os.link(mine, path)
        except FileExistsError:
            if mine.stat().st_nlink != 2:  # else the answer was lost on its way from the server, and the link is ours
                raise
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            with naming(path), path.open("xb") as copy, mine.open("rb") as whole:  # a file system without hard links
                shutil.copyfileobj(whole, copy)
    finally:
        _remove(mine)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in what the system says of a full disk or a failing one, which comes without a name."""
    try:
        yield
    except OSError as error:
        if error.errno in WITHOUT_A_NAME and error.filename is None:
            error.filename = str(path)
        raise


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def _onto_the_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _remove(temporary: Path) -> None:
    with contextlib.suppress(OSError):  # what went wrong before is what counts
        temporary.unlink(missing_ok=True)


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
