"""A folder that clips are sampled into: what it may hold before anything is noted."""

from pathlib import Path

import pytest

from experiments.sampling.folders import told
from registry.errors import RunError


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """As a process leaves it that was killed before it wrote anything."""
    for name in ("arrays", "videos"):
        (tmp_path / name).mkdir()
    (tmp_path / ".lock").touch()
    return tmp_path


def test_a_folder_that_was_only_begun_is_taken_up(begun: Path) -> None:
    assert told(begun, {"seed": 0}) is None


@pytest.mark.parametrize("name", ["arrays", "videos"])
def test_a_folder_with_files_that_nobody_noted_is_refused(begun: Path, name: str) -> None:
    (begun / name / "mine").touch()
    with pytest.raises(RunError, match=rf"holds {name} and no samples\.json; give a folder of its own"):
        told(begun, {"seed": 0})
