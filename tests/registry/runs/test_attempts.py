"""Numbered files: one process gets a number, a dead owner is passed over, and a half-written one is somebody's."""

import errno
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from registry.runs.attempts import is_alive, latest, numbered, process_start, take, this_job, this_process
from registry.runs.machine import ROOT
from registry.runs.records import Attempt, Owner

SLURM = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")


@pytest.fixture(autouse=True)
def _outside_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SLURM:
        monkeypatch.delenv(name, raising=False)


def test_a_number_is_taken_once(tmp_path: Path) -> None:
    path = take(tmp_path / "attempts", 1, {"pid": 1})
    assert json.loads(path.read_text()) == {"number": 1, "pid": 1}
    with pytest.raises(FileExistsError):
        take(tmp_path / "attempts", 1, {"pid": 2})
    assert json.loads(path.read_text())["pid"] == 1
    assert os.listdir(tmp_path / "attempts") == ["0001.json"]  # nothing of either is left beside it


def _take(folder: Path, barrier: Any, wins: Any) -> None:
    barrier.wait()
    try:
        take(folder, 1, {"pid": os.getpid()})
    except FileExistsError:
        return
    with wins.get_lock():
        wins.value += 1


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for number in range(5):
        barrier, wins = context.Barrier(4), context.Value("i", 0)
        others = [context.Process(target=_take, args=(tmp_path / str(number), barrier, wins)) for _ in range(4)]
        for process in others:
            process.start()
        for process in others:
            process.join()
        assert wins.value == 1


def test_a_link_whose_answer_was_lost_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An NFS client that sends the request again is told that the link is there: it made it itself."""
    link = os.link

    def twice(source: Any, target: Any) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", twice)
    assert take(tmp_path, 1, {"pid": 1}).exists()


def test_without_hard_links_the_name_is_still_exclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: Any, target: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    assert json.loads(take(tmp_path, 1, {"pid": 1}).read_text())["pid"] == 1
    with pytest.raises(FileExistsError):
        take(tmp_path, 1, {"pid": 2})


def test_a_full_disk_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Any, target: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space"):
        take(tmp_path, 1, {})
    assert numbered(tmp_path) == []


def test_the_latest_is_that_of_the_highest_number(tmp_path: Path) -> None:
    assert latest(tmp_path / "none", Attempt) is None
    for number in range(1, 12):
        take(tmp_path, number, this_process())
    assert [path.stem for path in numbered(tmp_path)][-2:] == ["0010", "0011"]
    newest = latest(tmp_path, Attempt)
    assert newest is not None
    assert (newest.number, newest.pid) == (11, os.getpid())


def test_one_that_is_just_being_written_is_somebodys(tmp_path: Path) -> None:
    (tmp_path / "0001.json").write_text("")
    owner = latest(tmp_path, Owner)
    assert owner is not None
    assert owner.number == 1
    assert is_alive(owner)
    os.utime(tmp_path / "0001.json", (0, 0))
    assert not is_alive(latest(tmp_path, Owner))


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}, "7_2"),
    ],
)
def test_a_job_is_named_as_squeue_names_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], job: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert this_job() == job
    assert this_process()["job"] == job


@pytest.mark.parametrize(
    ("change", "lives"),
    [
        ({}, True),
        ({"ended": 1.0}, False),
        ({"pid": 2**22 + 1}, False),
        ({"started": "boot 1"}, False),  # another process has that number now
        ({"host": "elsewhere"}, True),
        ({"host": "elsewhere", "time": time.time() - 3600}, False),
        ({"host": "elsewhere", "time": time.time() + 3600}, False),  # a clock that is ahead of ours says nothing
    ],
)
def test_who_is_alive(change: dict[str, Any], lives: bool) -> None:
    assert is_alive(Owner.model_validate({"number": 1} | this_process() | change)) == lives
    assert not is_alive(None)
    assert process_start(os.getpid()) is not None
    assert this_process()["host"] == socket.gethostname()


STEPPED = """
cd "$1"; sed 's/^btime .*/btime 1000000000/' /proc/stat > stat; mount --bind stat /proc/stat
exec "$2" -c "import sys; from registry.runs.attempts import process_start; print(process_start(int(sys.argv[1])))" "$3"
"""


def test_a_step_of_the_clock_kills_nobody(tmp_path: Path) -> None:
    """The time of the boot moves with it, as NTP and resumed machines do it; only root can put on such a show."""
    words = ["unshare", "--mount", "bash", "-c", STEPPED, "bash", str(tmp_path), sys.executable, str(os.getpid())]
    if shutil.which("unshare") is None or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("unshare is not allowed here")
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == process_start(os.getpid())
