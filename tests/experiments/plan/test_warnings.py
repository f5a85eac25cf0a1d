"""What is said of an experiment that is to run on this machine."""

from pathlib import Path

import pytest

from experiments.plan import warnings as told
from experiments.plan.loading import load_plan
from tests.fixtures.toy_replicates import write


@pytest.mark.parametrize(
    ("able", "here", "precision", "device", "lines"),
    [
        (False, True, "bf16", "cpu", 1),
        (True, True, "bf16", "cpu", 0),
        (False, False, "bf16", "cpu", 0),  # as on a cluster's login node
        (False, True, "fp32", "cpu", 0),
        (False, True, "bf16", "cuda", 0),
    ],
)
def test_bfloat16_on_a_processor_without_it(
    able: bool, here: bool, precision: str, device: str, lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told, "computes_bfloat16", lambda: able)
    plan = load_plan(write(tmp_path), [f"runtime.precision={precision}", f"runtime.device={device}"])
    said = [line for line in told.warnings(plan, here) if "no instructions for bfloat16" in line]
    assert len(said) == lines
    assert all(line.startswith("command line: warning: this machine's processor") for line in said)


@pytest.mark.parametrize(
    ("evaluate_at", "told_of"),
    [("[2, 50, 60]", "50, 60"), ("{every: 50}", "50"), ("[2, 6]", ""), ("{every: 2}", "")],
)
def test_steps_that_no_arm_comes_to_are_named(evaluate_at: str, told_of: str, tmp_path: Path) -> None:
    plan = load_plan(write(tmp_path), [f"evaluate_at={evaluate_at}"])
    said = [line for line in told.warnings(plan) if "evaluate_at" in line]
    assert len(said) == bool(told_of)
    assert all(f"evaluate_at: {told_of}: no arm is trained so far (6 steps)" in line for line in said)
