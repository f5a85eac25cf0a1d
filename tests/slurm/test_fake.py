"""The fake Slurm does what the real one does: most of these tests run on both. What only the fake has comes last."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.slurm.clusters import Cluster
from tests.waiting import until

DEAF = "trap '' TERM; echo deaf; while true; do sleep 0.1; done"


@pytest.fixture(autouse=True)
def _soon_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SLURM_KILL_WAIT", "3")


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ("--array=0-9999", 1, "sbatch: error: Batch job submission failed: Invalid job array specification"),
        ("--array=x", 1, "sbatch: error: Batch job submission failed: Invalid job array specification"),
        (
            "--partition=nowhere",
            1,
            "sbatch: error: invalid partition specified: nowhere\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified",
        ),
        (
            "--gres=gpu:99",
            1,
            "sbatch: error: Batch job submission failed: Requested node configuration is not available",
        ),
        ("--gres=tpu:1", 1, "sbatch: error: Invalid generic resource (gres) specification"),
        ("--constraint=big", 1, "sbatch: error: Batch job submission failed: Invalid feature specification"),
        ("--dependency=soon:1", 1, "sbatch: error: Batch job submission failed: Job dependency problem"),
        ("--time=soon", 255, "sbatch: error: Invalid --time specification"),
        ("--tiem=5", 255, "sbatch: unrecognized option '--tiem=5'\nTry \"sbatch --help\" for more information"),
    ],
)
def test_what_sbatch_refuses(slurm: Cluster, tmp_path: Path, options: str, code: int, text: str) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/bash\n")
    done = slurm.run("sbatch", options, tmp_path / "job.sh", check=False)
    assert (done.returncode, done.stderr.strip(), done.stdout) == (code, text, "")


def test_an_array_with_a_limit_and_jobs_that_depend_on_it(slurm: Cluster, tmp_path: Path) -> None:
    held = slurm.submit(tmp_path, "true", "--hold")
    array = slurm.submit(
        tmp_path,
        '[ "$SLURM_ARRAY_TASK_ID" != 1 ] || exit 3\nwhile [ ! -e go ]; do sleep 0.1; done\necho "$SLURM_ARRAY_JOB_ID"',
        "--array=0-5%2",
        f"--chdir={tmp_path}",
    )
    report = slurm.submit(tmp_path, "echo $SLURM_JOB_ID", f"--dependency=afterany:{array}:{held}")
    proud = slurm.submit(tmp_path, "true", f"--dependency=afterok:{array}")
    void = slurm.submit(tmp_path, "true", f"--dependency=afterok:{array}", "--kill-on-invalid-dep=yes")
    until(lambda: [*slurm.queue().values()].count("RUNNING") == 2, "two run")
    running = {name for name, state in slurm.queue().items() if state == "RUNNING"}
    assert running <= {f"{array}_{index}" for index in range(6)}
    until(lambda: slurm.queue().get(f"{array}_2") == "RUNNING", "element 2 takes the place of element 1, which failed")
    lines = slurm.ask("squeue", "--me", "--noheader", "--format=%i|%T|%N|%r").splitlines()
    assert f"{array}_[3-5%2]|PENDING||JobArrayTaskLimit" in lines
    assert f"{array}_0|RUNNING|localhost|None" in lines
    until(lambda: f"{array}_[3-5%2]" in slurm.accounted(array), "sacct shows what waits")
    (tmp_path / "go").touch()
    until(lambda: slurm.queue().keys() == {str(held), str(report), str(proud)}, "the array has ended")
    reasons = dict(line.split() for line in slurm.ask("squeue", "--me", "--noheader", "--format=%i %r").splitlines())
    assert reasons[str(proud)] == "DependencyNeverSatisfied"
    assert reasons[str(report)] == "Dependency"
    slurm.ask("scontrol", "release", str(held))
    until(lambda: slurm.queue().keys() == {str(proud)}, "the report has run")
    until(lambda: slurm.accounted(report) == {str(report): "COMPLETED 0:0"}, "sacct knows it")
    expected = {f"{array}_{index}": "FAILED 3:0" if index == 1 else "COMPLETED 0:0" for index in range(6)}
    until(lambda: slurm.accounted(array) == expected, "sacct knows all elements, which takes the real one a while")
    assert slurm.accounted(void) == {str(void): "CANCELLED 0:0"}
    assert (tmp_path / f"{array}_5.out").read_text().split() == [str(array)]


def test_requeue_signal_and_cancel(slurm: Cluster, tmp_path: Path) -> None:
    job = slurm.submit(tmp_path, f"echo run $SLURM_RESTART_COUNT\nsrun bash -c \"trap 'echo usr2' USR2; {DEAF}\"")
    out = tmp_path / f"{job}_4294967294.out"

    def words() -> list[str]:
        return out.read_text().split() if out.exists() else []

    until(lambda: "deaf" in words(), "it runs")
    slurm.ask("scancel", "--signal=USR2", str(job))
    until(lambda: "usr2" in words(), "the step has the signal")
    slurm.ask("scontrol", "requeue", str(job))
    refused = slurm.run("scontrol", "requeue", str(job), check=False)
    assert (refused.returncode, refused.stderr.strip()) == (1, f"Job is pending execution for job {job}")
    until(lambda: words().count("run") == 2, "it runs again")
    assert "1" in words()
    slurm.ask("scancel", str(job))
    until(lambda: not slurm.queue(), "it has gone")
    until(lambda: slurm.accounted(job) == {str(job): f"CANCELLED by {os.getuid()} 0:0"}, "sacct knows it")


def test_every_task_of_a_job_has_its_rank_and_a_killed_one_shows(slurm: Cluster, tmp_path: Path) -> None:
    job = slurm.submit(
        tmp_path,
        f"srun --output {tmp_path}/%A_%a_%t.log bash -c 'echo $SLURM_PROCID $SLURM_LOCALID $SLURM_NTASKS "
        "$SLURM_ARRAY_TASK_ID; [ $SLURM_PROCID = 0 ] || kill -9 $$'",
        "--ntasks-per-node=2",
        "--array=0",
    )
    until(lambda: not slurm.queue(), "it has ended")
    assert [(tmp_path / f"{job}_0_{rank}.log").read_text().split() for rank in (0, 1)] == [
        ["0", "0", "2", "0"],
        ["1", "1", "2", "0"],
    ]
    assert "task 1: Killed" in (tmp_path / f"{job}_0.out").read_text()
    until(lambda: slurm.accounted(job) == {f"{job}_0": "FAILED 9:0"}, "sacct knows it")


def test_jobs_that_run_together_have_different_gpus(slurm: Cluster, tmp_path: Path) -> None:
    wait = f"echo $CUDA_VISIBLE_DEVICES $SLURM_GPUS_ON_NODE; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done"
    job = slurm.submit(tmp_path, wait, "--array=0-2", "--gres=gpu:1")
    until(lambda: sorted(slurm.queue().values()) == ["PENDING", "RUNNING", "RUNNING"], "two run")
    until(lambda: len([*tmp_path.glob("*.out")]) == 2, "both have begun")
    until(lambda: all(path.read_text() for path in tmp_path.glob("*.out")), "both have said so")
    said = sorted(path.read_text().strip() for path in tmp_path.glob(f"{job}_*.out"))
    assert said == ["0 1", "1 1"]
    (tmp_path / "go").touch()
    until(lambda: not slurm.queue(), "all have ended")


def test_a_time_limit_signals_the_step_then_ends_the_job(fake_slurm: Cluster, tmp_path: Path) -> None:
    script = f"srun bash -c \"trap 'echo usr2' USR2; {DEAF}\""
    job = fake_slurm.submit(tmp_path, script, "--time=60", "--signal=USR2@30", FAKE_SLURM_MINUTE="600")
    out = tmp_path / f"{job}_4294967294.out"
    until(lambda: out.exists() and "deaf" in out.read_text(), "the step has set its trap")
    assert fake_slurm.ask("squeue", "--me", "--noheader", "--format=%l") == "1:00:00"
    fake_slurm.ask("scontrol", "update", f"JobId={job}", "TimeLimit=0")
    until(lambda: not fake_slurm.queue(), "it has ended")
    assert fake_slurm.accounted(job) == {str(job): "TIMEOUT 0:0"}
    assert "usr2" in out.read_text()
    late = fake_slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=60", check=False)
    assert (late.returncode, late.stderr.strip()) == (1, f"Job has already finished for job {job}")


def test_a_job_whose_keeper_is_killed_is_requeued_as_after_a_node_failure(fake_slurm: Cluster, tmp_path: Path) -> None:
    jobs = {
        option: fake_slurm.submit(tmp_path, 'echo "$$"; [ -n "$SLURM_RESTART_COUNT" ] || sleep 3600', option)
        for option in ("--requeue", "--no-requeue")
    }
    logs = {option: tmp_path / f"{job}_4294967294.out" for option, job in jobs.items()}
    until(lambda: all(log.exists() and log.read_text() for log in logs.values()), "both run")
    for log in logs.values():
        os.kill(psutil.Process(int(log.read_text())).ppid(), signal.SIGKILL)
    until(lambda: not fake_slurm.queue(), "both have ended")
    assert fake_slurm.accounted(jobs["--requeue"]) == {str(jobs["--requeue"]): "COMPLETED 0:0"}
    assert fake_slurm.accounted(jobs["--no-requeue"]) == {str(jobs["--no-requeue"]): "NODE_FAIL 0:0"}


def test_a_thousand_tasks_are_accepted_and_wait(fake_slurm: Cluster, tmp_path: Path) -> None:
    job = fake_slurm.submit(tmp_path, "true", "--array=0-999%50", FAKE_SLURM_HOLD="1")
    held = fake_slurm.run("squeue", "--me", "--noheader", "--array", "--format=%i|%T", FAKE_SLURM_HOLD="1").stdout
    assert held.splitlines() == [f"{job}_{index}|PENDING" for index in range(1000)]
    fake_slurm.run("scancel", str(job), FAKE_SLURM_HOLD="1")
    assert fake_slurm.accounted(job) == {f"{job}_[0-999%50]": f"CANCELLED by {os.getuid()} 0:0"}


def test_while_the_controller_is_away_commands_say_so(fake_slurm: Cluster, tmp_path: Path) -> None:
    job = fake_slurm.submit(tmp_path, f"while [ ! -e {tmp_path}/go ]; do sleep 0.1; done")
    fake_slurm.down()
    asked = fake_slurm.run("squeue", "--me", check=False)
    assert (asked.returncode, asked.stderr) == (
        1,
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n",
    )
    (tmp_path / "go").touch()
    until(lambda: fake_slurm.accounted(job) == {str(job): "COMPLETED 0:0"}, "the job goes on without it")
    fake_slurm.up()
    assert fake_slurm.queue() == {}
