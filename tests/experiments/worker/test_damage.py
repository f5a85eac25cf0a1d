"""Results and checkpoints that cannot be believed: told, never counted, never gone on from, and made again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.results import results_frame
from components.weights import sha256_of
from experiments.launch.launching import launch_all, retry, unfinished
from experiments.plan import status
from experiments.plan.loading import load_plan
from experiments.record.recording import desire
from experiments.worker.run import run_training
from registry.errors import Interrupted
from registry.runs.records import State, sealed
from registry.runs.replicate import Replicate
from tests.cli.command import run
from tests.fixtures.toy_replicates import finish, made, nothing, plan_of, scores

ONE_ARM = ("floors=[]", "claim=[]", "ablate={}")

# ---------------------------------------------------------------- damaged results


def foreign(key: str, value: Any) -> Callable[[Path, Path], str]:
    """Make a result that is whole, of another replicate."""

    def make(path: Path, other: Path) -> str:
        content = {name: own for name, own in json.loads(path.read_text()).items() if name != "sha256"}
        return json.dumps(sealed(content | {key: value}))

    return make


DAMAGE: dict[str, tuple[Callable[[Path, Path], str], str]] = {
    "empty": (lambda path, other: "", "is damaged"),
    "cut": (lambda path, other: path.read_text()[:300], "is damaged"),
    "a list": (lambda path, other: "[1, 2]", "expected an object"),
    "edited": (lambda path, other: path.read_text().replace('"steps": 6', '"steps": 7'), "does not match its checksum"),
    "of another seed": (lambda path, other: other.read_text(), r"is of seed 1, not of 0"),
    "of another evaluation": (foreign("evaluation", "0" * 10), "is of evaluation 0000000000, not of"),
    "of another training": (foreign("training", "0" * 10), "is of training 0000000000, not of"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_result_does_not_count_and_is_made_again(copied: Path, damage: str) -> None:
    plan = load_plan(copied / "guidance.yaml", runs=copied / "runs")
    replicate, other, *_ = plan.replicates
    before = scores(replicate)
    make, told = DAMAGE[damage]
    path = replicate.folder / "result.json"
    path.write_text(make(path, other.folder / "result.json"))
    assert replicate.state is State.DAMAGED
    assert replicate.result() is None
    (row,) = [row for row in status.rows(plan) if row["state"] == "damaged"]
    assert told in row["error"]
    frame = results_frame.load(replicate.row() for replicate in plan.replicates)
    assert len(results_frame.done(frame)) == 3
    launch_all(plan, "debug", nothing, lambda todo, states: None)
    assert replicate.state is State.DAMAGED  # until `retry`
    assert "`retry` makes it again" in unfinished(plan.replicates)[0]
    assert retry(plan) == [replicate]
    assert launch_all(plan, "debug", nothing, lambda todo, states: None).submitted == [replicate.name]
    assert scores(replicate) == before
    assert len(list(replicate.folder.glob("damaged-*.json"))) == 1


def test_a_damaged_result_on_the_command_line(copied: Path) -> None:
    path, runs = copied / "guidance.yaml", ("--runs", copied / "runs")
    (stored,) = (copied / "runs" / "guidance").glob("baseline-*/seed-0/result.json")
    content = json.loads(stored.read_text())
    stored.write_text(stored.read_text()[:200])
    (arm, *_) = run("table", path, *runs, "--format", "json").json["arms"]
    assert (arm["arm"], arm["done"], arm["planned"]) == ("baseline", 1, 2)
    told = run("retry", path, *runs, "--executor", "debug")
    assert told.code == 0, told.err
    assert json.loads(stored.read_text())["scores"] == content["scores"]


# ---------------------------------------------------------------- damaged checkpoints


def flip(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace(path: Path, other: Path) -> None:
    for kind in (".pt", ".json"):
        shutil.copy(other.with_suffix(kind), path.with_suffix(kind))


def bare(path: Path, other: Path) -> None:
    path.with_suffix(".json").unlink()


def of_another_program(path: Path, other: Path) -> None:
    torch.save({"step": 4, "weights": {}}, path)
    about = json.loads(path.with_suffix(".json").read_text())
    about["sha256"] = sha256_of(path)
    path.with_suffix(".json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (of_another_program, "is no checkpoint of this workbench: it lacks model, ema, "),
        (flip, "does not match its checksum"),
        (replace, "is of seed 1, not of 0"),
        (bare, "has no readable checksum beside it"),
    ],
)
def test_a_checkpoint_that_cannot_be_believed_is_left_out(
    tmp_path: Path, undisturbed: Replicate, capsys: pytest.CaptureFixture[str], damage: Any, told: str
) -> None:
    todo = made(tmp_path, *ONE_ARM, "runtime.keep_checkpoints=9")
    for replicate in todo:
        desire(replicate, "run", until=4)
        with pytest.raises(Interrupted, match="stopped at step 4 of 6"):
            run_training(replicate.training)
        assert replicate.state == "paused"
        desire(replicate, "run")
    first, second = (replicate.checkpoints()[-1] for replicate in todo)
    assert first.name == "step-00000004.pt"
    damage(first, second)
    capsys.readouterr()
    steps: list[int] = []
    finish(todo[0], lambda what, done, total: steps.append(done) if what == "training" else None)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.endswith("; it is left out")]
    assert line.startswith(f"{first}: {told}")
    assert steps == [4, 6]  # from the checkpoint of step 2
    assert scores(todo[0]) == scores(undisturbed)


def test_files_of_other_names_among_the_checkpoints_are_nobodys_checkpoints(
    tmp_path: Path, undisturbed: Replicate
) -> None:
    (replicate,) = made(tmp_path, *ONE_ARM, "seeds=[0]", "runtime.keep_checkpoints=1")
    folder = replicate.training / "checkpoints"
    folder.mkdir()
    names = {"step-00000002.backup.pt", "step-00000009 (copy).pt", "step-x.pt", "latest.pt", "notes.txt"}
    for name in names:
        (folder / name).write_text("not ours")
    assert replicate.checkpoints() == []
    assert replicate.state == "missing"
    finish(replicate)
    assert scores(replicate) == scores(undisturbed)
    assert {path.name for path in folder.iterdir()} == names | {"step-00000006.pt", "step-00000006.json"}


def test_a_damaged_record_of_the_data_is_written_anew(tmp_path: Path, undisturbed: Replicate) -> None:
    (replicate,) = made(tmp_path, *ONE_ARM, "seeds=[0]")
    path = replicate.training / "prepared.json"
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    plan = plan_of(tmp_path, *ONE_ARM, "seeds=[0]", only=["baseline"])
    assert launch_all(plan, "debug", nothing, lambda todo, states: None).submitted == [replicate.name]
    assert path.read_bytes() == before
    assert scores(replicate) == scores(undisturbed)
