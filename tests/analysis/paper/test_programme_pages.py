"""The pages of the paper's programme are made of its run folders: the scoreboard, tables, verdicts, and pictures."""

import re
from pathlib import Path

import pytest

from analysis.paper import programme_pages
from experiments.plan.loading import load_plan
from registry.errors import RunError
from registry.runs.resolved_experiment import LINK
from tests.analysis.paper.test_scoreboard import FVD, worse
from tests.cli.command import run
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY, write


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """An experiment of two arms, finished and reported."""
    text = TOY.replace("seeds: [0, 1]", "seeds: [0, 1, 2]").split("claim:")[0]
    file = write(tmp_path, f"{text}claim: {{axis: blocks, better: variant_1, worse: variant_4, metric: fvd}}\n")
    finish(load_plan(file, (), tmp_path / "runs"), worse)
    assert run("report", file, "--runs", tmp_path / "runs").code == 0
    return tmp_path / "runs"


def test_a_page_for_each_experiment_and_one_for_all(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "paper"
    index, page = programme_pages.write(runs, "to*", out)
    assert (index, page) == (out / "index.md", out / "toy.md")
    board, own = index.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
    assert "| Variant 1 is better than parallel attention (variant 4), at the same patch size. | supported |" in board
    assert re.search(r"\| \[toy\]\(toy\.md\) +\| +6 \|", board)
    assert (runs / "toy" / LINK / "table.md").read_text(encoding="utf-8") in own
    assert FVD in own
    assert "variant_1 better than variant_4: supported" in " ".join(own.split())
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", own)
    assert "toy/effects.png" in pictures
    assert all((out / name).stat().st_size for name in pictures)
    assert {path.name for path in (out / "toy").iterdir()} == {Path(name).name for name in pictures}


def test_what_is_not_there_is_named(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no experiment 'small-\\*' was launched, but toy"):
        programme_pages.write(runs, "small-*", tmp_path / "paper")
    (runs / "toy" / LINK).unlink()
    with pytest.raises(RunError, match="toy: has no report of its file without overrides"):
        programme_pages.write(runs, "toy", tmp_path / "paper")


def test_a_page_of_results_from_another_machine_stays(runs: Path, tmp_path: Path) -> None:
    """Unpacked from an archive they have no report."""
    (runs / "toy" / LINK).unlink()
    page = tmp_path / "paper" / "toy.md"
    page.parent.mkdir()
    page.write_text("# toy, as another machine wrote it\n", encoding="utf-8")
    index, same = programme_pages.write(runs, "toy", tmp_path / "paper")
    assert "[toy](toy.md)" in index.read_text(encoding="utf-8")
    assert (same, page.read_text(encoding="utf-8")) == (page, "# toy, as another machine wrote it\n")
