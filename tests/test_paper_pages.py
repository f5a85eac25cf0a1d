"""docs/paper: the results that lie there are what its pages say."""

from pathlib import Path

import pytest

from analysis.reading.loading import launched
from registry.runs.machine import ROOT
from tests.analysis.reading.test_packed_results import unpacked
from tests.cli.command import run

PAPER = ROOT / "docs" / "paper"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results, unpacked as the page says."""
    return unpacked(PAPER / "results.tar.xz", tmp_path_factory.mktemp("paper"))


def test_the_scoreboard_is_that_of_the_results(runs: Path) -> None:
    told = run("verdict", "--paper", "--format", "md", "--runs", runs)
    assert told.code == 0, told.err
    assert told.out.strip() in (PAPER / "index.md").read_text(encoding="utf-8")


def test_each_experiment_has_a_page_with_its_verdicts(runs: Path) -> None:
    names = [name for name in launched(runs) if not name.endswith("-stills")]
    assert names
    for name in names:
        page = (PAPER / f"{name}.md").read_text(encoding="utf-8")
        file = ROOT / "experiments" / "latte" / "small" / f"{name.removeprefix('small-').replace('-', '_')}.yaml"
        for answer in run("verdict", file, "--runs", runs, "--format", "json").json["claims"]:
            assert f"{answer['verdict']}: " in page
            assert answer["reason"].split(";")[1].strip()[:8] in page, answer  # `p = 0.02`
