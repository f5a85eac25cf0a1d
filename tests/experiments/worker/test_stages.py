"""Trainings and their evaluations: what is shared is made once, and what is asked for meanwhile is made as well."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.launch.launching import cancel, make_run_folders, retry, unfinished
from experiments.launch.preparing import bind_replicates, prepare_data
from experiments.plan import logs, status
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.record.recording import ClaimedError, Recorder, desire, open_again
from experiments.record.states import claim
from experiments.scores import evaluation
from experiments.worker import stopping
from experiments.worker.run import _lead, run_training
from registry.errors import Interrupted, RunError
from registry.runs.attempts import ATTEMPTS, take, this_process
from registry.runs.machine import ROOT
from registry.runs.replicate import Replicate
from registry.runs.stored import read_events, trained, training_state
from tests.cli.command import run
from tests.fixtures.toy_replicates import at, clips, finish, made, nothing, plan_of, scores, write_ablation

ONE = ("floors=[]", "seeds=[0]", "claim=[]")
GUIDED = (*ONE, "ablate={sampling.guidance: [1.0, 2.0]}")
STEPPED = (*ONE, "ablate={}", "evaluate_at=[2, 4]")


def started(replicate: Replicate) -> int:
    """How many attempts have begun the replicate's training."""
    return [event.event for event in replicate.events()].count("started")


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> list[Replicate]:
    """The same, evaluated at steps 2 and 4 on its way."""
    todo = made(tmp_path_factory.mktemp("stepped"), *STEPPED)
    finish(todo[0])
    return todo


# ---------------------------------------------------------------- as people call it


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_an_ablation_of_the_guidance_trains_one_network_a_seed(guided: Path) -> None:
    plan = load_plan(guided / "guidance.yaml", runs=guided / "runs")
    trainings = sorted((guided / "runs" / "_trainings").glob("*/seed-*"))
    assert [folder.name for folder in trainings] == ["seed-0", "seed-1"]
    assert len(list((guided / "runs" / "_trainings").rglob("checkpoints"))) == 2
    assert len(list((guided / "runs" / "guidance").glob("*/seed-*/result.json"))) == 4
    for seed, folder in enumerate(trainings):
        own = [replicate for replicate in plan.replicates if replicate.seed == seed]
        assert [replicate.training for replicate in own] == [folder] * 2
        assert len({replicate.folder for replicate in own}) == 2
        assert started(own[0]) == 1
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "grad_norm" in line] == [2, 4, 6]
        assert not np.array_equal(clips(own[0]), clips(own[1]))
        losses = [{key: value for key, value in scores(one).items() if "loss" in key} for one in own]
        assert losses[0] == losses[1] != {}


def test_a_second_experiment_finds_the_same_baseline_done(copied: Path) -> None:
    path = write_ablation(copied, "second", "model.depth: [2, 4]")
    words = ("--only", "baseline", "--runs", copied / "runs")
    trained = copied / "runs" / "_trainings"
    before = files(trained)
    (planned,) = run("plan", path, *words, "--format", "json").json["arms"]
    assert (planned["state"], planned["gpu_hours_left"]) == ("done", 0.0)
    told = run("launch", path, *words)
    assert told.code == 0, told.err
    after = files(trained)
    new = after.keys() - before.keys()
    assert {path.name for path in new} == {"second.json"}  # that it is wanted
    changed = {path.name for path, time in before.items() if after[path] != time}
    assert changed == {"prepared.json"}  # the prepared data were copied to another place
    rows = run("status", path, *words, "--format", "json").json["replicates"]
    assert [(row["arm"], row["state"], row["attempts"]) for row in rows] == [("baseline", "done", 1)] * 2


def test_what_is_advised_after_several_files_takes_one(copied: Path) -> None:
    path = write_ablation(copied, "second", "model.depth: [2, 4]")
    files_and_words = (copied / "guidance.yaml", path, "--only", "baseline", "--runs", copied / "runs")
    for verb, advised in (("launch", ["dashboard", "table"] * 2), ("status", ["verdict"])):
        told = run(verb, *files_and_words, columns=1000)
        assert told.code == 0, told.err
        lines = [line for line in told.out.splitlines() if line.startswith("next:")]
        assert [line.split("run.py ")[1].split()[0] for line in lines] == advised, lines
        assert [line.count(".yaml") for line in lines] == [1] * len(advised), lines


# ---------------------------------------------------------------- experiments that share a training


def wanted_by_another(folder: Path) -> Plan:
    """A plan of another experiment for the guided arm and the baseline of the same training, in the same runs."""
    return plan_of(folder, *GUIDED, "name=other")


def ask(plan: Plan) -> list[Replicate]:
    """Do as its launcher does, up to starting anything."""
    todo = make_run_folders(plan, {"commit": "", "changed": False, "snapshot": ""})
    bind_replicates(plan, prepare_data(plan, nothing))
    return todo


def test_a_second_launcher_waits_for_a_running_training_and_gets_its_evaluation(tmp_path: Path) -> None:
    (replicate,) = made(tmp_path, *GUIDED, only=["baseline"])
    other = wanted_by_another(tmp_path).replicates[1]
    words = [*GUIDED, "name=other", "--only", "guidance*", "--runs", str(tmp_path / "runs")]
    command = [sys.executable, str(ROOT / "run.py"), "launch", str(tmp_path / "toy.yaml"), *words]
    launcher: list[subprocess.Popen[str]] = []

    def launch() -> None:
        """Start the second launcher in the middle of the training, which goes on once that launcher has asked."""
        launcher.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        while other.desired() is None:
            assert launcher[0].poll() is None, launcher[0].communicate()
            time.sleep(0.01)
        assert other.state == "running"
        assert claim([other], "local", "token") == []  # it is waited for, not started a second time

    made_now = run_training(replicate.training, at("training", 2, launch))
    out, err = launcher[0].communicate(timeout=300)
    assert launcher[0].returncode == 0, out + err
    assert {result.evaluation for result in made_now} == {replicate.folder.name, other.folder.name}
    assert (replicate.state, other.state) == ("done", "done")
    assert started(replicate) == 1
    assert f"{other.arm} seed 0: done" in out


def test_cancelling_one_experiment_leaves_what_another_wants(
    tmp_path: Path, undisturbed: Replicate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 0.0)
    (replicate,) = made(tmp_path, *GUIDED, only=["baseline"])
    plan = wanted_by_another(tmp_path)
    same, guided = ask(plan)
    assert (same.folder, guided.training) == (replicate.folder, replicate.training)
    (made_now,) = run_training(replicate.training, at("training", 2, lambda: cancel(plan)))
    assert made_now.evaluation == replicate.folder.name
    assert scores(replicate) == scores(undisturbed)
    assert (replicate.state, same.state, guided.state) == ("done", "done", "cancelled")
    assert not (guided.folder / "samples").exists()


def test_what_nobody_wants_any_more_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 0.0)
    (replicate,) = made(tmp_path, *GUIDED, only=["baseline"])
    _, guided = ask(wanted_by_another(tmp_path))

    def cancel_all() -> None:
        for name in ("toy", "other"):
            for one in wanted_by_another(tmp_path).replicates if name == "other" else [replicate]:
                desire(one, "cancel", reason="by a test")

    with pytest.raises(Interrupted, match="stopped at step 2 of 6"):
        run_training(replicate.training, at("training", 2, cancel_all))
    assert (replicate.state, guided.state) == ("cancelled", "cancelled")
    assert run_training(replicate.training) == []


def test_several_processes_leave_what_is_asked_for_while_they_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are gone by then, so that rank 0 would wait for them in a second lap."""
    (replicate,) = made(tmp_path, *GUIDED, only=["baseline"])
    other = wanted_by_another(tmp_path).replicates[1]

    def lead(*given: Any) -> Any:
        made_now = _lead(*given)
        ask(wanted_by_another(tmp_path))
        return made_now

    monkeypatch.setattr("experiments.worker.run._lead", lead)
    with monkeypatch.context() as together:
        together.setattr("experiments.worker.run.several", lambda: True)
        (result,) = run_training(replicate.training)
    assert result.evaluation == replicate.folder.name
    assert (replicate.state, other.result()) == ("done", None)
    (result,) = run_training(replicate.training)
    assert result.evaluation == other.folder.name


def test_an_attempt_that_was_taken_for_dead_fails_no_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends in the middle of sampling, and leaves the evaluation to the attempt behind it."""
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 0.0)
    (replicate,) = made(tmp_path, *ONE, "ablate={}")
    attempts = replicate.training / ATTEMPTS
    with pytest.raises(ClaimedError, match="took this one for dead"):
        run_training(replicate.training, at("sampling", 4, lambda: take(attempts, 2, this_process())))
    assert [event.event for event in replicate.events()] == ["started"]
    assert replicate.state == "running"


def test_an_evaluation_that_fails_does_so_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    todo = made(tmp_path, *GUIDED, only=())
    plan, score = plan_of(tmp_path, *GUIDED), evaluation.score

    def failing(spec: Any, *rest: Any) -> Any:
        if spec.sampling.guidance == 2.0:
            raise ValueError("a cosmic ray")
        return score(spec, *rest)

    with monkeypatch.context() as broken:
        broken.setattr(evaluation, "score", failing)
        with pytest.raises(RunError, match=f"evaluation {todo[1].folder.name}: a cosmic ray"):
            run_training(todo[0].training)
    assert [replicate.state for replicate in todo] == ["done", "failed"]
    assert training_state(todo[0].training, todo[0].spec) == "done"
    assert "failed: ValueError: a cosmic ray" in unfinished(todo)[0]  # and not that its attempt is done
    assert [row["error"] for row in status.rows(plan)] == [None, "ValueError: a cosmic ray"]
    assert run_training(todo[0].training) == []  # until `retry`
    assert retry(plan) == [todo[1]]
    (result,) = run_training(todo[0].training)
    assert result.evaluation == todo[1].folder.name


def test_a_failed_evaluation_keeps_no_training_going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it until `retry`, so that a training ends when what is left of it is cancelled."""
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 0.0)
    last, early = made(tmp_path, *ONE, "ablate={}", "evaluate_at=[2]")

    def failing(*_: Any) -> Any:
        raise ValueError("a cosmic ray")

    monkeypatch.setattr(evaluation, "score", failing)
    with pytest.raises(Interrupted, match="stopped at step 4 of 6"):
        run_training(last.training, at("training", 4, lambda: desire(last, "cancel", reason="by a test")))
    assert (last.state, early.state) == ("cancelled", "failed")
    plan = plan_of(tmp_path, *ONE, "ablate={}", "evaluate_at=[2]")
    told = [(row["at_step"], row["state"], row["error"]) for row in status.rows(plan)]
    assert told == [(None, "cancelled", "by a test"), (2, "failed", "ValueError: a cosmic ray")]
    assert ["a cosmic ray" in (row["traceback"] or "") for row in logs.rows(plan, None, 1)] == [False, True]


def test_a_training_that_failed_is_no_more_failed_after_retry(tmp_path: Path) -> None:
    replicate, other = made(tmp_path, *GUIDED, only=())
    recorder = Recorder(replicate.training)
    for event in ("started", "failed"):
        recorder.event(event)
    assert training_state(replicate.training, replicate.spec) == "failed"
    open_again(replicate)
    assert training_state(replicate.training, replicate.spec) == "missing"
    assert (replicate.state, other.state) == ("missing", "failed")  # which was not opened again


# ---------------------------------------------------------------- evaluated on its way


def test_evaluating_on_the_way_changes_nothing(undisturbed: Replicate, stepped: list[Replicate]) -> None:
    last, *early = stepped
    assert [replicate.step for replicate in stepped] == [None, 2, 4]
    assert {replicate.training for replicate in stepped} == {last.training}
    found = [replicate.result() for replicate in stepped]
    assert [(result.step, result.steps) for result in found if result] == [(6, 6), (2, 6), (4, 6)]
    assert scores(last) == scores(undisturbed)
    assert np.array_equal(clips(last), clips(undisturbed))
    assert all(scores(one) != scores(last) for one in early)
    assert started(last) == 1
    logged = [
        [{key: line[key] for key in line if key != "time"} for line in one.metrics() if "grad_norm" in line]
        for one in (last, undisturbed)
    ]
    assert logged[0] == logged[1]


def test_seconds_of_training_are_those_of_the_steps_up_to_the_evaluation(stepped: list[Replicate]) -> None:
    """An early evaluation has its own share, and what it took itself is no time of the training."""
    last, *early = stepped
    lines = [json.loads(line) for line in (last.training / "seconds.jsonl").read_text().splitlines()]
    assert [(line["begun"], line["until"]) for line in lines] == [(0, 2), (2, 4), (4, 6)]
    sums = [sum(line["seconds"] for line in lines[: number + 1]) for number in range(3)]
    results = [one.result() for one in (*early, last)]
    assert [result.seconds_of["training"] for result in results if result] == pytest.approx(sums, abs=0.011)
    about, ended = trained(last.training), read_events(last.training)[-1]
    assert about is not None
    assert about.seconds == pytest.approx(sums[-1], abs=0.011)
    evaluating = sum(result.seconds - result.seconds_of["training"] for result in results if result)
    assert sums[-1] + evaluating <= ended.seconds + 0.1  # all of it is rounded to 0.01


def test_a_step_whose_checkpoint_is_gone_is_come_to_again(tmp_path: Path, stepped: list[Replicate]) -> None:
    """The training is done and has its last checkpoint alone when somebody asks for earlier steps."""
    (whole,) = made(tmp_path, *ONE, "ablate={}", "runtime.keep_checkpoints=1")
    finish(whole)
    assert [path.name for path in whole.checkpoints()] == ["step-00000006.pt"]
    result, metrics = ((place / name).read_bytes() for place, name in
                       ((whole.folder, "result.json"), (whole.training, "metrics.jsonl")))  # fmt: skip
    todo = made(tmp_path, *STEPPED, "runtime.keep_checkpoints=1")
    made_now = run_training(whole.training)
    assert [one.step for one in made_now] == [2, 4]
    for replicate, expected in zip(todo, stepped, strict=True):
        assert scores(replicate) == scores(expected)
        assert np.array_equal(clips(replicate), clips(expected))
    assert (whole.folder / "result.json").read_bytes() == result
    now = (whole.training / "metrics.jsonl").read_bytes()
    assert now.startswith(metrics)
    added = [json.loads(line) for line in now[len(metrics) :].splitlines()]
    assert [(line["step"], "loss" in line) for line in added] == [(2, False), (4, False)]  # validated there first now
    assert "step-00000006.pt" in [path.name for path in whole.checkpoints()]


KILLED = """
import os, signal, sys
from pathlib import Path
from experiments.worker.run import run_training
what, done = sys.argv[2], int(sys.argv[3])
def progress(stage, now, total):
    if (stage, now) == (what, done):
        os.kill(os.getpid(), signal.SIGKILL)
run_training(Path(sys.argv[1]), progress)
"""


@pytest.mark.parametrize(("what", "done"), [("sampling", 4), ("measuring fake clips", 6)])
def test_killed_in_an_early_evaluation_and_resumed_equals_undisturbed(
    tmp_path: Path, stepped: list[Replicate], what: str, done: int
) -> None:
    """The first that is sampled and measured is the evaluation at step 2."""
    todo = made(tmp_path, *STEPPED)
    command = [sys.executable, "-c", KILLED, str(todo[0].training), what, str(done)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.name for path in todo[0].checkpoints()] == ["step-00000002.pt"]
    assert [replicate.state for replicate in todo] == ["interrupted"] * 3
    assert (todo[1].folder / "samples").exists()
    finish(todo[0])
    for replicate, expected in zip(todo, stepped, strict=True):
        assert scores(replicate) == scores(expected)
        assert np.array_equal(clips(replicate), clips(expected))
