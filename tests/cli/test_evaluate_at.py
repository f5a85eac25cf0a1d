"""Scores on the way: `evaluate_at`, claims about a step, and the curve of a score against steps."""

from pathlib import Path

import pytest

from registry.runs.code_used import code_used
from registry.runs.places import TRAININGS
from tests.cli.command import Launched, run
from tests.fixtures.toy_replicates import TOY, write

TEXT = (
    TOY[: TOY.index("claim:")]
    + """
evaluate_at: [2, 4]
floors: []
claim:
- {axis: blocks, better: variant_1, worse: variant_4, step: 4}
- {axis: blocks, better: variant_1, worse: variant_4}
"""
)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Launched:
    return Launched(tmp_path_factory.mktemp("steps"), TEXT)


def test_every_step_is_evaluated_and_a_claim_is_judged_at_the_one_it_names(evaluated: Launched) -> None:
    at_4 = evaluated.verbs("table", "--at-step", "4", "--format", "json").json
    last = evaluated.verbs("table", "--format", "json").json
    effects = []
    for told in (at_4, last):
        means = {row["arm"]: row["fvd[moving_shapes_r3d]"] for row in told["arms"]}
        assert [row["done"] for row in told["arms"]] == [2] * len(told["arms"])
        effects.append(means["blocks=variant_4"] - means["baseline"])
    assert effects[0] != effects[1]
    claims = evaluated.verbs("verdict", "--format", "json").json["claims"]
    assert [claim.get("step") for claim in claims] == [4, None]
    assert [claim["effect"] for claim in claims] == pytest.approx(effects)
    assert "variant_1 better than variant_4, at step 4" in " ".join(evaluated.verbs("verdict").out.split())


def test_the_report_has_a_curve_of_the_score_against_steps(evaluated: Launched) -> None:
    assert evaluated.verbs("report").code == 0
    figures = {path.name for path in (evaluated.runs / "toy" / "reports").glob("*/figures/*")}
    assert "curve-fvd-moving_shapes_r3d.png" in figures


NOT_THERE = "claim on blocks: arm baseline is not evaluated at step 2, but at 4, 6; add the step to evaluate_at"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("check", "evaluate_at={every: 4}", "claim.step=2"), NOT_THERE),
        (("check", "evaluate_at=[4]", "screen={rungs: [3]}"), "evaluate_at: does not go with a screen"),
        (("table", "--at-step", "5"), "no arm is evaluated at step 5, but at 6 (evaluate_at)"),
    ],
)
def test_a_step_that_nobody_evaluates_is_refused(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    verb, *more = words
    found = run(verb, write(tmp_path), *more, "--runs", tmp_path / "runs")
    assert (found.code, found.out) == (2, "")
    assert told in found.err


def test_files_of_one_command_train_to_an_earlier_step_once(tmp_path: Path) -> None:
    """The baseline is both files'; the one that is launched first does not evaluate it on its way, the other does."""
    plain = TOY[: TOY.index("ablate:")].replace("name: toy", "name: {name}") + "seeds: [0]\nfloors: []\n"
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(plain.replace("{name}", "first"), encoding="utf-8")
    second.write_text(plain.replace("{name}", "second") + "evaluate_at: [2]\n", encoding="utf-8")
    assert run("launch", first, second, "--executor", "debug", "--runs", tmp_path / "runs").code == 0
    (training,) = (tmp_path / "runs" / TRAININGS).glob("*/seed-0")
    assert [(used.begun_at, used.until) for used in code_used(training)] == [(0, None)]  # it never went back
    at_2 = run("table", second, "--at-step", "2", "--runs", tmp_path / "runs", "--format", "json").json
    assert [row["done"] for row in at_2["arms"]] == [1]
    alone = run("table", first, "--runs", tmp_path / "runs", "--format", "json").json
    assert [row["arm"] for row in alone["arms"]] == ["baseline"]
