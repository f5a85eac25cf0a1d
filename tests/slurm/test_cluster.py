"""Whether jobs reach Slurm from here, by submitit: the real one, and the fake one that stands in for it."""

from pathlib import Path

import pytest
import submitit

from registry.schema.sizes import depth_of
from tests.slurm.clusters import Cluster


@pytest.fixture
def executor(slurm: Cluster, tmp_path: Path) -> submitit.SlurmExecutor:
    executor = submitit.SlurmExecutor(folder=tmp_path / "jobs")
    executor.update_parameters(time=5, cpus_per_task=1, mem="500MB", array_parallelism=3)
    return executor


def test_an_array_finds_our_code_and_returns_its_results(executor: submitit.SlurmExecutor) -> None:
    jobs = executor.map_array(depth_of, ["XL", "S", "B", "L"], [22, 22, 22, 22])
    assert [job.result() for job in jobs] == [23, 10, 10, 20]
    assert len({job.job_id.split("_")[0] for job in jobs}) == 1


def test_an_error_in_a_job_comes_back_with_its_traceback(executor: submitit.SlurmExecutor) -> None:
    with pytest.raises(submitit.core.utils.FailedJobError, match="KeyError: 'XXL'"):
        executor.submit(depth_of, "XXL", 22).result()
