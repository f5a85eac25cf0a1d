"""docs/reports.md: its commands work, and the bounds that it states are those of the code."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis.figures import arm_figures, pictures
from analysis.report import page, page_videos
from experiments.cli.app import app
from experiments.plan.loading import load_plan
from experiments.tracking import mlflow_sync
from registry.runs.machine import ROOT
from tests.fixtures.finished_runs import finish

PAGE = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")


def test_every_command_works_and_writes_what_the_page_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(mlflow_sync, "try_sync", lambda *words: "")  # has tests of its own, and takes long
    runs = tmp_path / "runs"
    few = ("seeds=[0, 1]", "match=null", "floors=[]")
    plan = load_plan(ROOT / "experiments" / "quickstart.yaml", few, runs)
    finish(plan, lambda replicate: {"fvd[moving_shapes_r3d]": 3.0 + replicate.seed + len(replicate.arm)}, losses=3)
    commands = re.findall(r"^    python run\.py (.*)$", PAGE, flags=re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        told = CliRunner().invoke(app, [*shlex.split(command), *few, "--runs", str(runs)])
        assert told.exit_code == 0, told.output
    (folder,) = (runs / "quickstart" / "reports").iterdir()
    for name in ("report.html", "table.md", "table.csv", "verdict.txt", "verdict.json", "experiment.json"):
        assert f"`{name}`" in PAGE
        assert (folder / name).is_file()
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".png", ".pdf", ".svg"}


def test_the_bounds_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    mega = 2**20
    assert f"at most {page_videos.MOST_ROWS} clips of each arm" in text
    assert f"{page_videos.MOST_BYTES // mega} MB of video files" in text
    assert f"{page.MOST_BYTES // mega} MB of figures, and {arm_figures.MOST_STEPS} steps of a curve" in text
    assert f"{pictures.COLUMN:g} inches wide" in text
    assert (ROOT / "docs" / "report.png").stat().st_size < 150_000
