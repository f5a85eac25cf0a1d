"""Launching on Slurm, by the command line, on the fake cluster: nothing twice, nothing lost, and every refusal told."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from experiments.launch.launching import launch_all
from experiments.plan import status
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from tests.cli.command import Told, begin, run
from tests.fixtures.toy_replicates import nothing, plan_of, write
from tests.slurm.clusters import Cluster
from tests.waiting import until

SHORT = ("seeds=[0]", "floors=[]")
SLOW = ("seeds=[0]", "floors=[]", "learning.steps=100000", "runtime.checkpoint_every=20", "runtime.log_every=10")


class Lab:
    """The toy experiment in a folder, and the command line on it."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.file, self.runs, self.overrides = write(folder), folder / "runs", overrides

    def words(self, verb: str, *more: str) -> list[str]:
        return [verb, str(self.file), *self.overrides, "--runs", str(self.runs), *more]

    def say(self, verb: str, *more: str) -> Told:
        return run(*self.words(verb, *more))

    def launch(self, *more: str) -> Told:
        return self.say("launch", "--executor", "slurm", *more)

    def rows(self) -> list[dict[str, Any]]:
        """What `status` says, without a process of its own."""
        return status.rows(load_plan(self.file, self.overrides, self.runs))

    def states(self) -> list[str]:
        return [row["state"] for row in self.rows()]

    def attempts(self) -> list[int]:
        return [len(list((Path(row["folder"]) / "training" / "attempts").glob("0*.json"))) for row in self.rows()]

    def trains(self) -> bool:
        """Whether every replicate has a checkpoint."""
        return all(list((Path(row["folder"]) / "training" / "checkpoints").glob("step-*.pt")) for row in self.rows())


def scores(plan_or_lab: Plan | Lab) -> list[dict[str, float]]:
    if isinstance(plan_or_lab, Lab):
        folders = [Path(row["folder"]) for row in plan_or_lab.rows()]
    else:
        folders = [replicate.folder for replicate in plan_or_lab.replicates]
    return [json.loads((folder / "result.json").read_text())["scores"] for folder in folders]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The toy experiment launched in this process."""
    plan = plan_of(tmp_path_factory.mktemp("here"), *SHORT)
    launch_all(plan, "debug", nothing, lambda todo, states: None)
    return plan


def test_a_tuning_goes_first_in_jobs_of_its_own(fake_slurm: Cluster, tmp_path: Path) -> None:
    tune = "tune={learning.learning_rate: [1e-6, 1e-2], budget: 100%}"
    lab = Lab(tmp_path, *SHORT, "ablate={}", "claim=[]", tune)
    told = lab.launch("--wait")
    assert told.code == 0, told.err
    assert told.out.count(": reports when they have ended") == 2
    (tuned,) = load_plan(lab.file, lab.overrides, lab.runs).arms
    assert tuned.spec.learning.learning_rate == 1e-2
    assert lab.states() == ["done"]
    assert len(list((lab.runs / "toy-tuning/reports").glob("*/report.html"))) == 1  # a job has written it
    assert len(list((lab.runs / "toy/reports").glob("*/report.html"))) == 1


def test_a_screen_by_a_score_samples_at_its_rung_in_jobs_of_its_own(fake_slurm: Cluster, tmp_path: Path) -> None:
    evaluation = "{sampling.clips: 4, scoring.real_clips: 4}"
    screen = f"screen={{rungs: [2], keep: 0.5, metric: fvd, evaluation: {evaluation}}}"
    lab = Lab(tmp_path, *SHORT, "ablate={learning.learning_rate: [1e-2]}", "claim=[]", screen)
    told = lab.launch()
    assert told.code == 0, told.err
    assert "screen: at step 2 1 of 2 arms go on: " in told.out
    assert sorted(lab.states()) == ["done", "stopped"]
    at_rung = load_plan(lab.file, lab.overrides, lab.runs, stage="screen").replicates
    assert [str(one.state) for one in at_rung] == ["done", "done"]
    assert all(one.result().score_details["fvd[moving_shapes_r3d]"]["n_real"] == 4 for one in at_rung)  # type: ignore[union-attr]


def test_the_same_numbers_as_here_then_nothing_again(fake_slurm: Cluster, tmp_path: Path, here: Plan) -> None:
    lab = Lab(tmp_path, *SHORT)
    told = lab.launch("--wait")
    assert told.code == 0, told.err
    assert ": prepares the data" in told.out
    assert ": 2 trainings" in told.out
    assert "undecided" in told.out
    assert scores(lab) == scores(here)
    assert [row["job"].split("_")[1] for row in lab.rows()] == ["0", "1"]
    (report,) = (lab.runs / "toy" / "reports").iterdir()  # SHORT overrides the file, so `report` does not lead there
    assert {path.name for path in report.glob("[!.]*")} == {
        "experiment.json", "figures", "report.html", "table.md", "table.csv", "verdict.txt", "verdict.json",
    }  # fmt: skip
    assert f"reports when they have ended, in {report}" in told.out
    assert not (lab.runs / "toy" / "report").exists()
    assert lab.launch().out.startswith("0 of 2 replicates were submitted now")  # and no job beside them
    assert lab.attempts() == [1, 1]
    code = json.loads((Path(lab.rows()[0]["folder"]) / "training" / "provenance.json").read_text())["code"]
    frozen = lab.runs / "_code" / code["snapshot"]
    assert (frozen / "experiments" / "worker" / "run.py").exists()
    events = [
        json.loads(line)
        for line in (Path(lab.rows()[0]["folder"]) / "training" / "events.jsonl").read_text().splitlines()
    ]
    assert events[0]["job"] == lab.rows()[0]["job"]


def test_the_job_runs_the_snapshot_and_not_what_was_edited_since(
    fake_slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "my_parts.py"
    plugin.write_text(
        "from components.learning.lr_schedules import Constant\nfrom registry.parts.catalogue import part\n\n\n"
        '@part("lr_schedule", "mine")\nclass Mine(Constant):\n    """As constant.\n\n    Source: none\n'
        '    Official code: no\n    """\n\n    def __init__(self) -> None:\n        super().__init__()\n'
    )
    monkeypatch.setenv("FAKE_SLURM_HOLD", "1")
    lab = Lab(tmp_path, *SHORT, "learning.lr_schedule=mine", "plugins=[my_parts]")
    told = lab.launch("--only", "baseline")
    assert told.code == 0, told.err
    plugin.write_text("raise SystemExit('edited since')\n")
    frozen = [path.read_text() for path in lab.runs.glob("_code/*/my_parts.py")]
    assert len(frozen) == 1
    assert "class Mine" in frozen[0]
    scripts = [path.read_text() for path in lab.runs.glob("toy/_launches/*/*_submission.sh")]
    assert len(scripts) == 3
    for text in scripts:
        (path,) = [line for line in text.splitlines() if line.startswith("export PYTHONPATH=")]
        first, beside = path.removeprefix("export PYTHONPATH=").split(":")[:2]
        assert Path(first).parent == lab.runs / "_code"
        assert Path(beside).parent == lab.runs / "_code"
        assert "export PYTHONSAFEPATH=1" in text


def test_two_launchers_at_once_submit_each_replicate_once(
    fake_slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLURM_HOLD", "1")
    lab = Lab(tmp_path, "seeds=[0,1,2,3,4,5]")
    three = [begin(*lab.words("launch", "--executor", "slurm")) for _ in range(3)]
    counts = []
    for told in [launch.told() for launch in three]:
        out = told.out
        assert told.code == 0, told
        counts.append(int(next(line for line in out.splitlines() if " of 12 replicates" in line).split()[0]))
    assert sum(counts) == 12
    assert set(lab.states()) == {"queued"}
    jobs = [row["job"] for row in lab.rows()]
    assert len(set(jobs)) == 12
    assert sum("_" in job for job in fake_slurm.queue() if not job.isdigit()) >= 12 - counts.count(1)


def test_what_sbatch_refuses_is_told_and_can_be_launched_again(
    fake_slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLURM_HOLD", "1")
    lab = Lab(tmp_path, *SHORT)
    told = lab.launch("resources.partition=nowhere")
    assert told.code == 1
    assert "Traceback" not in told.err
    assert "invalid partition specified: nowhere" in told.err
    assert "'partition': 'nowhere'" in told.err
    assert lab.states() == ["missing", "missing"]
    # The job that prepares is accepted, the array is not.
    told = lab.launch("resources.arms={'*': {partition: nowhere}}")
    assert told.code == 1
    assert lab.states() == ["missing", "missing"]
    assert "2 of 2 replicates were submitted now" in lab.launch().out
    assert lab.states() == ["queued", "queued"]


def test_a_slurm_that_is_away_changes_nothing(
    fake_slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLURM_HOLD", "1")
    lab = Lab(tmp_path, *SHORT)
    assert lab.launch().code == 0
    fake_slurm.down()
    told = lab.launch()
    assert told.code == 1
    assert "Slurm does not answer" in told.err
    assert lab.states() == ["queued", "queued"]  # as the files say
    fake_slurm.up()
    assert "0 of 2 replicates were submitted now" in lab.launch().out


@pytest.mark.slow
def test_cancel_waits_for_retry_and_the_result_is_the_undisturbed_one(fake_slurm: Cluster, tmp_path: Path) -> None:
    lab = Lab(tmp_path, *SLOW)
    assert lab.launch().code == 0
    until(lab.trains, "both train")
    told = lab.say("cancel", "--only", "blocks=*")
    assert "cancelled blocks=variant_4 seed 0" in told.out
    until(lambda: lab.states() == ["running", "cancelled"], "one is cancelled")
    assert "0 of 2 replicates were submitted now" in lab.launch().out
    assert lab.say("cancel").out.count("cancelled ") == 1
    until(lambda: lab.states() == ["cancelled", "cancelled"], "both are cancelled")
    told = lab.say("retry", "--executor", "slurm", "--only", "blocks=*")
    assert "1 failed or cancelled replicates are tried again" in told.out
    until(lambda: lab.states() == ["cancelled", "running"], "one runs again")
    lab.say("cancel")
    until(lambda: lab.states() == ["cancelled", "cancelled"], "both are cancelled")
    folder = Path(lab.rows()[1]["folder"])
    how = [json.loads(path.read_text())["how"] for path in sorted((folder / "training" / "attempts").glob("*.json"))]
    assert how == ["cancelled", "cancelled"]


def test_a_job_that_was_killed_goes_on_by_the_same_command(fake_slurm: Cluster, tmp_path: Path, here: Plan) -> None:
    lab = Lab(tmp_path, *SLOW)
    assert lab.launch("--only", "baseline").code == 0
    until(lambda: lab.states()[0] == "running", "it runs")
    row = lab.rows()[0]
    until(lambda: list((Path(row["folder"]) / "training" / "checkpoints").glob("step-*.pt")), "it has a checkpoint")
    pid = json.loads((Path(row["folder"]) / "training" / "attempts" / "0001.json").read_text())["pid"]
    os.kill(pid, 9)
    until(lambda: lab.states()[0] == "interrupted", "it is interrupted")
    assert "Slurm says FAILED" in lab.say("status").out
    assert "1 of 1 replicates were submitted now" in lab.launch("--only", "baseline").out
    until(lambda: lab.states()[0] == "running", "it runs again")
    lab.say("cancel")
    until(lambda: lab.states()[0] == "cancelled", "it is cancelled")


def test_data_that_cannot_be_prepared_are_told_by_status(fake_slurm: Cluster, tmp_path: Path) -> None:
    empty = tmp_path / "videos"
    empty.mkdir()
    lab = Lab(tmp_path, *SHORT, "data.dataset=video_folder", f"data.path={empty}", "model.classes=0")
    assert lab.launch().code == 0
    until(lambda: lab.states() == ["missing", "missing"] and not fake_slurm.queue(), "all is over")
    told = lab.say("status")
    assert "the job that prepares the data" in told.out
    assert "Slurm says FAILED" in told.out
    assert str(empty) in told.out


@pytest.mark.slow
def test_floors_of_another_protocol_are_measured_by_a_job(fake_slurm: Cluster, tmp_path: Path) -> None:
    lab = Lab(tmp_path, "seeds=[0]", "floors=[real_halves]", "ablate={}", "claim=[]", "scoring.metrics=[kvd]")
    for words, jobs in ((), 1), (("scoring.real_clips=6",), 1), (("scoring.real_clips=6", "scoring.seed=0"), 0):
        told = lab.launch("--wait", *words, *(() if jobs else ("seeds=[1]",)))
        assert told.code == 0, told.err
        assert told.out.count(": prepares the data") == jobs
        assert lab.states() == ["done"]
    marks = {floor["protocol"] for floor in json.loads((lab.runs / "toy/floors.json").read_text())["floors"]}
    assert len(marks) == 2


def test_arms_that_left_the_file_are_listed_and_go_on(
    fake_slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLURM_HOLD", "1")
    lab = Lab(tmp_path, *SHORT)
    assert lab.launch().code == 0
    before = fake_slurm.queue()
    fewer = Lab(tmp_path, *SHORT, "ablate={}", "claim=[]")
    told = fewer.say("status")
    assert "orphaned (kept, not counted, never cancelled)" in told.out
    assert "blocks-variant_4" in told.out or "blocks=variant_4" in told.out
    assert fewer.launch().code == 0
    assert fake_slurm.queue() == before


def test_a_dry_run_shows_the_scripts_and_writes_nothing(fake_slurm: Cluster, tmp_path: Path) -> None:
    lab = Lab(tmp_path, "resources={gpus: 1, time: 2h, arms: {'blocks=*': {gpus: 2}}}")
    told = lab.launch("--dry-run")
    assert told.code == 0, told.err
    assert told.out.count("#!/bin/bash") == 4  # prepare, two shapes, report
    assert "#SBATCH --gpus-per-node=2" in told.out
    assert "#SBATCH --dependency=afterok:PREPARE" in told.out
    assert "#SBATCH --dependency=afterany:ARRAY0:ARRAY1" in told.out
    assert not lab.runs.exists()
    assert fake_slurm.queue() == {}


def test_too_costly_a_launch_is_stopped_before_it_starts(fake_slurm: Cluster, tmp_path: Path) -> None:
    lab = Lab(tmp_path, "resources.tflops=1e-9")
    told = lab.launch("--max-gpu-hours", "0.5")
    assert told.code == 2
    assert "--max-gpu-hours 0.5: what is not done yet costs about" in told.err
    assert not lab.runs.exists()
    assert lab.launch("--max-gpu-hours", "1e9", "--dry-run").code == 0
    told = lab.say("retry", "--measure")
    assert told.code == 2
    assert "--measure of a launch is for --max-gpu-hours" in told.err
    assert "tried again" not in told.out


def test_a_step_that_cannot_fit_is_refused_before_it_is_queued(fake_slurm: Cluster, tmp_path: Path) -> None:
    lab = Lab(tmp_path, "resources.memory=1M")
    for words in ((), ("--dry-run",)):
        told = lab.launch(*words)
        assert told.code == 2
        assert "resources.memory: a training step needs about" in told.err
    assert not lab.runs.exists()
    assert fake_slurm.queue() == {}


def test_a_job_out_of_time_writes_a_checkpoint_and_goes_on_by_itself(fake_slurm: Cluster, tmp_path: Path) -> None:
    lab = Lab(tmp_path, *SLOW, "runtime.checkpoint_every=100000")
    assert lab.launch("--only", "baseline").code == 0
    until(lambda: lab.states()[0] == "running" and (lab.rows()[0]["step"] or 0) > 0, "it trains")
    (job,) = {lab.rows()[0]["job"]}
    fake_slurm.ask("scancel", "--signal=USR2", job)  # what Slurm sends before the time is up
    until(lambda: lab.attempts()[0] == 2 and lab.states()[0] == "running", "it runs for the second time")
    replicate = lab.rows()[0]
    first = json.loads((Path(replicate["folder"]) / "training" / "attempts" / "0001.json").read_text())
    assert (first["how"], first["requeued"], first["job"]) == ("interrupted", True, job)
    assert (replicate["job"], replicate["attempts"]) == (job, 2)
    events = [
        json.loads(line) for line in (Path(replicate["folder"]) / "training" / "events.jsonl").read_text().splitlines()
    ]
    stopped = next(event for event in events if event["event"] == "interrupted")
    assert stopped["step"] > 0
    assert "time limit" in stopped["reason"]
    lab.say("cancel")
    until(lambda: lab.states()[0] == "cancelled", "it is cancelled")


@pytest.mark.slow
def test_a_replicate_that_makes_no_progress_stops(fake_slurm: Cluster, tmp_path: Path) -> None:
    lab = Lab(tmp_path, *SLOW, "runtime.checkpoint_every=100000", "runtime.attempts=2")
    for number in range(1, 4):
        assert lab.launch("--only", "baseline").code == 0
        until(lambda n=number: lab.attempts()[0] == n, "it has begun")  # type: ignore[misc]
        if number < 3:
            until(lambda: lab.states()[0] == "running" and (lab.rows()[0]["step"] or 0) > 0, "it trains")
            attempt = Path(lab.rows()[0]["folder"]) / "training" / "attempts" / f"{number:04d}.json"
            os.kill(json.loads(attempt.read_text())["pid"], 9)
            until(lambda: lab.states()[0] == "interrupted", "it is interrupted")
    until(lambda: lab.states()[0] == "failed", "it has failed")
    assert "2 attempts in a row came no further than step 0" in lab.say("status").out
    assert "0 of 1 replicates were submitted now" in lab.launch("--only", "baseline").out
