"""What goes wrong on the command line: one clear line each, exit code 2 for what was written, 1 for what failed."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from tests.cli.command import Launched, begin, contents, run
from tests.fixtures.toy_replicates import TOY, finish, made, write
from tests.waiting import until

ONE = ("seeds=[0]", "ablate={}", "claim=[]")


@pytest.mark.parametrize("verb", ["check", "launch", "verdict"])
def test_misspelt_key_part_metric_and_file(tmp_path: Path, verb: str) -> None:
    text = TOY.replace("steps: 6", "setps: 6").replace("variant_4]", "varian_4]").replace("metric: fvd", "metric: fdv")
    path = write(tmp_path, text)
    told = run(verb, path, "--runs", tmp_path / "runs")
    lines = told.err.splitlines()
    assert (told.code, told.out) == (2, "")
    assert len(lines) == 4, lines
    assert f"{path}:12: learning.setps: unknown key; did you mean 'steps'?" in lines
    assert any(
        f"{path}:17: arm blocks=varian_4: model.blocks: no blocks 'varian_4': did you mean" in line for line in lines
    )
    assert any(f"{path}:19: claim.metric: no metric 'fdv'; did you mean 'fvd'" in line for line in lines)
    assert any(f"{path}:19: claim.worse: axis blocks has no value 'variant_4'; did you mean" in line for line in lines)
    assert contents(tmp_path).keys() == {"toy.yaml"}

    told = run(verb, tmp_path / "tpy.yaml", "--runs", tmp_path / "runs")
    assert (told.code, told.out) == (2, "")
    assert told.err.splitlines() == [f"{tmp_path / 'tpy.yaml'}: no such file; there is {path}"]


MUCH_WRONG = """\
base:
  model: {width: 16, heads: 2, depth: 2, patch: 3}
  data: {resolution: 16, frames: 4, autoencoder: {name: pixels, factor: 4}, resolution: 32}
  learning: {steps: few}
  sampling: {guidance: 2.0}
  scoring: {fake_storage: [jpeg, h264]}
ablate:
  model.blocks: [variant_1, varient_4, {value: variant_2, label: two}, {value: variant_3, label: two}]
  model.conditioning: [s_adaln, theirs]
  model.temporal_position: [absolute, rotary]
arms: {coarse: {data.autoencoder.factor: 3}}
claim:
  - {axis: temporal_position, better: rotray, metric: fvd}
  - {axis: arms, better: coarse, metric: fdv}
match: {parameters: 1%}
search: {space: {learning.learning_rate: [1e-4, fast]}, objective: validation_los}
screen: {rungs: [1500, 700]}
plugins: [no_such_plugin]
"""


def test_everything_wrong_is_told_in_one_go(tmp_path: Path) -> None:
    """Also what only the assembly finds, and what a claim, the search, the screen and --only have wrong."""
    path = write(tmp_path, MUCH_WRONG)
    told = run("check", path, "--only", "coarze", "runtime.devise=cpu", "--runs", tmp_path / "runs")
    assert (told.code, told.out) == (2, "")
    expected = [
        f"{path}:3: base.data.resolution: given twice (first at {path}:3)",
        f"{path}:17: screen.rungs: expected steps in ascending order, each once, got (1500, 700) (tuple)",
        f"{path}:18: plugins: no Python module 'no_such_plugin' is importable from here",
        f"{path}:4: learning.steps: expected a valid integer, got 'few' (str)",
        "command line: runtime.devise: unknown key; did you mean 'device'?",
        f"{path}:6: scoring.fake_storage: h264 comes first and once: videos are saved before they become pictures",
        f"{path}:8: ablate.model.blocks: two values have the label 'two'",
        f"{path}:13: claim.better: axis temporal_position has no value 'rotray'; did you mean 'rotary'?",
        f"{path}:14: claim.metric: no metric 'fdv'; did you mean 'fvd'?",
        f"{path}:16: search.objective: no objective 'validation_los'; did you mean 'validation_loss'?",
        f"{path}:16: search.space.learning.learning_rate: expected a valid number, got 'fast' (str)",
        f"{path}:2: model.patch: patches of 3 do not divide a latent of 4x4",
        f"{path}:11: arm coarse: data.autoencoder.factor: frames of 16 pixels a side cannot be divided by 3",
        "no arm matches 'coarze'; did you mean 'coarse'?",
    ]
    assert sorted(told.err.splitlines()) == sorted(expected)


def test_a_data_path_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path)
    for verb in ("check", "launch"):
        told = run(
            verb, path, "data.dataset=video_folder", f"data.path={tmp_path}/nowhere", "--runs", tmp_path / "runs"
        )
        assert told.code == 2, told
        (line,) = told.err.splitlines()
        assert line.startswith("command line: data.path: ")
        assert f"{tmp_path}/nowhere" in line
    assert contents(tmp_path).keys() == {"toy.yaml"}


def test_shapes_that_do_not_go_together(tmp_path: Path) -> None:
    for verb in ("plan", "launch"):
        told = run(verb, write(tmp_path), "model.patch=3", "--runs", tmp_path / "runs")
        assert told.code == 2
        assert "patches of 3 do not divide a latent of 4x4" in told.err
        assert "Traceback" not in told.err


def test_only_an_arm_that_is_there(tmp_path: Path) -> None:
    told = run("plan", write(tmp_path), "--only", "blocks=variant_5", "--runs", tmp_path / "runs")
    assert told.code == 2
    assert told.err == "no arm matches 'blocks=variant_5'; did you mean 'blocks=variant_4'?\n"


class Evil:
    """A pickle that touches a file when it is read."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.touched}",)


def test_a_pickle_is_refused_without_advice_to_run_it(tmp_path: Path) -> None:
    path, touched = tmp_path / "weights.pt", tmp_path / "touched"
    torch.save({"weights": Evil(touched)}, path)
    words = (f"detector={{name: i3d, weights: {path}}}", "--runs", tmp_path / "runs")
    told = run("score", tmp_path, "--against", tmp_path, *words)
    assert (told.code, told.out) == (1, ""), told
    code = "it would run code (posix.system)"
    assert told.err == f"{path}: no weights can be read from it: {code}; only files of tensors are read\n"
    assert not touched.exists()


def runs_beside(launched: Launched, folder: Path) -> Path:
    """A folder of runs with a copy of the MLflow store, which takes seconds to be made anew."""
    folder.mkdir()
    shutil.copy(launched.runs / "mlflow.db", folder / "mlflow.db")
    return folder


def test_a_failed_run_ends_with_1_is_logged_and_retried(tmp_path: Path, launched: Launched) -> None:
    path, runs = write(tmp_path), runs_beside(launched, tmp_path / "runs")
    words = (path, *ONE, "learning.learning_rate=1e30", "learning.clip_norm=null", "--runs", runs)
    told = run("launch", *words, "--executor", "debug")
    assert told.code == 1, told
    assert "Traceback" not in told.err
    assert "the loss is not finite" in told.err
    logs = run("logs", *words)
    assert logs.code == 0
    assert "RunError" in logs.out
    (folder,) = (runs / "_trainings").glob("*/seed-0")
    events = [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()]
    assert events == ["started", "failed"]
    retried = run("retry", *words)
    assert retried.code == 1
    assert "1 failed or cancelled replicates are tried again" in retried.out
    assert "the loss is not finite" in retried.err
    events = [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()]
    assert events == ["started", "failed", "retry", "started", "failed"]


def test_kill_in_training_then_the_same_command_equals_undisturbed(tmp_path: Path, launched: Launched) -> None:
    path, killed = write(tmp_path), runs_beside(launched, tmp_path / "killed")
    words = [*ONE, "learning.steps=300", "runtime.checkpoint_every=40", "runtime.log_every=10"]
    launch = begin("launch", path, *words, "--runs", killed)
    beat = "_trainings/*/seed-0/heartbeat.json"
    until(lambda: any(json.loads(f.read_text())["step"] >= 60 for f in killed.glob(beat)), "it trains", launch)
    folder = next(killed.glob(beat)).parent
    os.kill(json.loads((folder / "attempts" / "0001.json").read_text())["pid"], signal.SIGKILL)
    ended = launch.told()
    assert ended.code == 1, ended
    assert "interrupted" in ended.err
    assert not list(folder.rglob("result.json"))
    assert list((folder / "checkpoints").glob("step-*.pt"))

    told = run("launch", path, *words, "--runs", killed)
    assert told.code == 0, told.err
    (stored,) = killed.glob("toy/*/seed-0/result.json")
    result = json.loads(stored.read_text())
    undisturbed = finish(made(tmp_path / "undisturbed", *words)[0])
    assert result["scores"] == undisturbed.scores
    assert (result["attempts"], undisturbed.attempts) == (2, 1)
    steps = [
        json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines() if "grad_norm" in line
    ]
    assert steps == list(range(10, 301, 10))
