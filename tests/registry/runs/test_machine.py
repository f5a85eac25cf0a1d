"""How a program ends that leaves its garbage."""

import subprocess
import sys
from pathlib import Path

import pytest

from registry.runs.machine import ROOT

PROGRAM = """
import sys, types, weakref
from registry.runs.machine import leave_garbage_at_the_end

class Told:
    def __init__(self, word):
        self.word = word
    def __del__(self):
        print(self.word)

leave_garbage_at_the_end()
leave_garbage_at_the_end()
sys.modules.update((name, types.ModuleType(name)) for name in sys.argv[2:])
log = open(sys.argv[1], "w")
log.write("not closed")
binary = open(sys.argv[1] + ".bin", "wb")
binary.write(b"nor this")
cycle = Told("garbage")
cycle.cycle = cycle
finalised = weakref.finalize(cycle, print, "finalised")
"""


@pytest.mark.parametrize(("modules", "told"), [((), []), (("triton",), ["garbage"])])
def test_what_closes_itself_is_closed_and_garbage_is_left_unless_that_is_told(
    tmp_path: Path, modules: tuple[str, ...], told: list[str]
) -> None:
    """Below triton nanobind complains at length of whatever is left. What was written is in its file."""
    log = tmp_path / "log"
    words = [sys.executable, "-c", PROGRAM, str(log), *modules]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.split() == ["finalised", *told]
    assert log.read_text() == "not closed"
    assert log.with_name("log.bin").read_text() == "nor this"


def test_it_is_for_our_own_programs() -> None:
    """What a user's program leaves to its end is closed as Python always does, also where it imports all of this."""
    program = """
import gc
import analysis, experiments, experiments.cli.app, experiments.worker.run, experiments.worker.jobs
from experiments import Experiment, open_model
gc.freeze = lambda: print("left")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
