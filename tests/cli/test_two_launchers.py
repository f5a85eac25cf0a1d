"""Two launchers that want one training at the same moment, of which one is killed: nothing is lost or made twice."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.command import Begun, begin, run
from tests.fixtures.toy_replicates import TOY
from tests.waiting import until

STEPS = 60
HEAD = TOY[: TOY.index("ablate:")].replace("steps: 6,", f"steps: {STEPS},") + "seeds: [0]\nfloors: []\n"


def files(folder: Path) -> list[Path]:
    """Two experiments with the same baseline, and one more way to sample it each."""
    found = []
    for name, guidance in (("first", 2.0), ("second", 4.0)):
        text = HEAD.replace("name: toy", f"name: {name}") + f"ablate: {{sampling.guidance: [1.0, {guidance}]}}\n"
        found.append(folder / f"{name}.yaml")
        found[-1].write_text(text, encoding="utf-8")
    return found


def launch(file: Path) -> Begun:
    return begin("launch", file, "--runs", file.parent / "runs")


def kill_with_all_that_it_started(process: Begun) -> None:
    started = psutil.Process(process.pid).children(recursive=True)
    for one in (psutil.Process(process.pid), *started):
        try:
            os.kill(one.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.told()


def scores(runs: Path) -> dict[str, Any]:
    """Experiment and arm -> scores."""
    found = {}
    for path in runs.glob("[fs]*/*/seed-0/result.json"):
        arm = path.parents[1].name.rsplit("-", 1)[0]
        found[f"{path.parents[2].name}: {arm}"] = json.loads(path.read_text())["scores"]
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    for file in files(folder):
        told = run("launch", file, "--executor", "debug", "--runs", folder / "runs")
        assert told.code == 0, told.err
    found = scores(folder / "runs")
    assert len(found) == 4
    assert found["first: baseline"] == found["second: baseline"]
    return found


@pytest.mark.parametrize("victim", ["who trains", "who waits"])
def test_one_of_two_launchers_is_killed(tmp_path: Path, undisturbed: dict[str, Any], victim: str) -> None:
    first, second = files(tmp_path)
    runs = tmp_path / "runs"
    trains = launch(first)
    until(lambda: list(runs.glob("_trainings/*/seed-0/checkpoints/*.pt")), "the first one trains", trains)
    waits = launch(second)
    until(lambda: list(runs.glob("_trainings/*/seed-0/evaluations/*/desired/second.json")), "the second waits", waits)
    killed, survivor, file = (trains, waits, first) if victim == "who trains" else (waits, trains, second)
    kill_with_all_that_it_started(killed)
    survived = survivor.told()
    assert survived.code == 0, survived
    told = run("launch", file, "--runs", runs)  # the killed one's command again
    assert told.code == 0, told.err
    assert scores(runs) == undisturbed
    (training,) = runs.glob("_trainings/*/seed-0")
    lines = [json.loads(line) for line in (training / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == list(range(2, STEPS + 1, 2)), "no step is lost, and none is there twice"
    made = [json.loads(line) for line in (training / "events.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "started" for event in made) <= 3
