"""What must never pass for the same science, or for a failure: edited specs, other weights, a second launcher."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from experiments.cli import console, progress
from experiments.launch import launching
from experiments.record.recording import Recorder
from experiments.worker import starting
from registry.errors import RunError, SpecError
from registry.runs.machine import ROOT
from registry.runs.records import Result, read_json
from tests.fixtures.made_videos import gradient_frames, write_video
from tests.fixtures.toy_replicates import made, nothing, plan_of, trainer_of
from tests.waiting import until


def test_an_edited_spec_is_refused(tmp_path: Path) -> None:
    replicate = made(tmp_path)[0]
    path = replicate.folder / "spec.yaml"
    stored = path.read_text()
    edited = stored.replace("learning_rate: 0.001", "learning_rate: 0.5")
    path.write_text(edited)
    spec = replicate.spec
    own = {"identity": spec.identity, "training": spec.training, "evaluation": spec.evaluation, "seed": replicate.seed}
    Recorder(replicate.folder).result(Result(scores={}, step=6, steps=6, **own))
    with pytest.raises(RunError, match="was edited"):
        replicate.row()
    plan = plan_of(tmp_path, only=["baseline"])
    with pytest.raises(RunError, match="was edited"):
        launching.make_run_folders(plan, {})
    path.write_text(stored)
    launching.make_run_folders(plan, {})
    (replicate.training / "spec.yaml").write_text(edited)
    with pytest.raises(RunError, match="was edited"):
        launching.make_run_folders(plan, {})


def test_other_weights_of_the_autoencoder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path)
    monkeypatch.setattr("components.data.autoencoders.pixels.Pixels.fingerprint", lambda self: "other weights")
    with pytest.raises(RunError, match="other weights of the autoencoder"):
        made(tmp_path)


def test_arms_of_a_seed_meet_the_same_times_and_noise(tmp_path: Path) -> None:
    replicates = [r for r in made(tmp_path, only=()) if r.seed == 0]
    draws = [torch.rand(8, generator=trainer_of(replicate).generator) for replicate in replicates]
    assert len(draws) == 2
    assert torch.equal(*draws)
    other = next(r for r in made(tmp_path) if r.seed == 1)
    assert not torch.equal(torch.rand(8, generator=trainer_of(other).generator), draws[0])


def test_a_refused_claim_is_no_failure(tmp_path: Path) -> None:
    replicate = made(tmp_path)[0]
    recorder = Recorder(replicate.training)
    with recorder.attempting():
        recorder.event("started", attempt=1, pid=os.getpid())
        starting.note_silent_death(replicate.training, 1)  # another launcher's process, which lost the race
        assert replicate.state == "running"
    assert [event.event for event in replicate.events()] == ["started"]
    assert replicate.state == "interrupted"


def test_files_are_checked_before_anything_starts(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "data.autoencoder={name: sd_vae, weights: ./no-such-vae}", "data.dataset=video_folder")
    with pytest.raises(SpecError) as refused:
        launching.launch_all(plan, "debug", nothing, lambda todo, states: None)
    told = "\n".join(refused.value.problems)
    assert "data.autoencoder.weights" in told
    assert "data.path" in told
    assert not (tmp_path / "runs").exists()


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for label in ("a", "b"):
        write_video(tmp_path / "videos" / label / "one.mp4", gradient_frames(8))
    replicate = made(tmp_path, "data.dataset={name: video_folder}", "data.path=~/videos", "seeds=[0]")[0]
    for folder in (replicate.training, replicate.folder):
        assert f"path: {tmp_path / 'videos'}" in (folder / "spec.yaml").read_text()


def test_a_silent_stage_stays_alive_and_keeps_what_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.record.recording.BEAT_SECONDS", 0.02)
    Recorder(tmp_path).heartbeat(stage="sampling", step=6, steps=6)
    said, file = read_json(tmp_path / "heartbeat.json"), tmp_path / "heartbeat.json"
    os.utime(file, (1.0, 1.0))
    with Recorder(tmp_path).beating():  # another recorder than the one that spoke
        until(lambda: file.stat().st_mtime > 1.0, "it was touched")
    assert read_json(file) == said
    (tmp_path / "new").mkdir()
    with Recorder(tmp_path / "new").beating():
        assert {"stage", "step", "steps"} <= (read_json(tmp_path / "new" / "heartbeat.json") or {}).keys()


def test_bars_on_a_terminal_follow_a_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=screen, force_terminal=True, width=100))
    replicates = made(tmp_path)
    recorder = Recorder(replicates[0].training)
    with progress.Bars() as bars, recorder.attempting(), recorder.beating():
        bars.watch(replicates, [replicate.state for replicate in replicates])
        recorder.heartbeat(stage="training", step=2, steps=6)
        bars.watch(replicates, [replicate.state for replicate in replicates])
    assert "baseline seed 0: training" in screen.getvalue()


def test_asking_how_far_it_is_does_not_import_torch() -> None:
    code = "import sys, experiments.plan.status, experiments.plan.loading; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
