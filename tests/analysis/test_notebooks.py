"""analysis/notebooks: each runs from top to bottom on results, pairs say the same, and outputs are not committed."""

import os
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

from experiments.plan.loading import load_plan
from registry.errors import RunError
from registry.runs.machine import ROOT
from registry.runs.replicate import Replicate
from tests.fixtures.finished_runs import finish

FOLDER = ROOT / "analysis" / "notebooks"
TUTORIAL = "your_own_ablation"
NAMES = sorted(path.stem for path in FOLDER.glob("*.md"))
READING = [name for name in NAMES if name != TUTORIAL]


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def code_of(name: str) -> str:
    cells = jupytext.reads(text_of(name), fmt="md").cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "code")


def file_of(name: str) -> str:
    """The experiment file that a notebook reads, relative to the checkout."""
    (place,) = re.findall(r'parents\[1\] / "(.*?)"', text_of(name))
    return str(place)


def small_file_of(name: str) -> str:
    """The small twin of that file, scored by two detectors; the file itself where it has none."""
    twin = re.sub(r"^experiments/latte/", "experiments/latte/small/digits_", file_of(name))
    return twin if twin in text_of(name) else file_of(name)


def made_up(replicate: Replicate) -> dict[str, float]:
    """Scores by arm and seed, by whatever detectors the experiment names; the values are told from nothing."""
    offset = sum(map(ord, replicate.arm)) % 7
    spec = replicate.spec.scoring
    detectors = [one.name for one in (*(spec.second_opinions or ()), spec.detector)]
    scores = {"fvd" if one == "i3d" else f"fvd[{one}]": 30.0 + offset + 0.3 * replicate.seed for one in detectors}
    return {**scores, "validation_loss": 0.5 + 0.01 * offset + 0.001 * replicate.seed}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, far from the notebooks."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_says_the_same_and_holds_no_output(name: str) -> None:
    notebook = jupytext.read(FOLDER / f"{name}.ipynb")
    text = jupytext.reads(text_of(name), fmt="md")
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in text.cells
    ]
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("name", READING)
def test_without_results_it_says_what_to_launch(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.reading.loading.RUNS", "no-runs")  # the checkout may have some
    with pytest.raises(RunError, match=r"launch it with `python run\.py launch"):
        exec(compile(code_of(name), name, "exec"), {})


@pytest.mark.parametrize(
    ("name", "file"),
    [*((name, small_file_of(name)) for name in READING), ("joint_images", file_of("joint_images"))],
)
def test_it_runs_on_results(name: str, file: str, here: Path) -> None:
    """Also on those of another file and of two detectors, where its file alone is changed."""
    plan = load_plan(ROOT / file, ["seeds=[0,1,2]"], here / "runs")
    finish(plan, made_up, losses=3)
    exec(compile(code_of(name).replace(file_of(name), file), name, "exec"), {})


def test_the_tutorial_runs_in_a_kernel(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the question to a verdict, with real trainings, at toy size."""
    small = (("STEPS, CLIPS, SEEDS = 60, 16, range(2)", "STEPS, CLIPS, SEEDS = 4, 8, range(2)"),
             (".launch()", '.launch(executor="debug")'))  # fmt: skip
    notebook = nbformat.read(FOLDER / f"{TUTORIAL}.ipynb", as_version=4)
    for cell in notebook.cells:
        for old, new in small:
            cell.source = cell.source.replace(old, new)
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{path}" if path else str(ROOT))
    NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(here)}}).execute()
    shown = [str(output) for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("4 better than 2" in output for output in shown)
    assert any("<video" in output for output in shown)
    assert (here / "my-depths.yaml").exists()
