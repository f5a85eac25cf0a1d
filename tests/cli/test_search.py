"""`search` and a screened `launch` as people call them: what they print and refuse, and a controller that is killed."""

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from experiments.plan.loading import load_plan
from tests.cli import command
from tests.cli.command import Begun, contents, run
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY
from tests.waiting import until

BASE = TOY[: TOY.index("ablate:")]
SEARCH = """
seeds: [0]
search:
  space:
    learning.learning_rate: {low: 1e-4, high: 1e-2, log: true}
    model.blocks: [variant_2, variant_4]
  objective: [fvd, parameters]
  trials: 3
"""
NOWHERE = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


def write(folder: Path, text: str = BASE + SEARCH) -> Path:
    path = folder / "toy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def begin(path: Path, runs: Path, *words: str) -> Begun:
    """Start a search in the background, with no tracking server to wait for."""
    return command.begin("search", path, *words, "--runs", runs, **NOWHERE)


def attempts(runs: Path) -> dict[Path, list[dict[str, Any]]]:
    """Link to a replicate -> the attempts at its training."""
    found: dict[Path, list[dict[str, Any]]] = {}
    for path in sorted(runs.glob("toy/*/seed-0/training/attempts/*.json")):
        found.setdefault(path.parents[2], []).append(json.loads(path.read_text()))
    return found


@pytest.mark.slow
def test_a_killed_controller_and_a_killed_replicate_are_made_good(tmp_path: Path) -> None:
    path, runs = write(tmp_path), tmp_path / "runs"
    words = ["learning.steps=400", "runtime.checkpoint_every=20", "runtime.validate_every=100", "search.parallel=2"]
    search = begin(path, runs, *words)
    trained = "toy/*/seed-0/training/checkpoints/step-*.pt"
    until(lambda: len({path.parent for path in runs.glob(trained)}) == 2, "two trials train", search)
    search.kill()
    killed, survivor = list(attempts(runs))
    os.kill(attempts(runs)[killed][0]["pid"], signal.SIGKILL)
    assert not (killed / "result.json").exists()

    again = begin(path, runs, *words).told()
    assert again.code == 0, again
    assert "not tracked yet" in again.out, "a tracking server that is down is told"
    by_folder = attempts(runs)
    assert len(by_folder) == 3
    assert {folder: len(made) for folder, made in by_folder.items()} == {
        folder: 2 if folder == killed else 1 for folder in by_folder
    }
    assert survivor in by_folder
    for folder in by_folder:
        steps = [json.loads(line)["step"] for line in (folder / "training" / "metrics.jsonl").read_text().splitlines()
                 if "grad_norm" in line]  # fmt: skip
        assert steps == list(range(2, 401, 2)), "every step once"
    lines = [json.loads(line) for line in (runs / "toy" / "search" / "journal.log").read_text().splitlines()]
    assert Counter(line["trial_id"] for line in lines if line["op_code"] == 6) == Counter(range(3))

    before = contents(tmp_path)
    assert run("search", path, *words, "--show", "--runs", runs).code == 0
    shown = run("search", path, *words, "--show", "--format", "json", "--runs", runs)
    assert shown.code == 0, shown.err
    assert contents(tmp_path) == before, "--show writes nothing"
    told = shown.json
    assert [trial["state"] for trial in told["trials"]] == ["complete"] * 3
    for trial in told["trials"]:
        result = json.loads(
            (runs / "toy" / f"{trial['arm']}-{trial['identity']}" / "seed-0" / "result.json").read_text()
        )
        assert trial["objectives"]["fvd"] == result["scores"]["fvd[moving_shapes_r3d]"]
        assert trial["objectives"]["parameters"] == result["parameters"]
    scores = {trial["trial"]: tuple(trial["objectives"].values()) for trial in told["trials"]}
    front = [
        number
        for number, mine in scores.items()
        if not any(all(a <= b for a, b in zip(o, mine, strict=True)) and o != mine for o in scores.values())
    ]
    assert told["best"] == front
    assert told["importances"] == {}
    assert "too few trials (3 complete, 10 are needed)" in told["note"]
    pictures = {path.name for path in (runs / "toy" / "search").glob("*.png")}
    assert pictures == {
        "history-fvd.png", "history-parameters.png", "pareto.png", "slices-fvd.png", "slices-parameters.png",
    }  # fmt: skip

    table = run("table", path, *words, "--runs", runs)
    assert table.code == 0
    assert "trial-" not in table.out


def test_a_search_that_is_not_there_or_wrong(tmp_path: Path) -> None:
    path = write(tmp_path, BASE)
    told = run("search", path, "--runs", tmp_path / "runs")
    assert told.code == 2
    assert "the experiment has no search; add one, such as" in told.err
    path = write(tmp_path, (BASE + SEARCH).replace("learning.learning_rate", "learning.lerning_rate"))
    for words in ((), ("--show",)):
        told = run("search", path, *words, "--runs", tmp_path / "runs")
        assert (told.code, told.out) == (2, "")
        assert "search.space.learning.lerning_rate: unknown key; did you mean 'learning_rate'?" in told.err
    told = run("search", write(tmp_path), "--show", "--runs", tmp_path / "runs")
    assert told.code == 1
    assert "nothing was searched yet" in told.err
    assert contents(tmp_path).keys() == {"toy.yaml"}
    told = run(
        "search", write(tmp_path), "data.dataset=video_folder", "data.path=/nowhere", "--runs", tmp_path / "runs"
    )
    assert told.code == 2
    assert "/nowhere" in told.err


def test_a_damaged_journal_is_told_with_its_line(tmp_path: Path) -> None:
    path, runs = write(tmp_path), tmp_path / "runs"
    journal = runs / "toy" / "search" / "journal.log"
    journal.parent.mkdir(parents=True)
    for damage in (b"\x00\xff", b"[1]", b'{"op_code": "x"}'):
        journal.write_bytes(b'{"op_code": 0}\n' + damage + b'\n{"op_code": 4}\n')
        for words in ((), ("--show",)):
            told = run("search", path, *words, "--runs", runs)
            assert (told.code, told.out) == (1, ""), told
            assert told.err.startswith(f"{journal}:2: is damaged: ")
            assert len(told.err.splitlines()) == 1


def test_a_screened_launch_says_what_was_stopped_and_why(tmp_path: Path) -> None:
    text = TOY.replace("[variant_1, variant_4]", "[variant_1, variant_2, variant_4]").replace("[0, 1]", "[0]")
    text = text.replace("seeds:", "screen: {rungs: [3], keep: 0.5}\nseeds:")
    path = write(tmp_path, text + "floors: []\n")
    runs = tmp_path / "runs"
    done = run("launch", path, "--executor", "debug", "--runs", runs, **NOWHERE)
    assert done.code == 0, done.err
    assert "screen: at step 3 2 of 3 arms go on: " in done.out
    records = (runs / "toy" / "screen").glob("*/0001.json")
    (record,) = (path for path in records if path.parent.name != "controllers")
    made = json.loads(record.read_text())
    out = [identity for identity in made["order"] if identity not in made["kept"]]
    assert len(out) == 1
    status = run("status", path, "--format", "json", "--runs", runs).json["replicates"]
    stopped = [row for row in status if row["state"] == "stopped"]
    assert [row["error"] for row in stopped] == ["screened out at step 3, 3rd of 3"]
    assert out[0] in stopped[0]["folder"]
    table = run("table", path, "--format", "md", "--runs", runs).out
    assert f"{stopped[0]['arm']} (screened out at step 3, 3rd of 3)" in table
    assert "a screen: arms were stopped early, so their absence is no result" in table
    told = run("verdict", path, "claim={axis: blocks, better: variant_1}", "--format", "json", "--runs", runs).json
    about = [one for one in told["claims"] if "was stopped early (screened out at step 3, 3rd of 3)" in one["reason"]]
    assert about
    assert all(one["verdict"] == "undecided" for one in told["claims"])


def test_a_search_leaves_what_mlflow_says_of_the_experiment(tmp_path: Path) -> None:
    path, runs = write(tmp_path), tmp_path / "runs"
    finish(load_plan(path, (), runs), lambda own: {"fvd[moving_shapes_r3d]": 30.0 + own.seed})
    told = run("search", path, "search.trials=1", "--executor", "debug", "--runs", runs)
    assert told.code == 0, told.err
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    description = client.get_experiment_by_name("toy").tags["mlflow.note.content"]
    assert "- arms: `baseline`" in description
