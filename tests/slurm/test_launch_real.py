"""A sweep on the real Slurm to which everything happens that happens to sweeps."""

from pathlib import Path

import pytest

from analysis.report import writing
from experiments.record import slurm_queue
from registry.runs.stored import read_lines
from tests.slurm.clusters import Cluster
from tests.slurm.sweep import Sweep, points_of_file, points_of_mlflow, unequal_scores
from tests.waiting import until

# Twelve arms of one seed. Nine have one shape, two want a GPU, and one will get too little time. Those to which
# something happens while they train are held until it has happened.
REST = """
arms:
  plain_1: {learning.learning_rate: 0.0011}
  plain_2: {learning.learning_rate: 0.0012}
  plain_3: {learning.learning_rate: 0.0013}
  plain_4: {learning.learning_rate: 0.0014}
  plain_5: {learning.learning_rate: 0.0015}
  raises: {learning.lr_schedule: {name: patient, raise_at: 7}}
  requeued: {learning.steps: 300, learning.lr_schedule: {name: patient, hold: requeued}}
  cancelled: {learning.steps: 300, learning.lr_schedule: {name: patient, hold: cancelled}}
  gpu_1: {learning.learning_rate: 0.0018}
  gpu_2: {learning.learning_rate: 0.0019}
  late: {learning.steps: 300, learning.lr_schedule: {name: patient, hold: late}}
resources:
  memory: 1G
  time: 10m
  arms:
    gpu_*: {gpus: 1}
    late: {time: 60m, signal_seconds: 30}
"""


def minutes_run(cluster: Cluster, job: str) -> int:
    """Whole minutes that a job has run, of [days-][hours:]minutes:seconds; 0 of one that waits to run again."""
    text = cluster.ask("squeue", "--noheader", f"--jobs={job}", "--format=%M")
    days, _, clock = text.rpartition("-")
    *hours, minutes, _ = map(int, clock.split(":"))
    return 1440 * int(days or 0) + 60 * sum(hours) + minutes


def give_minutes(cluster: Cluster, job: str, minutes: int) -> None:
    """Set a job's time limit, which Slurm looks at every half minute."""
    cluster.ask("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")


@pytest.mark.slow(minutes=5)
def test_what_happens_to_sweeps(real_slurm: Cluster, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, REST, real_slurm, pace=0.02)
    for arm in ("requeued", "cancelled", "late"):
        sweep.hold(arm)
    most = slurm_queue.cluster().max_array
    told = sweep.verb("launch", "--executor", "slurm")
    arrays = [int(line.split()[2]) for line in told.splitlines() if line.endswith("trainings")]
    assert sorted(arrays) == sorted([*(min(most, 9 - first) for first in range(0, 9, most)), 2, 1]), told
    assert "0 of 12 replicates were submitted now" in sweep.verb("launch", "--executor", "slurm")

    def running_at(arm: str) -> str:
        """The job of an arm that has trained a while, else nothing."""
        row = sweep.rows("--only", arm)[f"{arm} seed 0"]
        return row["job"] if row["state"] == "running" and (row["step"] or 0) >= 8 else ""

    def attempts_of(arm: str) -> int:
        return int(sweep.rows("--only", arm)[f"{arm} seed 0"]["attempts"])

    until(lambda: running_at("late"), "the replicate whose time is to be up trains")
    late_job = running_at("late")
    give_minutes(real_slurm, late_job, minutes_run(real_slurm, late_job) + 2)
    until(lambda: running_at("requeued"), "the replicate that is to be requeued trains")
    real_slurm.ask("scontrol", "requeue", running_at("requeued"))
    until(lambda: running_at("cancelled"), "the replicate that is to be cancelled trains")
    assert "cancelled seed 0" in sweep.verb("cancel", "--only", "cancelled")
    real_slurm.restart("slurmctld")
    until(lambda: attempts_of("requeued") == 2, "the one that was requeued trains again")
    sweep.release("requeued")
    until(lambda: attempts_of("late") > 1, "the one whose time was up trains again")
    give_minutes(real_slurm, late_job, minutes_run(real_slurm, late_job) + 60)
    sweep.release("late")
    rows = sweep.until_over()
    sweep.release("cancelled")

    states = {name.split()[0]: row["state"] for name, row in rows.items()}
    assert {arm for arm, state in states.items() if state == "done"} == states.keys() - {"raises", "cancelled"}
    assert (states["raises"], states["cancelled"]) == ("failed", "cancelled")
    assert "a step too far" in rows["raises seed 0"]["error"]
    assert rows["requeued seed 0"]["attempts"] == 2
    assert rows["late seed 0"]["attempts"] > 1
    assert rows["plain_1 seed 0"]["attempts"] == 1
    late = Path(rows["late seed 0"]["folder"])
    reasons = [
        event["reason"] for event in read_lines(late / "training" / "events.jsonl") if event["event"] == "interrupted"
    ]
    assert reasons, "it never wrote a checkpoint on the signal"
    assert all("Slurm's time limit" in reason for reason in reasons)
    for name in ("gpu_1 seed 0", "gpu_2 seed 0"):
        granted = real_slurm.ask("sacct", "-X", "-n", "-P", "-j", rows[name]["job"], "--format=AllocTRES")
        assert "gres/gpu=1" in granted

    table = (sweep.plan().folder / writing.LINK / "table.md").read_text()  # by the report job
    assert "late" in table

    sweep.verb("retry", "--only", "cancelled", "--executor", "slurm")
    sweep.until_over()
    interesting = ["late", "requeued", "cancelled", "plain_1", "gpu_1"]
    quiet = sweep.undisturbed(*(word for arm in interesting for word in ("--only", arm)))
    calm = {replicate.arm: replicate for replicate in sweep.plan(runs=quiet).replicates}
    sweep.verb("sync")
    for replicate in sweep.plan().replicates:
        if replicate.arm in interesting:
            assert replicate.state == "done", replicate.name
            assert unequal_scores(replicate.result(), calm[replicate.arm].result()) == [], replicate.name
            tracked = points_of_mlflow(sweep.plan(), f"{replicate.identity}/seed-{replicate.seed}")
            assert dict(tracked) == points_of_file(replicate), replicate.name
            assert len(tracked) == len(dict(tracked)), f"{replicate.name}: MLflow has points twice"
