"""What an executor refuses: what it took before is noted, and the job that reports is asked for again."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.launch.controller import Controller, Launched, Wants
from experiments.launch.executor import RefusedError
from experiments.launch.slurm_arrays import Sent
from experiments.launch.slurm_jobs import SlurmJobs
from experiments.plan.plan import Plan
from registry.runs.replicate import Replicate
from tests.fixtures.toy_replicates import plan_of


class Arrays:
    """Takes every array but the last one asked for, and refuses verbs so many times."""

    def __init__(self, folder: Path, refusals: int, refuses_array: bool = False) -> None:
        self.launch_folder, self.refusals, self.refuses_array = folder, refusals, refuses_array
        self.snapshot, self.sent = None, []

    def submit(self, replicates: Sequence[Replicate], before: Any) -> list[str]:
        names = [replicate.name for replicate in replicates]
        self.sent.append(Sent("7", len(names), len(names)))
        if self.refuses_array:
            raise RefusedError("sbatch refuses the array", names[:-1])
        return names

    def submit_verb(self, verb: str, words: Sequence[str], after: str | None = None) -> str:
        if self.refusals:
            self.refusals -= 1
            raise RefusedError(f"sbatch refuses {verb}")
        return "8"


def jobs_of(plan: Plan, arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> SlurmJobs:
    """Return the executor over these arrays, with no job that prepares."""
    jobs = SlurmJobs(plan, arrays, lambda line: None, reports=True)  # type: ignore[arg-type]
    monkeypatch.setattr(jobs, "preparing", SimpleNamespace(before=lambda trainings: {}, sent=[]))
    monkeypatch.setattr(jobs, "pause", 0.0)
    return jobs


def reporting_job(folder: Path) -> Any:
    """Return the job that reports as the launch's folder names it."""
    return json.loads((folder / "launch.json").read_text())["report"]


def test_a_refused_report_is_asked_for_until_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tmp_path)
    arrays = Arrays(tmp_path / "launch", refusals=3)
    arrays.launch_folder.mkdir()
    jobs = jobs_of(plan, arrays, monkeypatch)
    todo = plan.all_replicates
    with pytest.raises(RefusedError, match="sbatch refuses report") as refused:
        jobs.submit(todo)
    assert refused.value.accepted == tuple(replicate.name for replicate in todo)
    assert reporting_job(arrays.launch_folder) is None
    for _ in range(2):
        jobs.poll()
        assert jobs.report is None
    jobs.poll()
    assert jobs.report == reporting_job(arrays.launch_folder) == "8"
    arrays.refusals = 1
    jobs.poll()  # there is one behind every array: nothing is asked for
    assert arrays.refusals == 1


def test_what_was_taken_before_a_refusal_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tmp_path)
    arrays = Arrays(tmp_path / "launch", refusals=0, refuses_array=True)
    arrays.launch_folder.mkdir()
    todo = plan.all_replicates
    launched = Launched(list(todo))
    controller = Controller(jobs_of(plan, arrays, monkeypatch), launched, lambda *_: None, lambda line: None)

    class Once:
        def next(self, executor: object) -> Wants:
            return Wants(todo, (), (), over=True)

    with pytest.raises(RefusedError, match="sbatch refuses the array"):
        controller.run(Once(), rounds=1)
    assert launched.submitted == [replicate.name for replicate in todo[:-1]]
