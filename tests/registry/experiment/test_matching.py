"""Arms that are matched in several ways, and the claims about them."""

from pathlib import Path

import pytest

from registry.experiment.arm import Arm
from registry.experiment.claims import ResolvedClaim
from tests.fixtures.writing import problems, resolved, write

BASE = """
name: toy
base:
  model: {width: 16, heads: 2, depth: 20, patch: 2}
  data: {dataset: moving_shapes, resolution: 16, autoencoder: {name: pixels, factor: 4}, frames: 4, interval: 1}
  learning: {steps: 1}
"""
VARIANTS = (
    BASE + "ablate: {model.blocks: [variant_2, variant_3]}\nclaim: {axis: blocks, better: variant_1, metric: fvd}\n"
)


def of(folder: Path, text: str, *overrides: str) -> tuple[dict[str, Arm], list[ResolvedClaim]]:
    arms, claims = resolved(write(folder, text), *overrides)
    return {arm.name: arm for arm in arms}, claims


def depths(arms: dict[str, Arm]) -> dict[str, int]:
    return {name: arm.spec.model.depth for name, arm in arms.items()}


def test_each_way_has_arms_of_its_own_where_the_depth_changes(tmp_path: Path) -> None:
    arms, _ = of(tmp_path, VARIANTS + "match: {steps: true, parameters: 9%, macs: 9%}\n")
    found = depths(arms)
    assert found["baseline"] == found["blocks=variant_2"] == found["blocks=variant_3"] == 20
    assert found["blocks=variant_3,matched=parameters"] == 16  # 20 * 18 / 22 = 16.4
    assert [name for name in found if "variant_2" in name] == ["blocks=variant_2"], "equal already in every way"
    assert {arm.axes["matched"] for arm in arms.values() if "variant_3" in arm.name} >= {"steps", "parameters"}
    assert arms["blocks=variant_3"].axes == {"blocks": "variant_3", "matched": "steps"}


def test_an_arm_of_the_first_way_is_called_what_it_is_called_without_the_others(tmp_path: Path) -> None:
    alone, _ = of(tmp_path, VARIANTS + "match: {parameters: 9%}\n")
    both, _ = of(tmp_path, VARIANTS + "match: {parameters: 9%, macs: 9%}\n")
    plain, _ = of(tmp_path, VARIANTS)
    steps, _ = of(tmp_path, VARIANTS + "match: {steps: true, macs: 9%}\n")
    for before, after in ((alone, both), (plain, steps)):
        assert {name: after[name].identity for name in before} == {name: arm.identity for name, arm in before.items()}
    assert "matched" not in alone["baseline"].axes


def test_a_claim_is_judged_for_each_way_and_once_where_arms_are_the_same(tmp_path: Path) -> None:
    _, claims = of(tmp_path, VARIANTS + "match: {steps: true, parameters: 9%, macs: 9%}\n")
    assert next((claim.labels[1], claim.matched) for claim in claims) == ("variant_2", ("steps", "parameters", "macs"))
    about_3 = {claim.matched: claim.arms for claim in claims if claim.labels[1] == "variant_3"}
    assert about_3[("steps",)] == ("baseline", "blocks=variant_3")
    assert [way for ways in about_3 for way in ways] == ["steps", "parameters", "macs"]
    (by_steps,) = (claim for claim in claims if claim.matched == ("steps",))
    assert by_steps.text == "variant_1 better than variant_3, matched by steps"
    assert claims[0].where == ", matched by steps, parameters and macs"


def test_one_way_or_none_says_nothing_of_it(tmp_path: Path) -> None:
    for match in ("", "match: {parameters: 9%}\n"):
        _, claims = of(tmp_path, VARIANTS + match)
        assert [claim.matched for claim in claims] == [(), ()]
        assert claims[0].text == "variant_1 better than variant_2"


def test_named_arms_and_grids_are_matched_in_each_way_too(tmp_path: Path) -> None:
    text = BASE + "arms: {other: {model.blocks: variant_3}}\nmatch: {steps: true, parameters: 9%}\n"
    assert depths(of(tmp_path, text)[0]) == {"baseline": 20, "other": 20, "other,matched=parameters": 16}
    grid = BASE + "grid: {model.blocks: [variant_1, variant_3], model.patch: [1, 2]}\n"
    grid += "claim: {axis: blocks, better: variant_1, worse: variant_3, metric: fvd}\n"
    arms, claims = of(tmp_path, grid + "match: {steps: true, parameters: 60%}\n")
    assert {claim.matched: len(claim.arms) for claim in claims} == {("steps",): 4, ("parameters",): 4}
    assert all(set(claim.arms) <= set(arms) for claim in claims)


def test_a_way_that_no_depth_meets_is_refused_by_name(tmp_path: Path) -> None:
    lines = problems(write(tmp_path, VARIANTS + "match: {steps: true, parameters: 0.1%}\n"))
    assert len(lines) == 1
    assert "arm blocks=variant_3,matched=parameters: no depth brings its parameters within 0.1%" in lines[0]


@pytest.mark.parametrize("way", ["steps: true, parameters: 25%", "parameters: 25%, macs: 25%"])
def test_a_search_is_matched_in_one_way(tmp_path: Path, way: str) -> None:
    text = BASE + "search: {space: {model.blocks: [variant_1, variant_3]}, trials: 2, objective: {metric: fvd}}\n"
    lines = problems(write(tmp_path, f"{text}match: {{{way}}}\n"))
    assert any("match: trials are matched in one way" in line for line in lines), lines
