"""The pages of the paper's programme are made of its run folders: the scoreboard, tables, verdicts, and pictures."""

import re
from pathlib import Path

import pytest

from analysis.paper import programme_pages
from analysis.paper.claims import paper_claims
from experiments.plan.loading import load_plan
from registry.errors import RunError
from registry.runs.replicate import Replicate
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


def better(replicate: Replicate) -> dict[str, float]:
    """Variant 4 is better by as much as it is worse in `worse`."""
    return {name: 60.0 - value for name, value in worse(replicate).items()}


def test_a_launch_with_overrides_changes_neither_page_nor_scoreboard(runs: Path, tmp_path: Path) -> None:
    """`verdict --paper` goes by it, since it is the newest."""
    finish(load_plan(tmp_path / "toy.yaml", ("learning.steps=12",), runs), better)
    assert "toy (variant_1 better than variant_4): contradicted" in run("verdict", "--paper", "--runs", runs).out
    index, page = programme_pages.write(runs, "toy", tmp_path / "paper")
    row = re.escape("| Variant 1 is better than parallel attention (variant 4), at the same patch size. | supported |")
    assert re.search(f"{row}.* 6 steps of 4 ", index.read_text(encoding="utf-8"))
    assert "variant_1 better than variant_4: supported" in " ".join(page.read_text(encoding="utf-8").split())


def test_overrides_that_change_no_result_are_the_file(runs: Path, tmp_path: Path) -> None:
    """How many replicates run at once is an override, too: the small programme was launched with it."""
    finish(load_plan(tmp_path / "toy.yaml", ("resources.parallel=1",), runs), worse)
    index, _ = programme_pages.write(runs, "toy", tmp_path / "paper")
    assert " | supported | toy " in index.read_text(encoding="utf-8")


def test_the_scoreboard_is_about_the_experiments_of_the_pattern(runs: Path, tmp_path: Path) -> None:
    text = (tmp_path / "toy.yaml").read_text(encoding="utf-8").replace("name: toy", "name: other")
    finish(load_plan(write(tmp_path / "second", text), (), runs), worse)
    damaged(runs / "damaged")
    index, _ = programme_pages.write(runs, "to*", tmp_path / "paper")
    assert "| toy (" in index.read_text(encoding="utf-8")
    assert "other (" not in index.read_text(encoding="utf-8")


def damaged(experiment: Path) -> None:
    """Make the folder of an experiment of which nothing can be read."""
    place = experiment / "reports" / "0123456789"
    place.mkdir(parents=True)
    (place / "experiment.json").write_text("{}")


def test_no_page_is_written_where_the_scoreboard_leaves_an_experiment_out(runs: Path, tmp_path: Path) -> None:
    damaged(runs / "toy_2")
    with pytest.raises(RunError, match="toy_2 is left out"):
        programme_pages.write(runs, "to*", tmp_path / "paper")
    assert not (tmp_path / "paper").exists()


def test_the_program_says_in_a_line_what_it_cannot_read(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [str(runs), "toy", "--out", str(tmp_path / "paper")]
    programme_pages.main(words)
    drawn = sorted((tmp_path / "paper" / "toy").iterdir())
    (runs / "toy" / LINK / "verdict.txt").unlink()
    with pytest.raises(SystemExit, match=r"No such file or directory: .*verdict\.txt"):
        programme_pages.main(words)
    assert sorted((tmp_path / "paper" / "toy").iterdir()) == drawn != []
    (tmp_path / "claims.yaml").write_text("claims: [{id: x}]\n")
    monkeypatch.setattr(programme_pages, "paper_claims", lambda: paper_claims(tmp_path / "claims.yaml"))
    with pytest.raises(SystemExit, match=r"claims\.yaml: "):
        programme_pages.main(words)


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
