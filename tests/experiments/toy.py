"""A toy experiment on moving shapes that trains, samples and scores in about a second."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from experiments.launching import make_run_folders
from experiments.plans import Plan, load_plan
from experiments.preparing import bind_replicates, prepare_data
from experiments.replicate import open_data
from experiments.training import Trainer
from registry.runs import Replicate

TOY = """
name: toy
base:
  model: {width: 16, heads: 2, depth: 2, patch: 2, classes: 2}
  data:
    dataset: {name: moving_shapes, videos: 16, length: 8}
    resolution: 16
    frames: 4
    interval: 1
    autoencoder: {name: pixels, factor: 4}
  diffusion: {objective: v_prediction}
  learning: {steps: 6, batch_size: 4, learning_rate: 1e-3, ema_decay: 0.5, clip_norm: 1.0, clip_from: 1}
  sampling: {sampler: {name: ddim, steps: 2}, clips: 6}
  scoring: {real_clips: 8}
  runtime: {device: cpu, log_every: 2, validate_every: 3, checkpoint_every: 2, sampling_batch: 4, threads: 1}
ablate:
  model.blocks: [variant_1, variant_4]
seeds: [0, 1]
claim: {axis: blocks, better: variant_1, worse: variant_4, metric: fvd}
"""


def write(folder: Path, text: str = TOY) -> Path:
    """The experiment file in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toy.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def nothing(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def never(step: int | None = None) -> bool:
    """Nobody asks to stop."""
    return False


def plan_of(folder: Path, *overrides: str, only: Sequence[str] = ()) -> Plan:
    """The plan of the toy experiment of a folder, its runs beside it."""
    path = folder / "toy.yaml"
    return load_plan(path if path.exists() else write(folder), overrides, folder / "runs", only)


def made(folder: Path, *overrides: str, only: Sequence[str] = ("baseline",)) -> list[Replicate]:
    """Run folders of selected replicates, ready to be run."""
    plan = plan_of(folder, *overrides, only=only)
    todo = make_run_folders(plan, {"commit": "", "changed": False, "snapshot": ""})
    bind_replicates(plan, prepare_data(plan, nothing))
    return todo


def trainer_of(replicate: Replicate) -> Trainer:
    """A trainer at step 0 of a replicate whose run folder was made."""
    return Trainer(replicate, *open_data(replicate), torch.device("cpu"))


def assert_same(left: Any, right: Any, where: str = "") -> None:
    """Two states are equal bit for bit."""
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), where
        for number, (a, b) in enumerate(zip(left, right, strict=True)):
            assert_same(a, b, f"{where}[{number}]")
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    else:
        assert left == right, where
