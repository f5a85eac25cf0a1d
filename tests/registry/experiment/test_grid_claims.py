"""Claims about an axis of a grid: which arms they compare, at which points, and what is averaged."""

from pathlib import Path

from registry.experiment.claims import ResolvedClaim
from tests.fixtures.writing import TOY, one, problems, resolved, write

GRID = "grid: {model.blocks: [variant_1, variant_2, variant_4], model.patch: [2, 4]}\n"
ORDER = "{axis: blocks, better: variant_2, worse: variant_1}"


def claims(tmp_path: Path, text: str) -> list[ResolvedClaim]:
    return resolved(write(tmp_path, f"{TOY}{text}"))[1]


def test_every_kind_compares_the_arms_at_each_point_of_the_other_axes(tmp_path: Path) -> None:
    kinds = [
        ORDER,
        "{axis: blocks, equivalent: [variant_1, variant_4], margin: 5%}",
        "{axis: blocks, improving: [variant_1, variant_4, variant_2]}",
    ]
    order, equivalence, trend = claims(tmp_path, f"{GRID}claim: [{', '.join(kinds)}]\n")
    assert order.cells == [("blocks=variant_2", "baseline"), ("blocks=variant_2,patch=4", "patch=4")]
    assert order.points == ((("patch", "2"),), (("patch", "4"),))
    assert (order.averaged, order.at) == ({"patch": ("2", "4")}, {})
    assert equivalence.cells == [("baseline", "blocks=variant_4"), ("patch=4", "blocks=variant_4,patch=4")]
    assert [len(cell) for cell in trend.cells] == [3, 3]
    assert order.text == "variant_2 better than variant_1, averaged over patch in 2, 4"
    assert equivalence.text.endswith("within 5%, averaged over patch in 2, 4")
    assert trend.text.endswith("variant_4 to variant_2, averaged over patch in 2, 4")


def test_a_grid_of_three_axes_is_averaged_over_the_two_others(tmp_path: Path) -> None:
    three = GRID.replace("}", ", model.depth: [2, 4]}")
    (order,) = claims(tmp_path, f"{three}claim: {ORDER}\n")
    assert order.text.endswith("averaged over patch in 2, 4 and depth in 2, 4")
    assert len(order.cells) == 4
    assert len(set(order.arms)) == 8


def test_ablate_stays_as_it_is(tmp_path: Path) -> None:
    (order,) = claims(tmp_path, f"{GRID.replace('grid', 'ablate')}claim: {ORDER}\n")
    assert (order.arms, order.points, order.text) == (
        ("blocks=variant_2", "baseline"), ((),), "variant_2 better than variant_1",
    )  # fmt: skip


def test_in_a_mixed_experiment_the_grid_judges_what_it_has_and_nothing_else(tmp_path: Path) -> None:
    mixed = f"ablate: {{model.blocks: [variant_3], model.depth: [4]}}\n{GRID}"
    text = (
        f"{mixed}claim: [{ORDER}, {{axis: blocks, better: variant_3, worse: variant_1}}, {{axis: depth, better: 4}}]\n"
    )
    of_grid, of_ablate, of_other = claims(tmp_path, text)
    assert of_grid.averaged == {"patch": ("2", "4")}
    assert not any("depth" in arm or "variant_3" in arm for arm in of_grid.arms)
    assert (of_ablate.cells, of_ablate.points) == ([("blocks=variant_3", "baseline")], ((),))
    assert (of_other.cells, of_other.points) == ([("depth=4", "baseline")], ((),))


def test_a_grid_away_from_the_base_is_judged_too(tmp_path: Path) -> None:
    away = f"ablate: {{model.depth: [4]}}\n{GRID.replace('patch: [2, 4]', 'patch: [4, 8]')}"
    (order,) = claims(tmp_path, f"{away}claim: {ORDER}\n")
    assert order.averaged == {"patch": ("4", "8")}
    assert "baseline" not in order.arms


def test_values_that_are_never_together_cannot_be_compared(tmp_path: Path) -> None:
    text = f"ablate: {{model.blocks: [variant_3]}}\n{GRID.replace('patch: [2, 4]', 'patch: [4, 8]')}"
    lines = problems(write(tmp_path, f"{TOY}{text}claim: {{axis: blocks, better: variant_3, worse: variant_2}}\n"))
    line = one(lines, "claim.axis")
    assert "'variant_2' of axis blocks is in the grid alone" in line
    assert "name values that stand in the grid together" in line


def test_an_axis_that_changes_how_scores_are_measured_is_not_averaged_over(tmp_path: Path) -> None:
    grid = GRID.replace("}", ", data.interval: [3, 1]}")
    at_3, at_1 = claims(tmp_path, f"{grid}claim: {ORDER}\n")
    assert [claim.text for claim in (at_3, at_1)] == [
        "variant_2 better than variant_1, at interval=3, averaged over patch in 2, 4",
        "variant_2 better than variant_1, at interval=1, averaged over patch in 2, 4",
    ]
    assert all("interval=1" in arm for arm in at_1.arms)
    fixed = f"  scoring: {{real_interval: 1}}\n{grid}claim: {ORDER}\n"
    (both,) = claims(tmp_path, fixed)
    assert both.averaged == {"patch": ("2", "4"), "interval": ("3", "1")}


def test_equal_arms_at_one_point_are_refused_with_the_point(tmp_path: Path) -> None:
    text = "grid: {diffusion.noise_schedule: [linear, null, cosine], model.depth: [2, 4]}\n"
    text += "claim: {axis: noise_schedule, better: linear, worse: 'null'}\n"
    line = one(problems(write(tmp_path, f"{TOY}{text}")), "claim on noise_schedule")
    assert "are the same arm at depth=2" in line


def test_a_value_that_is_none_of_the_grid_is_told_as_ever(tmp_path: Path) -> None:
    lines = problems(write(tmp_path, f"{TOY}{GRID}claim: {{axis: blocks, better: varant_2, worse: variant_1}}\n"))
    assert "did you mean 'variant_2'" in one(lines, "claim.better")


def test_values_of_another_axis_that_make_the_same_arms_are_one_point(tmp_path: Path) -> None:
    grid = GRID.replace("model.patch: [2, 4]", "diffusion.noise_schedule: [linear, null, cosine]")
    (order,) = claims(tmp_path, f"{grid}claim: {ORDER}\n")
    assert order.averaged == {"noise_schedule": ("linear", "cosine")}
    assert len(set(order.arms)) == len(order.arms) == 4
