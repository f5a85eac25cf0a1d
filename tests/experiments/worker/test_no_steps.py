"""A training of no steps: its initial weights are evaluated, planned, reported and started from like any others."""

from pathlib import Path

import pytest
import torch

from experiments.plan.rows import rows
from experiments.plan.warnings import warnings
from experiments.training.checkpoints import path_of
from registry.runs.code_used import made_by
from registry.runs.stored import training_state
from tests.cli.command import Launched
from tests.fixtures.toy_replicates import TOY, finish, made, plan_of

NO_STEPS = TOY.replace("steps: 6, batch", "steps: 0, batch").split("claim:")[0] + "floors: []\n"
ONE = ("floors=[]", "seeds=[0]", "claim=[]", "ablate={}")


def test_a_training_of_no_steps_is_evaluated_at_its_initial_weights(tmp_path: Path) -> None:
    (replicate,) = made(tmp_path, *ONE, "learning.steps=0")
    assert training_state(replicate.training, replicate.spec).startable
    result = finish(replicate)
    assert (result.step, result.steps) == (0, 0)
    assert {"validation_loss", "validation_loss_band_3"} < result.scores.keys()
    state = torch.load(path_of(replicate.training, 0), weights_only=True)
    for name, value in state["ema"].items():
        assert torch.equal(value, state["model"][name]), name
    assert "learning.initialisation.scratch" in made_by(replicate).training  # whose code drew the weights
    assert training_state(replicate.training, replicate.spec).ended
    plan = plan_of(tmp_path, *ONE, "learning.steps=0", "learning.lr_schedule=cosine", "learning.ema_decay=0.9999")
    assert rows(plan)[0]["gpu_hours_of_training"] == 0
    assert warnings(plan) == []  # nothing is averaged, so that no average falls behind


def test_step_0_of_a_training_that_goes_on_is_a_training_of_no_steps(tmp_path: Path) -> None:
    steps = ("learning.steps=2", "evaluate_at=[0]")
    early, last = sorted(made(tmp_path / "on", *ONE, *steps), key=lambda one: one.spec.step)
    finish(last)
    (alone,) = made(tmp_path / "none", *ONE, "learning.steps=0")
    finish(alone)
    results = [replicate.result() for replicate in (early, alone)]
    assert results[0] is not None
    assert results[1] is not None
    assert results[0].scores == results[1].scores  # before the first step nothing has set them apart


@pytest.mark.slow
def test_the_verbs_do_not_stumble_over_no_steps(tmp_path: Path) -> None:
    launched = Launched(tmp_path, NO_STEPS)
    assert launched.told.code == 0, launched.told.err
    assert [row["gpu_hours_of_training"] for row in launched.before["arms"]] == [0, 0]
    for verb in ("table", "status", "report"):
        told = launched.verbs(verb)
        assert told.code == 0, told.err
