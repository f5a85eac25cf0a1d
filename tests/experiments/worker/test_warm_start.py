"""Programs that are forked from a process which has imported what they need."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from experiments.worker.warm_start import Forked, WarmStart
from registry.runs.machine import ROOT
from tests.waiting import until

# A module that notes how often it is imported, and draws from the generators that a fork would share.
COUNTED = """
import os, pathlib
import numpy
with open(os.environ["COUNT"], "a") as file:
    file.write("imported\\n")
"""
PROGRAM = """
import json, os, random, signal, sys
import counted, numpy
handlers = [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
files = sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1] if os.path.exists("/proc/self/fd") else [0, 1, 2]
about = {
    "main": __name__, "argv": sys.argv, "variables": dict(os.environ), "folder": os.getcwd(), "files": files,
    "handlers": handlers, "drawn": [numpy.random.rand(), random.random()], "input": sys.stdin.read(),
}
print(json.dumps(about))
print("to standard error", file=sys.stderr)
sys.exit(int(sys.argv[-1]))
"""
ENDS = """
import atexit, sys, threading, time
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.05), print("a thread"))).start()
print("printed")
if sys.argv[1] != "without":
    raise {"text": SystemExit("why"), "none": SystemExit(), "interrupt": KeyboardInterrupt()}[sys.argv[1]]
"""
WAITS = "import pathlib, sys, time\npathlib.Path(sys.argv[1]).touch()\ntime.sleep(3600)\n"


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[WarmStart]:
    (tmp_path / "counted.py").write_text(COUNTED)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "waits.py").write_text(WAITS)
    (tmp_path / "ends.py").write_text(ENDS)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    variables = os.environ | {"PYTHONPATH": path, "COUNT": str(tmp_path / "count")}
    found = WarmStart(["counted"], variables, tmp_path)
    yield found
    found.close()


def started(warm: WarmStart, folder: Path, *words: str, **variables: str) -> Forked:
    """A program of the folder, what it says in the files `out` and `err` there."""
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = warm.start(words, variables, out, err)
    assert process is not None
    return process


def test_a_fork_is_as_a_process_of_its_own(warm: WarmStart, tmp_path: Path) -> None:
    said = []
    for words, code in (["program.py", "a word", "0"], 0), (["-m", "program", "7"], 7):
        process = started(warm, tmp_path, *words, COLOUR="blue", CUDA_VISIBLE_DEVICES="1")
        assert process.wait(60) == code
        assert (tmp_path / "err").read_text() == "to standard error\n"
        said.append(json.loads((tmp_path / "out").read_text()))
    alone = subprocess.run(
        [sys.executable, "program.py", "a word", "0"],
        cwd=tmp_path,
        env={
            "COUNT": str(tmp_path / "other"),
            "COLOUR": "blue",
            "CUDA_VISIBLE_DEVICES": "1",
            "PATH": os.environ["PATH"],
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    expected = json.loads(alone.stdout)
    for key in ("main", "folder", "handlers", "input"):
        assert said[0][key] == said[1][key] == expected[key], key
    assert said[0]["files"] == [0, 1, 2]
    assert said[0]["variables"] == {"COLOUR": "blue", "CUDA_VISIBLE_DEVICES": "1"}
    assert said[0]["argv"] == ["program.py", "a word", "0"]
    assert [Path(said[1]["argv"][0]).name, *said[1]["argv"][1:]] == ["program.py", "7"]
    assert said[0]["drawn"] != said[1]["drawn"]
    assert (tmp_path / "count").read_text() == "imported\n"


def test_a_fork_ends_as_python_does(warm: WarmStart, tmp_path: Path) -> None:
    for how in ("without", "none", "text", "interrupt"):
        code = started(warm, tmp_path, "ends.py", how).wait(60)
        alone = subprocess.run(
            [sys.executable, "ends.py", how], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (code, (tmp_path / "out").read_text()) == (alone.returncode, alone.stdout), how
        assert (tmp_path / "err").read_text().splitlines()[-1:] == alone.stderr.splitlines()[-1:], how


def test_an_exception_and_a_kill_end_one_alone(warm: WarmStart, tmp_path: Path) -> None:
    waiting = started(warm, tmp_path, "waits.py", str(tmp_path / "first"))
    raising = started(warm, tmp_path, "program.py", "no number")
    assert raising.wait(60) == 1
    assert "ValueError" in (tmp_path / "err").read_text()
    killed = started(warm, tmp_path, "waits.py", str(tmp_path / "second"))
    until(lambda: (tmp_path / "first").exists() and (tmp_path / "second").exists(), "both wait")
    killed.kill()
    assert killed.wait(60) == -signal.SIGKILL
    assert waiting.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.01)
    waiting.terminate()
    assert waiting.wait(60) == -signal.SIGTERM
    waiting.terminate()  # is no error


def test_what_was_started_goes_on_when_the_starter_ends(warm: WarmStart, tmp_path: Path) -> None:
    process = started(warm, tmp_path, "waits.py", str(tmp_path / "first"))
    until(lambda: (tmp_path / "first").exists(), "it waits")
    warm.close()
    assert process.poll() is None
    assert psutil.Process(process.pid).is_running()
    process.kill()
    assert process.wait(60) == -signal.SIGKILL


def test_nothing_is_started_where_the_modules_cannot_be_imported(tmp_path: Path) -> None:
    warm = WarmStart(["nothing_of_that_name"], os.environ | {"PYTHONPATH": str(ROOT)}, tmp_path)
    with (tmp_path / "out").open("wb") as out:
        assert warm.start(["-m", "this"], os.environ, out) is None
        assert warm.start(["-m", "this"], os.environ, out) is None
    warm.close()
