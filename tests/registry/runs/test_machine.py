"""How a program that was told to look rarely for garbage ends."""

import subprocess
import sys

import pytest

from registry.runs.machine import ROOT

PROGRAM = """
import sys, types, weakref
from registry.runs.machine import look_rarely_for_garbage

class Told:
    def __init__(self, word):
        self.word = word
    def __del__(self):
        print(self.word)

look_rarely_for_garbage()
sys.modules.update((name, types.ModuleType(name)) for name in sys.argv[1:])
cycle = Told("garbage")
cycle.cycle = cycle
finalised = weakref.finalize(cycle, print, "finalised")
"""


@pytest.mark.parametrize(("modules", "told"), [((), []), (("triton",), ["garbage"])])
def test_what_closes_itself_is_closed_and_garbage_is_left_unless_that_is_told(
    modules: tuple[str, ...], told: list[str]
) -> None:
    """Below triton nanobind complains at length of whatever is left."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *modules], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["finalised", *told]
