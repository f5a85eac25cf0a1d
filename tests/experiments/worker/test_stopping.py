"""Why an attempt ends: wishes in control.json and signals, and which of them has the last word."""

import os
import signal
from pathlib import Path

import pytest

from experiments.record.recording import Recorder
from experiments.worker import stopping
from experiments.worker.stopping import Stop, stop_requests


@pytest.fixture(autouse=True)
def _looks_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 0.0)


def test_nothing_wanted_means_go_on(tmp_path: Path) -> None:
    stop = Stop(tmp_path)
    assert not stop(10)
    Recorder(tmp_path).control("run")
    assert not stop(10)
    assert (stop.how, stop.reason, stop.again) == ("", "", False)


@pytest.mark.parametrize(("action", "how"), [("cancel", "cancelled"), ("stop", "stopped")])
def test_a_wish_ends_it(tmp_path: Path, action: str, how: str) -> None:
    stop = Stop(tmp_path)
    Recorder(tmp_path).control(action, reason="because")
    assert stop()
    assert (stop.how, stop.reason, stop.again) == (how, "because", False)
    Recorder(tmp_path).control("run")
    assert stop()  # once yes, always yes


def test_it_pauses_at_a_step_and_not_before(tmp_path: Path) -> None:
    stop = Stop(tmp_path)
    Recorder(tmp_path).control("run", until=6)
    assert not stop(5)
    assert not stop()  # while sampling there is no step
    assert stop(6)
    assert stop.how == "paused"


@pytest.mark.parametrize(("number", "again"), [(signal.SIGUSR2, True), (signal.SIGTERM, False), (signal.SIGINT, False)])
def test_signals(tmp_path: Path, number: signal.Signals, again: bool) -> None:
    before = signal.getsignal(number)
    with stop_requests(tmp_path) as stop:
        assert not stop(1)
        os.kill(os.getpid(), number)
        assert stop(2)
        assert (stop.how, stop.again) == ("interrupted", again)
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_ends_at_once_and_a_second_warning_of_slurm_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stop_requests(tmp_path) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # of the same Ctrl-C, from the terminal and from torchrun
        assert stop(1)
    monkeypatch.setattr(stopping, "TWICE_SECONDS", 0.0)
    with stop_requests(tmp_path):
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_cancelled_job_that_is_signalled_is_cancelled_and_not_started_anew(tmp_path: Path) -> None:
    with stop_requests(tmp_path) as stop:
        Recorder(tmp_path).control("cancel", reason="by somebody")
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stop(1)
    assert (stop.how, stop.again) == ("cancelled", False)


def test_the_file_is_looked_at_now_and_then_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 3600.0)
    looked = []
    monkeypatch.setattr(stopping, "read_json", lambda path: looked.append(path))
    stop = Stop(tmp_path)
    for step in range(100):
        assert not stop(step)
    assert len(looked) == 1
