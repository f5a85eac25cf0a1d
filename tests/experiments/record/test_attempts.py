"""Attempts at a replicate: one process holds it, a dead one is passed over, and Slurm may know better."""

import multiprocessing
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.record.recording import ClaimedError, Recorder
from registry.errors import RunError
from registry.runs.attempts import ATTEMPTS, is_alive, latest, take, this_process
from registry.runs.records import Attempt


def alive(folder: Path) -> bool:
    return is_alive(latest(folder / ATTEMPTS, Attempt), folder / "heartbeat.json")


def test_an_attempt_is_held_and_ends(tmp_path: Path) -> None:
    with Recorder(tmp_path).attempting() as attempt:
        assert alive(tmp_path)
        with pytest.raises(ClaimedError, match=rf"is being run by process {os.getpid()} on "):
            Recorder(tmp_path).attempting().__enter__()
        assert alive(tmp_path)
        assert attempt.number == 1
    assert not alive(tmp_path)
    with Recorder(tmp_path).attempting() as attempt:
        assert attempt.number == 2


@pytest.mark.parametrize("change", [{"pid": 2**22 + 1}, {"started": "another boot 1"}])
def test_a_dead_attempt_is_passed_over(tmp_path: Path, change: dict[str, Any]) -> None:
    take(tmp_path / ATTEMPTS, 1, this_process() | change)
    assert not alive(tmp_path)
    with Recorder(tmp_path).attempting() as attempt:
        assert attempt.number == 2
        assert alive(tmp_path)


def test_an_attempt_of_another_host_lives_by_its_heartbeat(tmp_path: Path) -> None:
    there = this_process() | {"host": "not-" + socket.gethostname(), "pid": 1}
    take(tmp_path / ATTEMPTS, 1, there)
    assert alive(tmp_path)
    take(tmp_path / ATTEMPTS, 2, there | {"time": time.time() - 3600})
    assert not alive(tmp_path)
    Recorder(tmp_path).heartbeat(stage="training")
    assert alive(tmp_path)


@pytest.mark.parametrize(("told", "lives"), [("", False), ("PENDING", False), ("RUNNING", True), (None, True)])
def test_slurm_may_know_better_of_another_host(tmp_path: Path, told: str | None, lives: bool) -> None:
    take(tmp_path / ATTEMPTS, 1, this_process() | {"host": "not-" + socket.gethostname(), "job": "7_1"})
    assert (
        is_alive(latest(tmp_path / ATTEMPTS, Attempt), None, lambda job: told if job == "7_1" else "RUNNING") == lives
    )


def test_a_later_start_of_the_same_job_passes_its_own_earlier_one_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(tmp_path / ATTEMPTS, 1, this_process() | {"host": "not-" + socket.gethostname(), "job": "7_1", "restart": 0})
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    with pytest.raises(ClaimedError):
        Recorder(tmp_path).attempting().__enter__()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with Recorder(tmp_path).attempting() as attempt:
        assert (attempt.number, attempt.content.restart) == (2, 1)


def _race(folder: Path, barrier: Any, held: Any, most: Any, wins: Any) -> None:
    barrier.wait()
    try:
        with Recorder(folder).attempting():
            with held.get_lock():
                held.value += 1
                most.value = max(most.value, held.value)
            time.sleep(0.1)
            with held.get_lock():
                held.value -= 1
                wins.value += 1
    except RunError:
        pass


@pytest.mark.parametrize("dead", [False, True])
def test_of_many_processes_one_makes_the_attempt(tmp_path: Path, dead: bool) -> None:
    context = multiprocessing.get_context("fork")
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        if dead:
            take(folder / ATTEMPTS, 1, this_process() | {"pid": 2**22 + 1})
        barrier, held, most, wins = (
            context.Barrier(4),
            context.Value("i", 0),
            context.Value("i", 0),
            context.Value("i", 0),
        )
        others = [context.Process(target=_race, args=(folder, barrier, held, most, wins)) for _ in range(4)]
        for process in others:
            process.start()
        for process in others:
            process.join()
        assert most.value == 1
        assert wins.value >= 1
        assert not alive(folder)
