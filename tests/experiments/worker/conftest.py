"""What the tests of trainings and evaluations share: one that nothing disturbs, and an ablation as people launch it."""

import shutil
from pathlib import Path

import pytest

from registry.runs.replicate import Replicate
from tests.cli.command import run
from tests.fixtures.toy_replicates import finish, made, write_ablation


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Replicate:
    """Trained to its last step and evaluated there alone."""
    (replicate,) = made(tmp_path_factory.mktemp("undisturbed"), "floors=[]", "seeds=[0]", "claim=[]", "ablate={}")
    finish(replicate)
    return replicate


@pytest.fixture(scope="session")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an ablation of the guidance that was launched, its runs beside it."""
    folder = tmp_path_factory.mktemp("guided")
    path = write_ablation(folder, "guidance", "sampling.guidance: [1.0, 2.0]")
    told = run("launch", path, "--executor", "debug", "--runs", folder / "runs")
    assert told.code == 0, told.err
    return folder


@pytest.fixture
def copied(guided: Path, tmp_path: Path) -> Path:
    """A copy of the launched ablation of the guidance."""
    shutil.copytree(guided, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"
