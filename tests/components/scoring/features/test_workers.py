"""Processes that work beside this one: all jobs done, errors told, and a death at any time noticed."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from components.scoring.features.workers import SIGNALS, WorkerDiedError, in_processes
from tests.waiting import PATIENCE

LARGE = b"x" * 2**20  # more than a pipe holds


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A test that hangs fails instead."""

    def fail(number: int, frame: object) -> None:
        raise AssertionError("hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert not multiprocessing.active_children()


class TwofoldError(Exception):
    """Cannot be unpickled."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def noting(given: tuple[Path, bytes]) -> Callable[[str], None]:
    """Jobs that note themselves in a folder, fail, or die."""

    def do(job: str) -> None:
        if job == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == "fail":
            raise TwofoldError("a bad", " disk")
        if job == "wait":
            time.sleep(3600)
        (given[0] / job).write_text(str(os.getpid()))

    return do


def dying(given: object) -> Callable[[str], None]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def broken(given: object) -> Callable[[str], None]:
    raise EOFError("half a file of weights")


def to_each_child(number: int, first_only: bool = False) -> threading.Thread:
    """Signals each process as soon as it is there."""

    def work() -> None:
        seen: set[int | None] = set()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for process in multiprocessing.active_children():
                if process.pid not in seen and process.pid is not None:
                    seen.add(process.pid)
                    os.kill(process.pid, number)
                    if first_only:
                        return
            if len(seen) == 2:
                return
            time.sleep(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_every_job_is_done_once(tmp_path: Path) -> None:
    jobs = [f"job {number}" for number in range(7)]
    assert sorted(in_processes(2, noting, (tmp_path, LARGE), jobs)) == jobs
    assert sorted(path.name for path in tmp_path.iterdir()) == jobs
    assert os.getpid() not in {int(path.read_text()) for path in tmp_path.iterdir()}


def test_errors_are_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="TwofoldError: a bad disk") as told:
        list(in_processes(2, noting, (tmp_path, LARGE), ["fail", "wait"]))
    assert "in do" in "".join(told.value.__notes__)
    with pytest.raises(EOFError, match="half a file of weights"):
        list(in_processes(1, broken, None, ["job"]))


def test_a_process_that_dies_at_work_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(WorkerDiedError):
        list(in_processes(2, noting, (tmp_path, LARGE), ["die", "wait"]))


def test_a_process_that_dies_before_it_works_is_noticed() -> None:
    with pytest.raises(WorkerDiedError):
        list(in_processes(2, dying, LARGE, ["job", "job"]))


def test_a_process_that_is_killed_while_it_starts_is_noticed(tmp_path: Path) -> None:
    """What it is to be given is more than a pipe holds, and nobody will ever read it."""
    thread = to_each_child(signal.SIGKILL, first_only=True)
    with pytest.raises(WorkerDiedError):
        list(in_processes(2, noting, (tmp_path, LARGE), ["wait", "wait"]))
    thread.join()


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_are_for_the_process_that_started_them(tmp_path: Path, number: int) -> None:
    """From the first moment on, and while they work; here they still count."""
    thread, came = to_each_child(number), []
    before = signal.signal(number, lambda *about: came.append(about[0]))
    try:
        jobs = [f"job {k}" for k in range(4)]
        with closing(in_processes(2, noting, (tmp_path, LARGE), jobs)) as done:
            first = next(done)
            os.kill(int((tmp_path / first).read_text()), number)
            os.kill(os.getpid(), number)
            assert sorted([first, *done]) == jobs
        thread.join()
    finally:
        signal.signal(number, before)
    assert came == [number]


def test_closing_ends_them(tmp_path: Path) -> None:
    with closing(in_processes(2, noting, (tmp_path, LARGE), ["job", "wait", "wait", "wait"])) as done:
        assert next(done) == "job"
