"""Why an attempt ends: what experiments want, and signals, and which of them has the last word."""

import dataclasses
import os
import signal
from pathlib import Path

import pytest

from experiments.record.recording import create, desire
from experiments.worker import stopping
from experiments.worker.stopping import Stop, stop_requests
from registry.runs.replicate import Replicate
from tests.fixtures.toy_replicates import plan_of


@pytest.fixture(autouse=True)
def _looks_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 0.0)


@pytest.fixture
def replicate(tmp_path: Path) -> Replicate:
    """One that the toy experiment has asked for."""
    found = plan_of(tmp_path, only=["baseline"]).replicates[0]
    create(found, {})
    return found


def of_another(replicate: Replicate) -> Replicate:
    """The same replicate, asked for by another experiment."""
    link = replicate.link.parents[2] / "other" / "arm" / "seed-0"
    other = dataclasses.replace(replicate, experiment="other", link=link)
    create(other, {})
    return other


def test_nothing_wanted_means_go_on(tmp_path: Path, replicate: Replicate) -> None:
    assert not Stop(tmp_path)(10)
    stop = Stop(replicate.training)
    assert not stop(10)
    desire(replicate, "run")
    assert not stop(10)
    assert (stop.how, stop.reason, stop.again) == ("", "", False)


@pytest.mark.parametrize(("action", "how"), [("cancel", "cancelled"), ("stop", "stopped")])
def test_a_wish_ends_it(replicate: Replicate, action: str, how: str) -> None:
    stop = Stop(replicate.training)
    desire(replicate, action, reason="because")
    assert stop()
    assert (stop.how, stop.reason, stop.again) == (how, "because", False)
    desire(replicate, "run")
    assert stop()  # once yes, always yes


@pytest.mark.parametrize("action", ["cancel", "stop"])
def test_it_goes_on_for_another_experiment(replicate: Replicate, action: str) -> None:
    other = of_another(replicate)
    stop = Stop(replicate.training)
    desire(replicate, action, reason="because")
    assert not stop(3)
    desire(other, action, reason="neither")
    assert stop(4)
    assert stop.reason == "neither"


def test_what_another_experiment_wants_to_the_end_does_not_pause(replicate: Replicate) -> None:
    other = of_another(replicate)
    desire(replicate, "run", until=6)
    assert not Stop(replicate.training)(6)
    desire(other, "run", until=8)
    assert not Stop(replicate.training)(6)
    assert Stop(replicate.training)(8)
    desire(other, "cancel")
    assert Stop(replicate.training)(6)


def test_it_pauses_at_a_step_and_not_before(replicate: Replicate) -> None:
    stop = Stop(replicate.training)
    desire(replicate, "run", until=6)
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


def test_a_cancelled_job_that_is_signalled_is_cancelled_and_not_started_anew(replicate: Replicate) -> None:
    with stop_requests(replicate.training) as stop:
        desire(replicate, "cancel", reason="by somebody")
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stop(1)
    assert (stop.how, stop.again) == ("cancelled", False)


def test_the_file_is_looked_at_now_and_then_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 3600.0)
    looked = []
    monkeypatch.setattr(stopping, "open_evaluations", lambda training: looked.append(training) or [])
    stop = Stop(tmp_path)
    for step in range(100):
        assert not stop(step)
    assert len(looked) == 1
