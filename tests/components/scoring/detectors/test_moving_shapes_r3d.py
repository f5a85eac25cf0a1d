import hashlib
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from components.scoring.detectors import moving_shapes_r3d
from components.scoring.detectors import train_moving_shapes_r3d as training
from components.scoring.detectors.moving_shapes_network import DIMENSIONS
from components.scoring.detectors.moving_shapes_r3d import WEIGHTS, MovingShapesR3D
from experiments.validity.suite import made_clips
from registry.errors import RunError
from registry.parts.catalogue import catalogue
from registry.runs.machine import ROOT


@pytest.fixture(scope="module")
def detector():
    return MovingShapesR3D()


@pytest.mark.parametrize(("frames", "height", "width"), [(4, 16, 16), (5, 17, 30), (16, 64, 64), (9, 130, 100)])
def test_any_size_gives_finite_features(detector, frames, height, width):
    videos = torch.randint(0, 256, (2, frames, height, width, 3), dtype=torch.uint8)
    features = detector.features(videos)
    assert (features.shape, features.dtype) == ((2, detector.dimensions), torch.float32)
    assert features.isfinite().all()


def test_three_frames_are_too_few(detector):
    with pytest.raises(RunError, match="at least 4 frames, not 3"):
        detector.features(torch.zeros(1, 3, 16, 16, 3, dtype=torch.uint8))


def test_a_clip_alone_gives_what_it_gives_among_others(detector):
    videos = torch.from_numpy(made_clips(6, 4, 32).clips)
    torch.testing.assert_close(detector.features(videos)[2:3], detector.features(videos[2:3]), rtol=1e-4, atol=1e-5)


def test_features_are_of_order_one(detector):
    clips = torch.from_numpy(made_clips(64, 8, 64).clips[:, 4:12])
    assert 0.1 < detector.features(clips).var(dim=0).sum() < 10


def test_the_fingerprint_is_that_of_the_weights_file(detector, monkeypatch):
    assert detector.weights_sha256 == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    first = detector.fingerprint()
    assert len(bytes.fromhex(first)) == 32
    assert MovingShapesR3D().fingerprint() == first
    monkeypatch.setattr(moving_shapes_r3d, "PREPROCESSING", "another way")
    assert MovingShapesR3D().fingerprint() != first


def test_it_draws_no_random_numbers():
    state = torch.get_rng_state()
    MovingShapesR3D()
    assert torch.equal(state, torch.get_rng_state())


def test_the_weights_are_small_and_packaged():
    assert WEIGHTS.stat().st_size < 10**6
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["package-data"]["components.scoring.detectors"] == [f"*{WEIGHTS.suffix}"]


def test_missing_weights_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(moving_shapes_r3d, "WEIGHTS", tmp_path / "gone.safetensors")
    with pytest.raises(RunError, match=r"part of the installation, cannot be read: .*gone\.safetensors"):
        MovingShapesR3D()


def test_using_it_does_not_import_its_training():
    code = (
        "import sys; from components.scoring.detectors.moving_shapes_r3d import MovingShapesR3D; MovingShapesR3D();"
        "sys.exit(any('train_' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_catalogue_reads_it():
    info = catalogue().find("detector", "moving_shapes_r3d")
    assert info.describe()["parameters"] == {}
    facts = {"score_suffix": "[moving_shapes_r3d]", "layer": "pooled", "rows_per_clip": 1, "dimensions": DIMENSIONS}
    assert {key: info.facts[key] for key in facts} == facts


def test_training_is_seeded_and_writes_what_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "BATCH", 4)
    monkeypatch.setattr(training, "CLEAN", 64)
    said = []
    for name in ("first", "again"):
        training.save(training.train(2, 0, said.append), tmp_path / name)
    assert said[0].startswith("step 2/2")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()
    other = training.train(2, 1, said.append)
    stored = load_file(tmp_path / "first")
    assert set(stored) == set(load_file(WEIGHTS))
    assert not torch.equal(stored["stem.norm.running_mean"], other.state_dict()["stem.norm.running_mean"])
    monkeypatch.setattr(moving_shapes_r3d, "WEIGHTS", tmp_path / "first")
    assert MovingShapesR3D().features(torch.from_numpy(made_clips(2, 4, 16).clips)).isfinite().all()


def test_lessons_tell_what_was_done():
    draw = np.random.default_rng(0)
    clean, spoiled = training.lesson(4, 12, draw, clean=True), training.lesson(4, 12, draw)
    assert clean.clips.shape == spoiled.clips.shape == (12, 8, 4, 64, 64)
    assert not clean.told["strengths"].any()
    assert spoiled.told["strengths"].any(dim=1).sum() >= 4
    assert (clean.told["moves"] == 1).all()
    for name, size in training.TOLD.items():
        assert spoiled.told[name].shape == ((12,) if name == "direction" else (12, size)), name
