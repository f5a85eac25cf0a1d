"""The paper's ablations at toy size: both sets ask all questions, share their baseline, and hear two detectors."""

from itertools import product
from pathlib import Path

import pytest

from analysis.paper.claims import paper_claims
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from registry.runs.machine import ROOT
from tests.analysis.paper.test_scoreboard import ids_tested
from tests.experiments.plan.test_latte_files import head_of

FOLDER = ROOT / "experiments" / "latte" / "small"
SETS = ("digits", "weizmann")
ABLATIONS = (
    "variants", "patch_embedding", "conditioning", "temporal_position", "initialisation", "joint_images", "interval",
    "model_size",
)  # fmt: skip


def plans_of(name: str) -> dict[str, Plan]:
    return {ablation: load_plan(FOLDER / f"{name}_{ablation}.yaml") for ablation in ABLATIONS}


def test_there_is_a_file_for_each_question_and_set_and_no_other() -> None:
    expected = {f"{name}_{ablation}" for name, ablation in product(SETS, ABLATIONS)}
    assert {path.stem for path in FOLDER.glob("*.yaml")} == expected  # so that `small/*.yaml` is all of the programme


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_file_says_what_it_is_and_asks_both_detectors(path: Path) -> None:
    plan = load_plan(path)
    head = head_of(path)
    assert head["Command"].startswith(f"python run.py launch experiments/latte/small/{path.name}")
    assert (ROOT / head["Data"]).is_file()
    assert (ROOT / head["Paper"].split()[0]).is_file()
    assert plan.name == "small-" + path.stem.replace("_", "-")
    assert len(plan.file.experiment.seeds) >= 4
    assert {claim.metric for claim in plan.claims} == {"fvd[transnet_v2]", "fvd[efficientnet_lite0]"}


@pytest.mark.parametrize("name", SETS)
def test_the_questions_of_a_set_are_those_of_the_paper(name: str) -> None:
    """Every claim of the paper is tested, but an all-tokens arm that starts otherwise counts as that claim as well."""
    tested = {own for ablation in ABLATIONS for ids in ids_tested(FOLDER / f"{name}_{ablation}.yaml") for own in ids}
    assert tested == {claim.id for claim in paper_claims()}


@pytest.mark.parametrize("name", SETS)
def test_the_baseline_is_trained_once_for_all_questions(name: str) -> None:
    baselines = {ablation: plan.arms[0].spec for ablation, plan in plans_of(name).items()}
    assert len({spec.training for spec in baselines.values()}) == 1
    assert len({spec.data.shortest_video for spec in baselines.values()}) == 1
