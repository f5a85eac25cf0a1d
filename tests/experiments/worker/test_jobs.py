"""What a job of Slurm runs beside trainings: the command line, in the job's own process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.record.recording import Recorder
from registry.runs.machine import ROOT
from tests.fixtures.toy_replicates import made, write
from tests.waiting import PATIENCE, until

JOB = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: None)  # as submitit passes it over
from experiments.worker.jobs import VerbTask
VerbTask()(*sys.argv[1:])
print("submitit writes the result", file=sys.__stderr__)
"""


def job(log: Path, *words: object) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", JOB, str(log), *map(str, words)], cwd=ROOT, text=True)


@pytest.mark.parametrize(("overrides", "code", "told"), [
    ((), 0, "run.py plan "),
    (("learning.stepz=4",), 2, "did you mean"),
])  # fmt: skip
def test_it_ends_as_the_verb_does_and_prints_into_its_file(
    tmp_path: Path, overrides: tuple[str, ...], code: int, told: str
) -> None:
    log = tmp_path / "launches" / "check.txt"
    assert job(log, "check", write(tmp_path), *overrides).wait(PATIENCE) == code
    assert told in log.read_text()
    assert ("submitit writes the result" in log.read_text()) == (code == 0)


def test_a_verb_that_is_told_to_end_ends(tmp_path: Path) -> None:
    """By scancel, or at the end of its time; else it would be killed half a minute later, its locks and leases left."""
    replicate = made(tmp_path)[0]
    log = tmp_path / "log.txt"
    with Recorder(replicate.training).attempting():  # so that there is something to watch until it is told to end
        watching = job(log, "status", tmp_path / "toy.yaml", "--watch", "--runs", tmp_path / "runs")
        until(lambda: log.exists() and "1 running" in log.read_text(), "it watches", watching)
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(PATIENCE) == 1
    assert "Aborted" in log.read_text()
