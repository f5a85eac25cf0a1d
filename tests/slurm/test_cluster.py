"""Whether jobs reach a real Slurm from here. `tests/slurm/start` makes one; without one these tests are skipped."""

import shutil
import subprocess
from pathlib import Path

import pytest
import submitit

from registry.sizes import depth_of


def slurm_is_missing() -> str:
    """Why there is no Slurm to ask, or nothing."""
    if shutil.which("sinfo") is None or shutil.which("sbatch") is None:
        return "Slurm's commands are not installed; as root on Debian: tests/slurm/start FOLDER"
    asked = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True, timeout=30)
    return "" if asked.returncode == 0 else f"sinfo fails: {asked.stderr.strip()}"


@pytest.fixture
def slurm(tmp_path: Path) -> submitit.AutoExecutor:
    if missing := slurm_is_missing():
        pytest.skip(missing)
    executor = submitit.AutoExecutor(folder=tmp_path / "jobs", cluster="slurm")
    executor.update_parameters(timeout_min=5, cpus_per_task=1, mem_gb=1)
    return executor


def test_a_job_finds_our_code_and_returns_its_result(slurm: submitit.AutoExecutor) -> None:
    assert slurm.submit(depth_of, "XL", 22).result() == 23


def test_an_error_in_a_job_comes_back_with_its_traceback(slurm: submitit.AutoExecutor) -> None:
    with pytest.raises(submitit.core.utils.FailedJobError, match="KeyError: 'XXL'"):
        slurm.submit(depth_of, "XXL", 22).result()
