"""A job of two tasks trains one replicate, over gloo, by the command line: on the fake cluster and on the real one."""

import json
import os
from pathlib import Path

import pytest

from experiments.launch.launching import launch_all
from experiments.plan.loading import load_plan
from tests.cli.command import run
from tests.fixtures.toy_replicates import nothing, plan_of, write
from tests.slurm.clusters import Cluster

ONE = ("seeds=[0]", "floors=[]")
TWO = ("resources.tasks_per_node=2", "resources.setup=['export GLOO_SOCKET_IFNAME=lo']")


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.slow
def test_two_tasks_give_the_losses_of_one(slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    alone = plan_of(tmp_path / "alone", *ONE, only=["baseline"])
    launch_all(alone, "debug", nothing, lambda todo, states: None)
    file, runs = write(tmp_path / "two"), tmp_path / "two" / "runs"
    told = run("launch", file, *ONE, *TWO, "--only", "baseline", "--runs", runs, "--executor", "slurm", "--wait")
    assert told.code == 0, told.err
    (one,), (two,) = alone.replicates, load_plan(file, [*ONE, *TWO], runs, ["baseline"]).replicates
    result, alone = two.result(), one.result()
    assert result is not None
    assert alone is not None
    assert result.processes == 2
    assert losses(two.training) == pytest.approx(losses(one.training), rel=2e-6)
    assert result.scores == pytest.approx(alone.scores, rel=1e-3)
    assert len(two.attempts()) == 1
    assert os.path.exists(two.training / "log-1.txt")
