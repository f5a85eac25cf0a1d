"""Claims that compare effects: over another axis of a grid, or at several steps."""

from pathlib import Path

import pytest

from registry.experiment.claims import ResolvedClaim
from registry.runs.resolved_experiment import digest_of
from tests.fixtures.writing import TOY, one, problems, resolved, write

GRID = "grid: {model.blocks: [variant_1, variant_4], model.depth: [2, 4, 8], model.patch: [2, 4]}\n"
STEPS = "evaluate_at: [100, 200]\n"
HOLDS = "{axis: blocks, better: variant_4, worse: variant_1, holds_over: model.depth}"


def claims(tmp_path: Path, text: str) -> list[ResolvedClaim]:
    return resolved(write(tmp_path, f"{TOY}{text}"))[1]


def test_an_order_holds_over_an_axis_and_is_averaged_over_the_others(tmp_path: Path) -> None:
    (claim,) = claims(tmp_path, f"{GRID}claim: {HOLDS}\n")
    assert (claim.kind, claim.over, claim.compared) == ("holds_over", "depth", ("2", "4", "8"))
    assert claim.averaged == {"patch": ("2", "4")}
    assert len(claim.cells) == 6
    assert claim.cells[0] == ("blocks=variant_4", "baseline")
    assert claim.text == "variant_4 better than variant_1 at every depth of 2, 4, 8, averaged over patch in 2, 4"
    assert claims(tmp_path, f"{GRID}claim: {HOLDS.replace('model.depth', 'depth')}\n") == [claim]
    assert claims(tmp_path, f"{GRID}claim: {HOLDS.replace('axis: blocks', 'axis: model.blocks')}\n") == [claim]


def test_an_interaction_holds_every_value_against_the_baselines(tmp_path: Path) -> None:
    text = f"{GRID}claim: {{axis: blocks, interacts_with: depth}}\n"
    found = claims(tmp_path, text)
    assert [claim.kind for claim in found] == ["interaction"] * 2
    assert [claim.text for claim in found] == [
        f"the effect of variant_4 against variant_1 differs between depth 2 and {depth}, averaged over patch in 2, 4"
        for depth in (4, 8)
    ]
    assert [dict(point)["depth"] for point in found[1].points] == ["2", "2", "8", "8"]
    turned = claims(tmp_path, text.replace("blocks, interacts_with: depth", "depth, interacts_with: blocks"))
    assert [(claim.labels, claim.compared) for claim in turned] == [
        (("4", "2"), ("variant_1", "variant_4")), (("8", "2"), ("variant_1", "variant_4")),
    ]  # fmt: skip


def test_the_reference_of_an_interaction_is_the_baselines_value_wherever_it_stands(tmp_path: Path) -> None:
    text = GRID.replace("[2, 4, 8]", "[8, 2]").replace("[variant_1, variant_4]", "[variant_4, variant_1]")
    (claim,) = claims(tmp_path, f"{text}claim: {{axis: blocks, interacts_with: depth}}\n")
    assert (claim.labels, claim.compared) == (("variant_4", "variant_1"), ("2", "8"))


def test_a_claim_at_several_steps_is_one_a_step_and_one_of_the_change(tmp_path: Path) -> None:
    axes = "ablate: {model.blocks: [variant_1, variant_4]}\n"
    text = f"{axes}{STEPS}claim: {{axis: blocks, better: variant_4, worse: variant_1, at_steps: [200, 100]}}\n"
    early, late, change = claims(tmp_path, text)
    assert [(claim.kind, claim.steps) for claim in (early, late, change)] == [
        ("order", (100,)), ("order", (200,)), ("change", (100, 200)),
    ]  # fmt: skip
    assert change.arms == early.arms
    assert change.text == "the effect of variant_4 against variant_1 differs between steps 100 and 200"
    equivalence = text.replace("better: variant_4, worse: variant_1", "equivalent: [variant_4, variant_1], margin: 5%")
    assert [claim.kind for claim in claims(tmp_path, equivalence)] == ["equivalence", "equivalence", "change"]


@pytest.mark.parametrize(
    ("axes", "claim", "told"),
    [
        (GRID, HOLDS.replace("model.depth", "deth"), "claim.holds_over: no axis 'deth'; did you mean 'depth'"),
        (GRID, HOLDS.replace("model.depth", "blocks"), "holds_over: blocks is the claim's own axis"),
        (GRID.replace("grid", "ablate"), HOLDS, "blocks and depth do not vary together; put both in `grid`"),
        (GRID.replace("[2, 4, 8]", "[2]"), HOLDS, "depth has one value in the grid"),
        (GRID.replace("[variant_1, variant_4]", "[variant_1]"), "{axis: blocks, interacts_with: depth}",
         "claim.axis: blocks has one value in the grid; an effect is between two"),
        (GRID, "{axis: blocks, equivalent: [variant_1, variant_4], margin: 5%, holds_over: depth}",
         "holds_over: goes with better, not with equivalent"),
        (GRID, "{axis: blocks, interacts_with: depth, worse: variant_1}", "worse: goes with better, not with inter"),
        (GRID, "{axis: blocks, better: variant_1, interacts_with: depth}", "this has better as well: write two claims"),
        (GRID + STEPS, "{axis: blocks, interacts_with: depth, at_steps: [100, 200]}",
         "at_steps: goes with better or equivalent or improving, not with interacts_with"),
        (GRID + STEPS, "{axis: blocks, better: variant_4, at_steps: [100]}", "got 1; for one write step"),
        (GRID + STEPS, "{axis: blocks, better: variant_4, at_steps: [100, 100]}", "at_steps: names 100 twice"),
        (GRID + STEPS, "{axis: blocks, better: variant_4, step: 100, at_steps: [100, 200]}", "has step or at_steps"),
        (GRID, "{axis: blocks, better: variant_4, at_steps: [100, 200]}",
         "at_steps: trainings are evaluated at their end alone; add `evaluate_at: [100, 200]`"),
        (GRID + STEPS, "{axis: blocks, better: variant_4, at_steps: [100, 150]}",
         "not evaluated at step 150, but at 100, 200"),
        (GRID.replace("model.depth: [2, 4, 8]", "data.frames: [4, 8]"), HOLDS.replace("model.depth", "frames"),
         "fvd[moving_shapes_r3d] of frames 4 and frames 8 cannot be compared"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_line(tmp_path: Path, axes: str, claim: str, told: str) -> None:
    one(problems(write(tmp_path, f"{TOY}{axes}claim: {claim}\n")), told)


def test_claims_without_the_new_keys_keep_their_digest(tmp_path: Path) -> None:
    ordinary, holds = (
        claims(tmp_path, f"{GRID}claim: {text}\n") for text in (HOLDS.replace(", holds_over: model.depth", ""), HOLDS)
    )
    assert digest_of({"baseline": "1234"}, [0, 1], ordinary) == "a26379dde0"
    assert digest_of({"baseline": "1234"}, [0, 1], holds) != digest_of({"baseline": "1234"}, [0, 1], ordinary)
