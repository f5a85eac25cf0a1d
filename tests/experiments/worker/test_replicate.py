"""One training and its evaluation end to end: states, attempts, samples, and the result, whatever comes between."""

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.network_counts import count_network
from experiments.launch.launching import retry, unfinished
from experiments.record.recording import ClaimedError, Recorder, desire, open_again
from experiments.sampling.trainings import sample
from experiments.scores import evaluation
from experiments.scores.scoring import how_measured
from experiments.training import trainer
from experiments.worker import run, stages, stopping
from experiments.worker.run import run_training
from registry.errors import Interrupted, RunError
from registry.runs.attempts import ATTEMPTS, take, this_process
from registry.runs.files import write_atomically, write_new
from registry.runs.machine import ROOT, processor_name
from registry.runs.records import PreparedData, read_record
from registry.runs.replicate import Replicate, open_replicate
from registry.runs.stored import read_lines, trained
from registry.schema.result_columns import PACE
from tests.fixtures.toy_replicates import at, clips, finish, made, never, nothing, plan_of, scores
from tests.waiting import PATIENCE, until

CPU = torch.device("cpu")
SCORES = {"fvd[moving_shapes_r3d]", "kvd[moving_shapes_r3d]"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Replicate:
    """An undisturbed replicate that is done."""
    replicate = made(tmp_path_factory.mktemp("finished"), "floors=[]")[0]
    finish(replicate)
    return replicate


def test_a_finished_replicate_says_all(finished: Replicate) -> None:
    result = finished.result()
    assert finished.state == "done"
    assert result is not None
    assert set(result.scores) == {
        *SCORES, "validation_loss", *(f"validation_loss_band_{band}" for band in range(4)),
    }  # fmt: skip
    assert (result.training, result.evaluation) == (finished.training.parent.name, finished.folder.name)
    assert (result.seed, result.identity) == (0, finished.identity)
    assert set(result.protocols) == set(result.score_details) == SCORES
    assert set(result.protocol_specs) == set(result.protocols.values())
    assert {(about["n_fake"], about["n_real"]) for about in result.score_details.values()} == {(6, 8)}
    (about,) = Path(result.reference).glob("*.json")
    assert json.loads(about.read_text())["device"] == "cpu"
    assert result.protocol == finished.spec.scoring.model_dump(mode="json")
    assert (result.step, result.steps, result.attempts, result.device) == (6, 6, 1, "cpu")
    assert set(result.seconds_of) == {"training", "sampling", "scoring"}
    desired = finished.desired()
    assert desired is not None
    assert (desired.experiment, desired.arm, desired.axes) == ("toy", "baseline", {"blocks": "variant_1"})
    about_training = trained(finished.training)
    assert about_training is not None
    assert (about_training.training, about_training.steps) == (result.training, 6)
    assert about_training.parameters == result.parameters > 0
    assert [event.event for event in finished.events()] == ["started", "done"]
    provenance = json.loads((finished.training / "provenance.json").read_text())
    assert provenance["packages"]["torch"] == metadata.version("torch")
    assert provenance["processor"] == processor_name() != ""
    prepared = json.loads((finished.training / "prepared.json").read_text())
    assert prepared["digest"] == result.data_digest == about_training.data_digest
    assert list(result.pace) == list(PACE)
    assert all(value > 0 for value in result.pace.values())
    (attempt,) = finished.attempts()
    assert (attempt.how, attempt.requeued, attempt.job) == ("done", False, None)
    assert clips(finished).shape == (6, 4, 16, 16, 3)
    assert not list(finished.training.rglob("*.tmp"))
    assert finished.link.resolve() == finished.folder.resolve()
    assert (finished.folder / "training").resolve() == finished.training.resolve()


def test_a_finished_replicate_is_not_run_again(finished: Replicate) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.training.rglob("*")}
    assert run_training(finished.training) == []
    assert {path: path.stat().st_mtime_ns for path in finished.training.rglob("*")} == before


def test_the_same_run_elsewhere_has_the_same_scores(tmp_path: Path, finished: Replicate) -> None:
    replicate = made(tmp_path, "floors=[]")[0]
    (result,) = run_training(replicate.training)
    assert result == replicate.result()
    assert scores(replicate) == scores(finished)
    assert np.array_equal(clips(replicate), clips(finished))


def test_the_result_is_the_last_file_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replicate = made(tmp_path, "floors=[]")[0]
    seen: list[set[str]] = []
    replace = os.replace

    def watched(source: Any, target: Any) -> None:
        if Path(target).name == "result.json":
            json.loads(Path(source).read_text())  # whole before it gets its name
            seen.append({path.name for folder in (replicate.training, replicate.folder) for path in folder.iterdir()})
            assert not Path(target).exists()
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    finish(replicate)
    assert len(seen) == 1
    assert {"samples", "checkpoints", "metrics.jsonl", "spec.yaml", "trained.json"} <= seen[0]
    newest = max(replicate.training.rglob("*"), key=lambda path: path.stat().st_mtime_ns * path.is_file())
    # Only notes that it is done come behind, and on the machine's load.
    assert newest.name in ("result.json", "events.jsonl", "0001.json", "system.jsonl")


def test_a_write_that_dies_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    write_atomically(path, "old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    for write, file in ((write_atomically, path), (write_new, path.with_name("other.json"))):
        with pytest.raises(OSError, match="no space") as told:
            write(file, "new")
        assert told.value.filename == str(file)  # which the system does not say
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_attempt_that_ends_before_its_result_doubles_nothing(tmp_path: Path, finished: Replicate) -> None:
    replicate = made(tmp_path, "floors=[]")[0]
    shutil.rmtree(replicate.training)
    shutil.copytree(finished.training, replicate.training, symlinks=True)
    (replicate.folder / "result.json").unlink()
    paths = [folder / "metrics.jsonl" for folder in (replicate.training, replicate.folder)]
    before = [path.read_text() for path in paths]
    assert finish(replicate).scores == scores(finished)
    assert [path.read_text() for path in paths] == before


# ---------------------------------------------------------------- failing, stopping, going on


STAGES = {"open_data": stages, "train": stages, "sample": evaluation, "score": evaluation}


def failing(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError("a cosmic ray")

    monkeypatch.setattr(STAGES[stage], stage, fail)


@pytest.mark.parametrize("stage", STAGES)
def test_failed_is_told_and_goes_on_after_retry(
    tmp_path: Path, finished: Replicate, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    replicate = made(tmp_path, "floors=[]")[0]
    assert replicate.state == "missing"
    with monkeypatch.context() as broken:
        failing(broken, stage)
        # What fails with an evaluation is noted of it, and the training's other evaluations go on.
        with pytest.raises(RunError if STAGES[stage] is evaluation else ValueError, match="cosmic ray"):
            run_training(replicate.training)
    assert replicate.state == "failed"
    (event,) = [event for event in replicate.events() if event.event == "failed"]
    assert event.error == "ValueError: a cosmic ray"
    assert event.evaluation == (replicate.folder.name if STAGES[stage] is evaluation else None)
    assert "in fail" in event.traceback
    assert [attempt.how for attempt in replicate.attempts()] == ["failed"]

    plan = plan_of(tmp_path, only=["baseline"])
    assert "a cosmic ray" in unfinished([replicate])[0]
    assert "retry" in unfinished([replicate])[0]
    checkpoints = {path: path.stat().st_mtime_ns for path in replicate.checkpoints()}
    assert [r.seed for r in retry(plan)] == [0]
    assert replicate.state == ("interrupted" if checkpoints else "missing")
    finish(replicate)
    assert scores(replicate) == scores(finished)
    assert {path: path.stat().st_mtime_ns for path in replicate.checkpoints()} == checkpoints or stage in (
        "train",
        "open_data",
    )
    assert retry(plan) == []


def test_what_fails_before_the_work_begins_is_noted_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replicate = made(tmp_path, "floors=[]")[0]
    spec = replicate.training / "spec.yaml"
    spec.write_text(spec.read_text().replace("device: cpu", "device: cuda"))  # which is no part of the identity
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match=r"runtime\.device is cuda"):
        run_training(replicate.training)
    assert replicate.state == "failed"
    assert "runtime.device is cuda" in replicate.events()[-1].error
    assert run_training(replicate.training) == []  # until `retry`
    spec.write_text("model: {depht: 1}\n")
    open_again(replicate)
    with pytest.raises(RunError, match="is no spec of this version"):
        run_training(replicate.training)
    assert replicate.state == "failed"
    assert [attempt.how for attempt in replicate.attempts()] == ["failed", "failed"]


def test_who_was_taken_for_dead_leaves_the_books_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replicate = made(tmp_path, "floors=[]")[0]
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 0.0)
    step = trainer.Trainer.train_step

    def paused(trainer: trainer.Trainer) -> dict[str, torch.Tensor]:
        if trainer.step == 2:  # another host saw no heartbeat for long, and has begun
            take(replicate.training / ATTEMPTS, 2, this_process())
        return step(trainer)

    monkeypatch.setattr(trainer.Trainer, "train_step", paused)
    with pytest.raises(ClaimedError, match="took this one for dead"):
        run_training(replicate.training)
    assert [event.event for event in replicate.events()] == ["started"]
    assert [attempt.how for attempt in replicate.attempts()] == ["left", ""]
    assert replicate.state == "running"


def process_of(replicate: Replicate) -> subprocess.Popen[str]:
    """The process that executors start for a replicate's training."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "experiments.worker.run", str(replicate.training)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_process_imports_what_a_replicate_needs_and_no_more(tmp_path: Path) -> None:
    replicate = made(tmp_path, "floors=[]")[0]
    count_network(replicate.spec)  # as `launch` does; counting imports torch's compiler
    command = [sys.executable, "-X", "importtime", "-m", "experiments.worker.run", str(replicate.training)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "torch" in imported
    heavy = {"pandas", "scipy", "matplotlib", "mlflow", "optuna", "sklearn", "timm", "torchvision", "transformers"}
    assert not imported & (heavy | {"diffusers", "torch._dynamo", "sympy"})


LONG = ("learning.steps=400", "runtime.checkpoint_every=50", "runtime.log_every=10", "runtime.validate_every=1000")


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Replicate:
    """An undisturbed replicate of 400 steps."""
    replicate = made(tmp_path_factory.mktemp("long"), "floors=[]", *LONG)[0]
    finish(replicate)
    return replicate


def step_of(replicate: Replicate) -> int:
    """The step that the heartbeat tells."""
    beat = replicate.heartbeat()
    return beat.step if beat else 0


def logged(replicate: Replicate) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "time"} for line in replicate.metrics()]


def test_sigterm_writes_a_checkpoint_and_leaves_it_interrupted(tmp_path: Path, long_run: Replicate) -> None:
    replicate = made(tmp_path, "floors=[]", *LONG)[0]
    process = process_of(replicate)
    until(lambda: step_of(replicate) >= 20, "it trains", process)
    assert replicate.state == "running"
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 3, told
    assert "the same command goes on" in told
    assert replicate.state == "interrupted"
    event = replicate.events()[-1]
    assert event.event == "interrupted"
    step = int(replicate.checkpoints()[-1].stem.removeprefix("step-"))
    assert 20 <= step < 400
    assert f"stopped at step {step} of 400" in event.reason
    finish(replicate)
    assert scores(replicate) == scores(long_run)
    assert logged(replicate) == logged(long_run)
    result = replicate.result()
    assert result is not None
    assert result.attempts == 2


def test_kill_in_training_and_run_again_equals_undisturbed(tmp_path: Path, long_run: Replicate) -> None:
    replicate = made(tmp_path, "floors=[]", *LONG)[0]
    process = process_of(replicate)
    until(lambda: replicate.checkpoints() and step_of(replicate) >= 60, "it trains", process)
    process.kill()
    process.communicate()
    assert replicate.attempts()[-1].ended is None
    assert replicate.state == "interrupted"
    finish(replicate)  # passes the dead attempt over
    assert scores(replicate) == scores(long_run)
    assert logged(replicate) == logged(long_run)
    assert np.array_equal(clips(replicate), clips(long_run))


def signal_all(number: int) -> None:
    """As Slurm does: this process and those that measure for it."""
    for process in multiprocessing.active_children():
        if process.pid is not None:
            os.kill(process.pid, number)
    os.kill(os.getpid(), number)


def sampled(folder: Path, finished: Replicate) -> Replicate:
    """A replicate of which only the scores are missing."""
    replicate = made(folder, "floors=[]")[0]
    shutil.copytree(finished.training / "checkpoints", replicate.training / "checkpoints")
    shutil.copytree(finished.folder / "samples", replicate.folder / "samples")
    return replicate


@pytest.mark.parametrize("count", [1, 2])
def test_slurms_warning_while_measuring_has_it_requeued_and_it_goes_on(
    tmp_path: Path, finished: Replicate, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    how = how_measured(finished.spec, CPU)
    monkeypatch.setattr(
        evaluation, "how_measured", lambda *about: dataclasses.replace(how, processes=count, batch_size=1)
    )
    replicate, requeued = sampled(tmp_path, finished), []
    warn = at("measuring fake clips", 2, lambda: signal_all(signal.SIGUSR2))
    with pytest.raises(Interrupted, match="stopped after 2 of 6 measured fake clips"):
        run_training(replicate.training, warn, lambda: requeued.append(True) or True)  # type: ignore[func-returns-value]
    assert requeued == [True]
    assert replicate.state == "interrupted"
    event = replicate.events()[-1]
    assert (event.event, event.model_extra) == ("interrupted", {"attempt": 1, "requeued": True})
    assert replicate.attempts()[-1].requeued
    assert event.reason.startswith("Slurm's time limit or preemption: stopped after 2 of 6")
    told: list[int] = []
    finish(replicate, lambda stage, done, total: told.append(done) if "fake" in stage else None)
    assert told[0] >= 2
    assert scores(replicate) == scores(finished)
    results = replicate.result(), finished.result()
    assert results[0] is not None
    assert results[1] is not None
    assert results[0].score_details == results[1].score_details


def test_cancelled_while_measuring(tmp_path: Path, finished: Replicate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 0.0)
    replicate = sampled(tmp_path, finished)
    cancel = at("measuring fake clips", 0, lambda: desire(replicate, "cancel"))
    with pytest.raises(Interrupted):
        run_training(replicate.training, cancel)
    assert replicate.state == "cancelled"
    assert replicate.result() is None


def test_stopped_behind_the_last_sample_is_not_scored(tmp_path: Path, finished: Replicate) -> None:
    replicate = made(tmp_path, "floors=[]")[0]
    shutil.copytree(finished.training / "checkpoints", replicate.training / "checkpoints")
    with pytest.raises(Interrupted, match="stopped after 6 of 6 sampled clips"):
        sample(replicate, CPU, iter([False, True]).__next__, nothing)
    sample(replicate, CPU, never, nothing)
    assert np.array_equal(clips(replicate), clips(finished))


def test_stopped_while_sampling_goes_on_behind_the_last_batch(tmp_path: Path, finished: Replicate) -> None:
    replicate = made(tmp_path, "floors=[]")[0]
    shutil.copytree(finished.training / "checkpoints", replicate.training / "checkpoints")
    with pytest.raises(Interrupted, match="stopped after 4 of 6 sampled clips"):
        sample(replicate, CPU, lambda: True, nothing)
    files = sorted((replicate.folder / "samples").glob("*"))
    assert [path.name for path in files] == ["clips-000000-000004.npy"]
    stamp = files[0].stat().st_mtime_ns
    sample(replicate, CPU, never, nothing)
    assert files[0].stat().st_mtime_ns == stamp
    assert np.array_equal(clips(replicate), clips(finished))


def test_samples_do_not_depend_on_their_batch(tmp_path: Path, finished: Replicate) -> None:
    for size in (1, 2, 6):
        replicate = made(tmp_path / f"by{size}", "floors=[]", f"runtime.sampling_batch={size}")[0]
        shutil.copytree(finished.training / "checkpoints", replicate.training / "checkpoints")
        sample(replicate, CPU, never, nothing)
        assert len(list((replicate.folder / "samples").iterdir())) == 6 // size
        off = np.abs(clips(replicate).astype(int) - clips(finished))
        assert off.max() <= 1  # matrix products of another size are rounded otherwise
        assert off.mean() < 0.01
    streams = np.unique(clips(finished).reshape(6, -1), axis=0)
    assert len(streams) == 6  # every clip has noise of its own


def test_another_batch_size_on_resuming_doubles_no_clip(tmp_path: Path, finished: Replicate) -> None:
    replicate = made(tmp_path, "floors=[]")[0]
    shutil.copytree(finished.training / "checkpoints", replicate.training / "checkpoints")
    with pytest.raises(Interrupted):
        sample(replicate, CPU, lambda: True, nothing)
    smaller = made(tmp_path, "floors=[]", "runtime.sampling_batch=1")[0]
    assert smaller.folder == replicate.folder
    sample(open_replicate(smaller.folder), CPU, never, nothing)
    names = sorted(path.name for path in (replicate.folder / "samples").iterdir())
    assert names == ["clips-000000-000004.npy", "clips-000004-000005.npy", "clips-000005-000006.npy"]
    assert np.abs(clips(replicate).astype(int) - clips(finished)).max() <= 1
    (replicate.folder / "samples" / names[1]).unlink()
    sample(open_replicate(smaller.folder), CPU, never, nothing)
    assert sorted(path.name for path in (replicate.folder / "samples").iterdir()) == names


def test_samples_need_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"step-00000006\.pt: is not there"):
        sample(made(tmp_path, "floors=[]")[0], CPU, never, nothing)


@pytest.mark.parametrize("weights", ["ema", "model"])
def test_samples_are_of_the_weights_that_the_spec_names(tmp_path: Path, finished: Replicate, weights: str) -> None:
    replicate = made(tmp_path, "floors=[]", f"sampling.weights={weights}")[0]
    shutil.copytree(finished.training / "checkpoints", replicate.training / "checkpoints")
    sample(replicate, CPU, never, nothing)
    assert np.array_equal(clips(replicate), clips(finished)) == (weights == "ema")


# ---------------------------------------------------------------- data and claims


def test_other_data_are_refused(tmp_path: Path) -> None:
    replicate = made(tmp_path, "floors=[]")[0]
    path = replicate.training / "prepared.json"
    prepared = read_record(path, PreparedData)
    assert prepared is not None
    path.write_text(prepared.model_copy(update={"digest": "0" * 64}).model_dump_json())
    with pytest.raises(RunError, match="the data changed since"):
        run_training(replicate.training)
    assert replicate.state == "failed"
    with pytest.raises(RunError, match=r"was made from other data.*another --runs folder"):
        made(tmp_path, "floors=[]")
    path.unlink()
    open_again(replicate)
    with pytest.raises(RunError, match="its data are not prepared yet; launch"):
        run_training(replicate.training)


def test_a_process_that_lost_the_race_does_nothing_again(
    tmp_path: Path, finished: Replicate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between asking what is waited for and having the attempt, another process may have finished."""
    replicate = made(tmp_path, "floors=[]")[0]
    shutil.rmtree(replicate.training)
    shutil.copytree(finished.training, replicate.training, symlinks=True)
    asked = iter([[replicate.folder]])
    waiting = run.waiting
    monkeypatch.setattr(run, "waiting", lambda training: next(asked, None) or waiting(training))
    before = (replicate.folder / "result.json").read_bytes()
    assert run_training(replicate.training) == []
    assert (replicate.folder / "result.json").read_bytes() == before
    assert [attempt.how for attempt in replicate.attempts()] == ["done", "done"]
    assert replicate.state == "done"


def test_a_line_cut_short_does_not_swallow_the_next(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.metrics(1, {"loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    recorder.metrics(3, {"loss": 3.0})
    assert [line["step"] for line in read_lines(tmp_path / "metrics.jsonl")] == [1, 3]
