"""Processes that work beside this one: jobs are handed out one by one, and a process that dies is noticed at once.

Each has a connection of its own, so that no lock and no queue is shared, and one that is killed (while it starts,
while it is told what to do, while it works) closes its end: whoever waits for it is told. Signals that ask to end are
for the process that started them, which ends them with itself: they have SIGINT, SIGTERM and SIGUSR2 blocked from
their first moment, also where a whole process group or Slurm step is signalled.
"""

import multiprocessing
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from multiprocessing import connection, resource_tracker
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)

G = TypeVar("G")
J = TypeVar("J")

Link = connection.Connection
Work = Callable[[Any], object]


class WorkerDiedError(Exception):
    """A process ended without a word: killed, or out of memory."""


def in_processes(
    count: int, start: Callable[[G], Callable[[J], object]], given: G, jobs: Sequence[J]
) -> Generator[J, None, None]:
    """Do jobs in so many processes; gives each job that is done, as they end.

    Close it to end the processes before all is done; what they are at is dropped.

    Args:
        count: of processes.
        start: importable; makes in each process, of what is given, the function that does a job.
        given: to each process; it may be large.
        jobs: each is given to one process.

    Raises:
        WorkerDiedError: a process died.
        Exception: what `start` or a job raised.
    """
    told = pickle.dumps((start, given))
    begun: list[tuple[Any, Link]] = []
    try:
        _begin(count, begun)
        links = [link for _, link in begun]
        new, waiting, doing = set(links), deque(jobs), dict[Link, J]()
        while waiting or doing:
            for link in connection.wait(links):
                assert isinstance(link, Link)
                _hear(link)
                if link in new:  # it is there and reads: a write to it ends, or fails if it dies
                    new.remove(link)
                    _tell(link, told)
                    continue
                ended = [doing.pop(link)] if link in doing else []
                if waiting:
                    doing[link] = waiting.popleft()
                    _tell(link, pickle.dumps(doing[link]))
                yield from ended
    finally:
        for process, _ in begun:
            process.kill()
        for process, link in begun:
            process.join()
            process.close()
            link.close()


def _begin(count: int, begun: list[tuple[Any, Link]]) -> None:
    """Start processes that have the signals blocked from their first moment, as they have this thread's mask."""
    context = multiprocessing.get_context("spawn")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        resource_tracker.ensure_running()  # a process of Python's own, for which some versions unblock signals
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there,))
            process.start()  # what it is sent here is small enough for a pipe that nobody reads
            begun.append((process, here))
            there.close()  # else nobody would notice that the process has closed its own
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _tell(link: Link, message: bytes) -> None:
    try:
        link.send_bytes(message)
    except OSError as error:
        raise WorkerDiedError from error


def _hear(link: Link) -> None:
    """Take the answer of a process; an error is raised here."""
    try:
        answer = link.recv_bytes()
    except (EOFError, OSError) as error:
        raise WorkerDiedError from error
    if (told := pickle.loads(answer)) is not None:
        raise told


def _work(link: Link) -> None:
    """What a process does: say that it is there, be told what to do, and answer each job with None or its error."""
    do: Work | None = None
    answer = pickle.dumps(None)
    while True:
        try:
            link.send_bytes(answer)
            message = link.recv_bytes()
        except (EOFError, OSError):
            return  # nobody is there any more
        try:
            if do is None:
                start, given = pickle.loads(message)
                do = start(given)
            else:
                do(pickle.loads(message))
            answer = pickle.dumps(None)
        except Exception as error:
            answer = _packed(error)


def _packed(error: Exception) -> bytes:
    """An error with its traceback as a note, or one that says the same where it cannot be sent."""
    where = "in a process beside this one:\n" + traceback.format_exc()
    error.add_note(where)
    try:
        packed = pickle.dumps(error)
        pickle.loads(packed)
    except Exception:
        other = RuntimeError(f"{type(error).__name__}: {error}")
        other.add_note(where)
        packed = pickle.dumps(other)
    return packed
