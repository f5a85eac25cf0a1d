"""Every example of docs/extending.md runs as written, at toy size: parts from outside, a slot in a copy of the core."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from experiments.launch.executors import EXECUTORS
from experiments.plan.loading import load_plan
from experiments.search.workflow import launch
from registry.runs.machine import ROOT
from tests.cli import command as command_line
from tests.fixtures.toy_replicates import TOY, plan_of, write

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
TINY = [
    *("seeds=[0]", "floors=[]", "learning.steps=4", "learning.batch_size=2", "sampling.clips=6", "runtime.threads=1"),
    *("sampling.sampler.steps=2", "scoring.real_clips=8", "model.width=16", "model.depth=2"),
]
SHAPES = ["data.dataset.videos=16"]
OVERRIDES = {  # by experiment file: what makes it small
    "waves.yaml": [*TINY, *SHAPES, "match=null"],
    "stills.yaml": TINY,
    "motion.yaml": [*TINY, *SHAPES],
    "letters.yaml": [*TINY, *SHAPES],
    "averages.yaml": [*TINY, *SHAPES, "match=null"],
}


class Block(NamedTuple):
    language: str
    text: str


def blocks(heading: str) -> list[Block]:
    """The code blocks of a section of the page, in order."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE)
    return [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```", section, flags=re.DOTALL | re.MULTILINE)]


def write_files(found: list[Block], folder: Path) -> None:
    """Write the blocks whose first line is the name of a file."""
    for block in found:
        named = re.match(r"# (\S+\.(?:py|yaml))\n", block.text)
        if named:
            (folder / named[1]).write_text(block.text)


def commands(found: list[Block]) -> list[str]:
    return [line for block in found if block.language == "sh" for line in block.text.splitlines()]


def run(command: str, folder: Path, root: Path = ROOT) -> str:
    """Run a command of the page at toy size, and return what it prints.

    Args:
        command: as the page has it.
        folder: that it is started in.
        root: of the workbench that runs it.
    """
    assignment, rest = re.fullmatch(r"(PYTHONPATH=\. )?python run\.py (.*)", command).groups()  # type: ignore[union-attr]
    given = rest.split()
    file = next((word for word in given if word.endswith(".yaml")), None)
    executor = ["--executor", "debug"] if given[0] == "launch" else []
    variables = {"PYTHONPATH": "."} if assignment else {}
    words = [*given, *(OVERRIDES[file] if file else []), *executor]
    if root == ROOT:
        told = command_line.run(*words, folder=folder, **variables)
        assert told.code == 0, (command, told)
        return told.out
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "COLUMNS": "160"} | variables
    started = [sys.executable, str(root / "run.py"), *words]
    done = subprocess.run(started, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def refused(words: list[str], folder: Path) -> str:
    told = command_line.run(*words, folder=folder)
    assert told.code == 2, told
    return told.err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the user's own, with pictures and arrays of clips."""
    shutil.copy(ROOT / "experiments" / "quickstart.yaml", tmp_path)
    draw = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(8):
            picture = draw.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "pictures" / name / f"{number}.png")
    (tmp_path / "pictures" / "cats" / "broken.png").write_bytes(b"no picture")
    for side in ("samples", "real"):
        (tmp_path / side).mkdir()
        for number in range(4):
            np.save(tmp_path / side / f"{number}.npy", draw.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8))
    return tmp_path


@pytest.mark.slow
def test_a_part(folder: Path) -> None:
    found = blocks("A part")
    write_files(found, folder)
    *_, table = [run(command, folder) for command in commands(found)]
    assert "learned_waves(waves=2)" in table
    listed = re.search(r"`(PYTHONPATH=\. python run\.py parts [^`]+)`", PAGE)
    assert listed is not None
    assert "learned_waves" in run(listed[1], folder)
    words = ["check", "waves.yaml", "match=null", "model.temporal_position={name: learned_waves, waves: 100}"]
    assert "100 waves are more than 8 frames can tell apart" in refused(words, folder)
    words[-1] = "model.temporal_position={name: learned_waves, waves: 0}"
    assert "model.temporal_position.waves: expected greater than 0" in refused(words, folder)


def test_a_dataset(folder: Path) -> None:
    found = blocks("A dataset")
    write_files(found, folder)
    prepared, _ = [run(command, folder) for command in commands(found)]
    assert "16 videos, 2 classes" in prepared
    assert "cats/broken.png: cannot be decoded" in prepared
    assert len(list((folder / "runs" / "stills").glob("*/seed-0/result.json"))) == 2


def test_a_text_encoder(folder: Path) -> None:
    found = blocks("A text encoder")
    write_files(found, folder)
    (launched,) = [run(command, folder) for command in commands(found)]
    assert len(list((folder / "runs" / "letters").glob("*/seed-0/result.json"))) == 1
    assert launched
    words = ["check", "letters.yaml", "model.conditioning.text_width=3"]
    assert "3 is not the width of the text encoder letters: set it to 2" in refused(words, folder)


def test_a_detector(folder: Path) -> None:
    found = blocks("A detector")
    write_files(found, folder)
    (scored,) = [run(command, folder) for command in commands(found)]
    assert "fvd[frame_change]" in scored
    assert "it sees motion alone" in scored
    experiment = (ROOT / "experiments" / "quickstart.yaml").read_text() + "plugins: [my_motion]\n"
    (folder / "waves.yaml").write_text(experiment)
    words = "scoring.detector=frame_change claim=[] ablate={}"
    run(f"python run.py launch waves.yaml {words}", folder)
    assert "fvd[frame_change]" in run(f"python run.py table waves.yaml {words}", folder)


def test_a_metric(folder: Path) -> None:
    found = blocks("A metric")
    write_files(found, folder)
    _, verdict, scored = [run(command, folder) for command in commands(found)]
    assert "motion_gap" in verdict
    assert "motion_gap" in scored


# ---------------------------------------------------------------- a slot


def patched(text: str, hunk: str) -> str:
    """The text with one change: what the hunk removes and keeps is found in one place, whatever its line."""
    lines = [line for line in hunk.splitlines() if line]
    before = "".join(line[1:] + "\n" for line in lines if line[0] in " -")
    after = "".join(line[1:] + "\n" for line in lines if line[0] in " +")
    assert text.count(before) == 1, f"the page changes what is not there, or not only there:\n{before}"
    return text.replace(before, after)


def patch(root: Path, diff: str) -> None:
    """Make the changes of a diff whose hunks have no line numbers."""
    for change in re.split(r"^--- a/\S+\n", diff, flags=re.MULTILINE)[1:]:
        name, *hunks = re.split(r"^@@\n", change, flags=re.MULTILINE)
        path = root / name.removeprefix("+++ b/").strip()
        for hunk in hunks:
            path.write_text(patched(path.read_text(), hunk))


def test_a_slot(folder: Path) -> None:
    found = blocks("A slot")
    root = folder / "workbench"
    for room in ("registry", "components", "experiments", "analysis"):
        shutil.copytree(ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run.py", root)
    for block in found:
        if block.language == "diff":
            patch(root, block.text)
        elif block.language == "python":
            write_files([block], root)
        elif block.language == "yaml":
            write_files([block], folder)
    for command in commands(found):
        run(command, folder, root)
    table = run("python run.py table averages.yaml", folder, root)
    assert "ema_schedule=rising_decay(delay=8)" in table
    listed = run("python run.py parts --slot ema_schedule", folder, root)
    assert "constant_decay" in listed
    assert "rising_decay" in listed
    results = (folder / "runs" / "averages").glob("*/seed-0/result.json")
    assert len(list(results)) == 2


# ---------------------------------------------------------------- an executor, a policy


def names_of(heading: str) -> dict[str, Any]:
    """What the Python of a section defines, its blocks one behind the other."""
    found: dict[str, Any] = {"__name__": __name__}
    code = "\n".join(block.text for block in blocks(heading) if block.language == "python")
    exec(compile(code, heading, "exec"), found)
    return found


def test_an_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXECUTORS, "nice", None)  # type: ignore[arg-type]  # what the page assigns is taken back
    names_of("An executor")
    plan = plan_of(tmp_path, "floors=[]", "seeds=[0]")
    outcome = launch(plan, "nice")
    assert outcome.unfinished == []
    assert outcome.launched.submitted == [replicate.name for replicate in plan.replicates]
    assert all("done:" in (replicate.training / "log.txt").read_text() for replicate in plan.replicates)


def test_a_policy(tmp_path: Path) -> None:
    path = write(tmp_path, TOY.replace("seeds: [0, 1]", "seeds: [0, 1, 2]\nfloors: []"))
    run_until_known, runs = names_of("A policy")["run_until_known"], tmp_path / "runs"

    def seeds_done() -> list[int]:
        return [replicate.seed for replicate in load_plan(path, runs=runs).replicates if replicate.state == "done"]

    run_until_known(path, runs, "debug", "fvd[moving_shapes_r3d]", 1e9)
    assert seeds_done() == [0, 1, 0, 1]
    run_until_known(path, runs, "debug", "fvd[moving_shapes_r3d]", 0.0)
    assert seeds_done() == [0, 1, 2, 0, 1, 2]
