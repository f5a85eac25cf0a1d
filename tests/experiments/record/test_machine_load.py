"""The load of the machine beside a training."""

from pathlib import Path

import pytest

from experiments.record import machine_load
from registry.runs.places import LOAD_FILE
from registry.runs.stored import MEMORY, read_lines
from tests.waiting import until


def test_the_load_is_noted_now_and_then_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_load, "FIRST_SECONDS", 0.01)
    with machine_load.recorded(tmp_path):
        until(lambda: len(list(read_lines(tmp_path / LOAD_FILE))) > 1, "two lines were written")
    last = list(read_lines(tmp_path / LOAD_FILE))[-1]
    assert last[MEMORY] > 1
    assert 0 <= last["cpu_utilization_percentage"] <= 100


def test_a_folder_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    with machine_load.recorded(tmp_path / "gone"):
        pass
    assert not (tmp_path / "gone").exists()
