"""A lease lets one in at a time, and never has to be cleared away by hand."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.record import lease
from experiments.record.lease import leased
from registry.errors import RunError
from registry.runs.attempts import HEARTBEAT_EXPIRES, latest, numbered, take, this_process
from registry.runs.records import Owner

HOLDER = """
import sys, time
from pathlib import Path
from experiments.record.lease import leased
with leased(Path(sys.argv[1]), 0):
    print("held", flush=True)
    time.sleep(3600)
"""


def test_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)
    inside, most, turns = [0], [0], []

    def work(who: int) -> None:
        for _ in range(4):
            with leased(tmp_path / "x", 600) as held:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.005)
                held.confirm()
                turns.append(who)
                inside[0] -= 1

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert len(turns) == 16
    assert [path.name for path in numbered(tmp_path / "x")] == ["0016.json"]


def test_a_killed_holder_is_over_at_once(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    told: list[str] = []
    with (
        pytest.raises(RunError, match=f"process {holder.pid} on .* is at work there"),
        leased(tmp_path, 0, told.append),
    ):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with leased(tmp_path, 0, told.append):
        assert told == []


def elsewhere(folder: Path, **content: Any) -> Path:
    return take(folder, 1, {**this_process(), "host": "elsewhere", **content})


def test_a_holder_on_another_machine_is_believed_until_its_file_is_old(tmp_path: Path) -> None:
    old = time.time() - HEARTBEAT_EXPIRES - 1
    file = elsewhere(tmp_path, time=old)
    told: list[str] = []
    with pytest.raises(RunError, match="on elsewhere is at work there"), leased(tmp_path, 0.6, told.append):
        pass
    assert len(told) == 1
    os.utime(file, (old, old))
    with leased(tmp_path, 0) as mine:
        mine.confirm()
        take(tmp_path, 9, this_process())
        with pytest.raises(RunError, match="another process has taken over"):
            mine.confirm()


def test_a_holder_that_ended_is_no_holder(tmp_path: Path) -> None:
    with leased(tmp_path, 0):
        pass
    last = latest(tmp_path, Owner)
    assert last is not None
    assert last.ended is not None
    with leased(tmp_path, 0):
        pass


def test_a_lease_that_cannot_be_read_is_named_and_runs_out(tmp_path: Path) -> None:
    file = tmp_path / "0001.json"
    file.write_bytes(bytes(range(256)))
    told: list[str] = []
    unreadable = "whoever left 0001.json unreadable"
    with pytest.raises(RunError, match=f"{unreadable} is at work there"), leased(tmp_path, 0.1, told.append):
        pass
    assert told == [unreadable]
    os.utime(file, (0, 0))
    with leased(tmp_path, 0) as mine:
        mine.confirm()


def test_who_looked_long_ago_does_not_get_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number was free because it is over: newer ones were taken meanwhile."""
    alive = take(tmp_path, 7, this_process())
    answers = [Owner(number=2, host="", pid=0, time=0.0, ended=1.0)]
    monkeypatch.setattr(lease, "latest", lambda folder, kind: answers.pop() if answers else latest(folder, kind))
    with pytest.raises(RunError, match="is at work there"), leased(tmp_path, 0):
        pass
    assert numbered(tmp_path) == [alive]
    assert json.loads(alive.read_text())["number"] == 7
