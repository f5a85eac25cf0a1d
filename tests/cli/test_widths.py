"""Tables and verdicts on terminals of several widths: every number, state and verdict stands whole."""

import os
import pty
import random
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest
from rich.cells import cell_len

from experiments.plan.loading import load_plan
from registry.runs.machine import ROOT
from registry.runs.replicate import Replicate
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY, write

HEAD = TOY[: TOY.index("ablate:")]
AXES = """\
grid:
  model.blocks: [variant_1, variant_4]
  learning.learning_rate: [1e-3, 2e-3]
arms: {not_yet: {model.depth: 4}}
seeds: [0, 1, 2]
claim:
  - {axis: blocks, better: variant_4, worse: variant_1, metric: fvd}
  - {axis: learning_rate, equivalent: [0.001, 0.002], margin: 5%, metric: validation_loss}
"""
VERBS = ("verdict", "table", "plan", "status")
# All verbs in one process, since the start of each takes longer than what it does.
SCRIPT = """
import sys
from experiments.cli.app import app
for verb in sys.argv[3:]:
    print(f"== {verb}", flush=True)
    app([verb, sys.argv[1], "--runs", sys.argv[2]], standalone_mode=False)
"""
NUMBER = re.compile(r"[-+±]?\d[\d,]*\.?\d*(e[-+]?\d+)?%?|\d+/\d+|contradicted|supported|undecided|done|missing")


def scores(replicate: Replicate) -> dict[str, float]:
    """Numbers with many digits: variant_4 is clearly worse, and the learning rate changes little."""
    worse = 40.0 if "variant_4" in replicate.arm else 0.0
    noise = random.Random(replicate.name).gauss(0.0, 1.0)  # the same everywhere, by the name
    return {"fvd[moving_shapes_r3d]": 1234.5 + worse + noise, "validation_loss": 0.51234 + 1e-3 * noise}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """An experiment whose arms have scores, as a command takes it."""
    folder = tmp_path_factory.mktemp("widths")
    path, runs = write(folder, HEAD + AXES), folder / "runs"
    finish(load_plan(path, runs=runs, only=["!not_yet"]), scores)
    return [str(path), "--runs", str(runs)]


def parts_of(output: str) -> dict[str, str]:
    """What each verb printed, without the commands that it advises."""
    # Without colours, and without what erases a progress bar as often as there was time for.
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output).replace("\r", "")
    lines = [line for line in plain.split("\n") if not line.startswith("next: ")]
    pieces = re.split(r"^== (\w+)\n", "\n".join(lines), flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def in_terminal(words: list[str], columns: int) -> dict[str, str]:
    """What the verbs print on a terminal of so many columns."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment |= {"OMP_NUM_THREADS": "1", "TERM": "xterm"}
    command = [sys.executable, "-c", SCRIPT, words[0], words[2], *VERBS]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=slave, stderr=slave, stdin=slave) as process:
        os.close(slave)
        told = b""
        try:
            while chunk := os.read(master, 65536):
                told += chunk
        except OSError:  # Linux says so when the last process has closed the terminal
            pass
    os.close(master)
    assert process.returncode == 0, told.decode()
    return parts_of(told.decode())


def in_pipe(words: list[str], columns: int) -> dict[str, str]:
    """What the verbs print into a pipe, told by $COLUMNS how wide it is."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": str(columns)}
    command = [sys.executable, "-c", SCRIPT, words[0], words[2], *VERBS]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return parts_of(done.stdout)


def numbers(output: str) -> set[str]:
    """Numbers, states and verdicts that stand by themselves."""
    words = (word.strip("│┃(),;:") for word in output.split())
    return {word for word in words if NUMBER.fullmatch(word)}


@pytest.fixture(scope="module")
def widest(words: list[str]) -> dict[str, str]:
    return in_pipe(words, 400)


@pytest.mark.parametrize(("columns", "show"), [(60, in_terminal), (80, in_terminal), (160, in_terminal), (80, in_pipe)])
def test_nothing_is_cut(words: list[str], widest: dict[str, str], columns: int, show: object) -> None:
    assert callable(show)
    told = show(words, columns)
    assert set(told) == set(VERBS)
    for verb, output in told.items():
        wanted = numbers(widest[verb])
        assert len(wanted) > 4, verb
        assert not wanted - numbers(output), (verb, output)
        assert max(cell_len(line) for line in output.split("\n")) <= columns, (verb, output)
        assert "…" not in output, output
    assert {"supported", "contradicted", "3"} <= numbers(told["verdict"])
    assert {"done", "missing"} <= numbers(told["status"])
    assert "averaged over" in told["verdict"]


def test_the_written_verdict_has_a_width_of_its_own(tmp_path: Path, words: list[str]) -> None:
    from analysis.tables.rendering import verdicts_table
    from experiments.plan.reading import answers_of

    answers = answers_of(load_plan(Path(words[0]), runs=Path(words[2])))
    assert max(map(cell_len, verdicts_table("toy", answers, "table", 120).split("\n"))) <= 120
