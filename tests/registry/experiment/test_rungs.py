"""Arms at the rungs of a screen by a score: what is evaluated there is another evaluation only where it differs."""

from pathlib import Path

import pytest

from registry.experiment.arms import resolve_experiment
from registry.experiment.experiment_file import load_experiment
from registry.experiment.rungs import rung_arms
from tests.fixtures.writing import TOY, write

SCREENED = (
    TOY
    + """\
  learning: {steps: 2000}
  sampling: {clips: 64}
"""
)


@pytest.mark.parametrize(("evaluation", "same"), [("{}", True), ("{sampling.clips: 64}", True),
                                                  ("{sampling.clips: 32}", False)])  # fmt: skip
def test_a_rung_at_an_arms_own_step_is_its_own_evaluation(tmp_path: Path, evaluation: str, same: bool) -> None:
    screen = f"screen: {{rungs: [1000, 2000], metric: fvd, evaluation: {evaluation}}}\n"
    file = load_experiment(write(tmp_path, SCREENED + "ablate: {model.blocks: [variant_2]}\n" + screen))
    arms, _ = resolve_experiment(file)
    found, wrong = rung_arms(file, arms)
    assert not wrong
    own = [arm.identity for arm in arms]
    assert [one.run.identity in own for one in found] == [False, False, same, same]
    assert [one.run.spec.training for one in found] == [arm.spec.training for arm in arms] * 2
