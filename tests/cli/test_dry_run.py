"""`launch --dry-run`: what would happen, and nothing does."""

import sys
from pathlib import Path

import pytest

from tests.cli.command import contents, run
from tests.fixtures.toy_replicates import write


@pytest.mark.parametrize("executor", ["local", "debug"])
def test_replicates_that_would_run_are_named(tmp_path: Path, executor: str) -> None:
    told = run("launch", write(tmp_path), "--dry-run", "--executor", executor, "--runs", tmp_path / "runs")
    assert told.code == 0, told.err
    assert told.out.count("would run ") == 4
    assert contents(tmp_path).keys() == {"toy.yaml"}


def test_without_a_controller_the_scripts_are_those_of_an_assumed_cluster(tmp_path: Path) -> None:
    """The path has Python alone, no command of Slurm."""
    words = ("--dry-run", "--executor", "slurm", "--runs", tmp_path / "runs")
    told = run("launch", write(tmp_path), *words, PATH=str(Path(sys.executable).parent))
    assert told.code == 0, told.err
    assert "there is no sbatch on PATH" in told.out
    assert "# assumed: arrays of at most 1001 tasks, no defaults of the cluster" in told.out
    assert "# ARRAY0: 4 trainings" in told.out
    assert "#SBATCH --array=0-3" in told.out
    assert "--dependency=afterany:ARRAY0" in told.out
    assert contents(tmp_path).keys() == {"toy.yaml"}
