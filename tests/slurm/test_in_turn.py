"""A Slurm task takes several replicates in turn, on the fake cluster, by the command line: each ends alone."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from experiments.launch.launching import cancel, launch_all
from tests.fixtures.toy_replicates import nothing, plan_of
from tests.slurm.clusters import Cluster
from tests.slurm.test_launch_fake import Lab, scores
from tests.waiting import until

THREE = ("seeds=[0,1,2]", "floors=[]", "ablate={}", "claim=[]", "resources.replicates_per_task=3")
SLOW = (*THREE, "learning.steps=100000", "runtime.checkpoint_every=20", "runtime.log_every=10")
# A part that does to its process what a file says, if there is one for its seed.
PLUGIN = """
import os, sys
from pathlib import Path
from components.learning.lr_schedules import Constant
from registry.parts.catalogue import part


@part("lr_schedule", "misbehaving")
class Misbehaving(Constant):
    \'\'\'As constant, but for what it is ordered to do.

    Source: none
    Official code: no
    \'\'\'

    def __init__(self, steps: int) -> None:
        super().__init__(steps)

    def factor(self, step: int) -> float:
        order = Path(os.environ["ORDERS"]) / sys.argv[1].rpartition("seed-")[2]
        if step > 2 and order.exists():
            os.kill(os.getpid(), int(order.read_text()))
        return super().factor(step)
"""


def events(row: dict[str, Any]) -> list[dict[str, Any]]:
    lines = (Path(row["folder"]) / "training" / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def attempt(row: dict[str, Any], number: int = 1) -> dict[str, Any]:
    path = Path(row["folder"]) / "training" / "attempts" / f"{number:04d}.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def steps(lab: Lab, seed: int) -> int:
    return int(lab.rows()[seed]["step"] or 0)


@pytest.fixture
def misbehaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Three replicates; one ends by the signal of its file in `orders`."""
    (tmp_path / "orders").mkdir()
    (tmp_path / "misbehaving.py").write_text(PLUGIN)
    monkeypatch.setenv("ORDERS", str(tmp_path / "orders"))
    return Lab(tmp_path, *THREE, "plugins=[misbehaving]", "learning.lr_schedule=misbehaving")


def test_those_that_die_end_alone_and_the_numbers_are_those_of_one_a_task(
    fake_slurm: Cluster, tmp_path: Path, misbehaving: Lab
) -> None:
    lab, orders = misbehaving, tmp_path / "orders"
    (orders / "0").write_text("no number, which raises")
    (orders / "1").write_text(str(int(signal.SIGKILL)))  # as out of memory
    told = lab.launch()
    assert ": 3 trainings in 1 task" in told.out, told.err
    until(lambda: lab.states() == ["failed", "interrupted", "done"], "the last has ended")
    until(lambda: not fake_slurm.queue(), "the job is over")
    rows = lab.rows()
    assert len({row["job"] for row in rows}) == 1
    assert "ValueError" in rows[0]["error"]
    assert "killed by signal 9" in rows[1]["error"]
    assert [attempt(row)["how"] for row in rows] == ["failed", "interrupted", "done"]
    assert attempt(rows[0])["ended"] <= attempt(rows[1])["time"] <= attempt(rows[2])["time"]  # one behind the other
    assert len({attempt(row)["pid"] for row in rows}) == 3
    for order in orders.iterdir():
        order.unlink()
    assert "1 failed or cancelled replicates are tried again" in lab.say("retry", "--executor", "slurm").out
    until(lambda: lab.states() == ["done"] * 3, "they went on")
    assert lab.attempts() == [2, 2, 1]
    alone = plan_of(tmp_path / "alone", *THREE[:-1])
    launch_all(alone, "debug", nothing, lambda todo, states: None)
    assert scores(lab) == scores(alone)


def test_those_that_share_a_gpu_run_at_once_with_the_same_numbers(fake_slurm: Cluster, tmp_path: Path) -> None:
    shared = ("resources.gpus=1", "resources.replicates_per_gpu=2", "runtime.device=cpu")
    lab = Lab(tmp_path, *THREE, *shared)
    told = lab.launch()
    assert ": 3 trainings in 1 task" in told.out, told.err
    until(lambda: lab.states() == ["done"] * 3, "all have ended")
    first, second, third = map(attempt, lab.rows())
    assert max(first["time"], second["time"]) < min(first["ended"], second["ended"])  # both run
    assert third["time"] >= min(first["ended"], second["ended"])  # it takes the place of the first that ends
    alone = plan_of(tmp_path / "alone", *THREE[:-1])
    launch_all(alone, "debug", nothing, lambda todo, states: None)
    assert scores(lab) == scores(alone)


@pytest.mark.slow
def test_cancelling_one_leaves_its_neighbours(fake_slurm: Cluster, tmp_path: Path) -> None:
    lab = Lab(tmp_path, *SLOW)
    lab.launch()
    until(lambda: steps(lab, 0) > 20, "the first trains")
    assert lab.states() == ["running", "queued", "queued"]
    plan = plan_of(tmp_path, *SLOW)
    plan.file.experiment.__dict__["seeds"] = (1,)  # the command line picks arms, not seeds
    assert [one.seed for one in cancel(plan)] == [1]
    assert lab.states() == ["running", "cancelled", "queued"]
    plan.file.experiment.__dict__["seeds"] = (0,)
    assert [one.seed for one in cancel(plan)] == [0]
    until(lambda: lab.states() == ["cancelled", "cancelled", "running"], "the third has its turn")
    assert fake_slurm.queue()
    lab.say("cancel")
    until(lambda: lab.states() == ["cancelled"] * 3 and not fake_slurm.queue(), "the last ends the job")


@pytest.mark.slow
def test_a_job_out_of_time_or_killed_goes_on_with_what_is_left(fake_slurm: Cluster, tmp_path: Path) -> None:
    lab = Lab(tmp_path, *SLOW, "runtime.checkpoint_every=100000")
    lab.launch()
    until(lambda: steps(lab, 0) > 0, "the first trains")
    (job,) = {row["job"] for row in lab.rows()}
    fake_slurm.ask("scancel", "--signal=USR2", job)  # what Slurm sends before the time is up
    until(lambda: lab.attempts()[0] == 2 and lab.states()[0] == "running", "it runs for the second time")
    first = attempt(lab.rows()[0])
    assert (first["how"], first["requeued"], first["job"]) == ("interrupted", True, job)
    reached = next(event for event in events(lab.rows()[0]) if event["event"] == "interrupted")["step"]
    assert reached > 0
    assert lab.states()[1:] == ["queued", "queued"]
    assert "0 of 3 replicates were submitted now" in lab.launch().out
    until(lambda: steps(lab, 0) > reached, "it has gone on")
    subprocess.run(["scancel", job], check=True)
    until(lambda: lab.states() == ["interrupted", "missing", "missing"], "the job is gone")
    assert attempt(lab.rows()[0], 2)["how"] == "interrupted"
    assert "3 of 3 replicates were submitted now" in lab.launch().out
    until(lambda: lab.attempts()[0] == 3 and lab.states()[0] == "running", "it goes on from its checkpoint")
    lab.say("cancel")
    until(lambda: lab.states() == ["cancelled"] * 3 and not fake_slurm.queue(), "all is over")


@pytest.mark.slow
def test_one_that_takes_longer_than_its_time_makes_room(fake_slurm: Cluster, tmp_path: Path) -> None:
    others = [f"resources.{verb}={{time: 1h, signal_seconds: 10}}" for verb in ("prepare", "report")]
    lab = Lab(tmp_path, *SLOW, "resources.time=1m", "resources.signal_seconds=55", *others)
    lab.launch()
    until(lambda: lab.attempts() == [2, 1, 1] and lab.states()[0] == "running", "all had their turn")
    assert {row["job"] for row in lab.rows()} == {lab.rows()[0]["job"]}
    assert lab.states() == ["running", "queued", "queued"]
    assert steps(lab, 1) > 0
    lab.say("cancel")
    until(lambda: lab.states() == ["cancelled"] * 3 and not fake_slurm.queue(), "all is over")


def test_more_than_the_partition_lets_a_job_take_is_refused(
    fake_slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLURM_LIMIT", "1-00:00:00")
    lab = Lab(tmp_path, *THREE, "resources.time=10h")
    for words in ((), ("--dry-run",)):
        told = lab.launch(*words)
        assert told.code == 2
        assert "3 replicates of 10h in turn take 1,800 minutes, and partition (the default) ends jobs after" in told.err
        assert "at most 2 fit" in told.err
    assert not lab.runs.exists()
    told = Lab(tmp_path, *THREE, "resources.time=8h").launch("--dry-run")
    assert told.code == 0, told.err
    assert "#SBATCH --time=1440" in told.out
    plan = lab.say("plan")
    assert "a Slurm task takes up to 3 replicates in turn, in at most 30 hours (3 x 10): 1 arms" in " ".join(
        plan.out.split()
    )
