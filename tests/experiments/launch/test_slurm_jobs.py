"""Jobs on Slurm: what a launch submits is what its preview shows."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.launch.launching import make_run_folders
from experiments.launch.slurm_arrays import Chunk, SlurmArrays, script
from experiments.launch.slurm_jobs import SlurmJobs
from experiments.plan.plan import Plan
from experiments.record import slurm_queue
from experiments.record.recording import bind_data
from experiments.record.slurm_queue import Cluster
from experiments.record.snapshot import Snapshot
from registry.runs.records import PreparedData
from registry.schema.resources import Shape
from tests.fixtures.toy_replicates import plan_of

ALIKE = ("floors=[]", "resources.parallel=1")
APART = (*ALIKE, "ablate={data.interval: [1, 2]}", "claim=[]")


@pytest.fixture(autouse=True)
def _lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that takes long arrays, and holds every job back."""
    monkeypatch.setattr(slurm_queue, "cluster", lambda: Cluster("lab", 1001))
    monkeypatch.setattr(slurm_queue, "time_limits", dict)
    monkeypatch.setattr(slurm_queue, "ask", lambda jobs: SimpleNamespace(hint=lambda job: "PENDING"))


class Sbatch(SlurmArrays):
    """Writes down the scripts of arrays and the verbs of jobs in place of submitting them."""

    def __init__(self, plan: Plan) -> None:
        resources = plan.file.experiment.resources
        super().__init__(plan.folder, resources, Cluster("lab", 1001), Shape(), Snapshot(plan.runs, "", False))
        self.scripts: list[str] = []
        self.verbs: list[str] = []

    def submit_verb(self, verb: str, words: Any, after: str | None = None, log: str = "") -> str:
        self.verbs.append(verb)
        return verb.upper()

    def _submit(self, chunk: Chunk, behind: str | None, mine: Any) -> str:
        self.scripts.append(script(self.executor(chunk, behind), len(chunk.tasks)))
        return f"ARRAY{len(self.scripts) - 1}"


def ordered(text: str) -> list[str]:
    """What a batch script says of its tasks, and of the jobs that it waits for."""
    return [line for line in text.splitlines() if line.startswith(("#SBATCH --array", "#SBATCH --dependency"))]


@pytest.mark.parametrize(
    ("overrides", "verbs", "arrays"),
    [
        (ALIKE, [], [["#SBATCH --array=0-3%1"]]),
        (
            APART,
            ["prepare"],
            [
                ["#SBATCH --array=0-1%1"],
                ["#SBATCH --array=0-1%1", "#SBATCH --dependency=afterok:PREPARE,afterany:ARRAY0"],
            ],
        ),
    ],
)
def test_trainings_that_wait_for_data_and_others_share_what_may_run_at_once(
    tmp_path: Path, overrides: tuple[str, ...], verbs: list[str], arrays: list[list[str]]
) -> None:
    first = plan_of(tmp_path, *overrides, "seeds=[0]", only=["baseline"])
    data = PreparedData(digest="d", folder=str(first.runs), videos=16, autoencoder="pixels")
    for replicate in make_run_folders(first, {}):
        bind_data(replicate.training, data)
    plan = plan_of(tmp_path, *overrides)
    preview = SlurmJobs.preview(plan, plan.replicates)[:-1]  # the last is the job that reports
    sbatch = Sbatch(plan)
    jobs = SlurmJobs(plan, sbatch, lambda line: None, reports=False)
    sbatch.launch_folder.mkdir(parents=True)
    jobs.submit(jobs.prepare(plan, make_run_folders(plan, {})))
    assert sbatch.verbs == verbs
    assert [ordered(text) for text in sbatch.scripts] == arrays
    assert [ordered(text) for text in preview[len(verbs) :]] == arrays
