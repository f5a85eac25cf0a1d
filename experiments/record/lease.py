"""One process at a time on a shared folder, by a lease that ends with its process or expires.

A lease is the newest of a folder's numbered files (`registry.runs.attempts`). It is alive while its process lives
(seen from the same host) or while its file's time is recent (seen from another), so a holder that was killed, or whose
machine is gone, never has to be cleared away by hand.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.record.beside import beside
from registry.errors import RunError
from registry.runs.attempts import is_alive, latest, numbered, take, this_process
from registry.runs.files import write_atomically
from registry.runs.records import Owner

BEAT_SECONDS = 30.0
LOOK_SECONDS = 0.5  # between two looks at a lease that another process holds


class Lease:
    """The right to work on a folder, as long as nobody took it over.

    Args:
        file: the lease's numbered file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def confirm(self) -> None:
        """Return if the lease is still ours.

        Raises:
            RunError: another process has taken over, because this one was asleep for longer than a lease lives.
        """
        files = numbered(self._file.parent)
        if not files or files[-1] != self._file:
            raise RunError(f"{self._file.parent}: another process has taken over; try again")

    def beat(self) -> None:
        """Show other hosts that the holder lives."""
        with contextlib.suppress(OSError):
            os.utime(self._file)

    def end(self) -> None:
        """Let the next one in at once."""
        content = json.loads(self._file.read_text(encoding="utf-8"))
        write_atomically(self._file, json.dumps({**content, "ended": time.time()}, indent=1) + "\n")


@contextlib.contextmanager
def leased(folder: Path, patience: float, waiting: Callable[[str], None] | None = None) -> Iterator[Lease]:
    """Hold the lease of a folder, which is made if need be.

    Args:
        folder: holds the leases and nothing else.
        patience: seconds to wait for another holder.
        waiting: is told once who holds it.

    Raises:
        RunError: another process still holds it when patience is at its end.
    """
    lease = _take(folder, patience, waiting)

    def beat(ended: threading.Event) -> None:
        while not ended.wait(BEAT_SECONDS):
            lease.beat()

    try:
        with beside(beat):
            yield lease
    finally:
        with contextlib.suppress(OSError):
            lease.end()


def _take(folder: Path, patience: float, waiting: Callable[[str], None] | None) -> Lease:
    until, told = time.monotonic() + patience, False
    while True:
        try:
            last, files = latest(folder, Owner), numbered(folder)
        except FileNotFoundError:
            continue  # it was the newest when we looked, and gone when we read it
        if not is_alive(last, files[-1] if files else None):
            with contextlib.suppress(FileExistsError):
                file = take(folder, 1 + (last.number if last else 0), this_process())
                *older, newest = numbered(folder)
                if newest == file:
                    for old in older:
                        old.unlink(missing_ok=True)  # the newest alone says whose turn it is
                    return Lease(file)
                file.unlink()  # a number that was over long ago: whoever looked so late begins anew
            time.sleep(LOOK_SECONDS / 10)
            continue
        assert last is not None
        holder = f"process {last.pid} on {last.host}" if last.host else f"whoever left {files[-1].name} unreadable"
        if time.monotonic() >= until:
            raise RunError(f"{folder}: {holder} is at work there since {time.ctime(last.time)}; try again later")
        if not told and waiting is not None:
            waiting(holder)
        told = True
        time.sleep(LOOK_SECONDS)
