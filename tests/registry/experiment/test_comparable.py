"""Claims that could never be judged, and axes that make no arms, are refused before anything starts."""

from pathlib import Path

import pytest

from tests.fixtures.writing import TOY, problems, write


@pytest.mark.parametrize(
    ("axis", "values", "metric", "named"),
    [
        ("data.interval", "[3, 1]", "fvd", "set scoring.real_interval in the base"),
        ("data.resolution", "[16, 32]", "fvd", "set scoring.resolution in the base"),
        ("sampling.clips", "[2048, 64]", "fvd", "sampling.clips"),
        ("diffusion.objective", "[epsilon_learned_sigma, v_prediction]", "validation_loss", "diffusion.objective"),
        ("data.interval", "[3, 1]", "validation_loss", "data.interval"),
    ],
)
def test_claims_between_incomparable_arms(tmp_path: Path, axis: str, values: str, metric: str, named: str) -> None:
    first, second = values.strip("[]").split(", ")
    name = axis.split(".")[-1]
    claim = f"claim: {{axis: {name}, better: {first}, worse: {second}, metric: {metric}}}"
    (line,) = problems(write(tmp_path, f"{TOY}\nablate: {{{axis}: {values}}}\n{claim}\n"))
    assert "cannot be compared" in line
    assert named in line


def test_comparable_claims_stay(tmp_path: Path) -> None:
    claim = "claim: {axis: objective, better: epsilon_learned_sigma, worse: v_prediction, metric: fvd}"
    axis = "ablate: {diffusion.objective: [epsilon_learned_sigma, v_prediction]}"
    assert problems(write(tmp_path, f"{TOY}\n{axis}\n{claim}\n")) == []
    fixed = f"{TOY}\n  scoring: {{real_interval: 1}}\nablate: {{data.interval: [1, 2]}}\n"
    assert problems(write(tmp_path, f"{fixed}claim: {{axis: interval, better: 1, worse: 2}}\n")) == []


def test_every_arm_of_a_claim_must_be_comparable(tmp_path: Path) -> None:
    axis = "ablate: {data.interval: [3, 2, 1]}"
    claim = "claim: {axis: interval, improving: [3, 2, 1], metric: fvd}"
    (line,) = problems(write(tmp_path, f"{TOY}\n{axis}\n{claim}\n"))
    assert "fvd[moving_shapes_r3d] of 3 and 2 cannot be compared: they differ in scoring.real_interval" in line
    fixed = f"{TOY}\n  scoring: {{real_interval: 1}}\n{axis}\n"
    assert problems(write(tmp_path, f"{fixed}{claim}\n")) == []
    pairs = "claim: {axis: interval, equivalent: [3, 2, 1], margin: 5%}"
    assert len(problems(write(tmp_path, f"{TOY}\n{axis}\n{pairs}\n"))) == 3


def test_axes_that_make_no_arms(tmp_path: Path) -> None:
    (line,) = problems(write(tmp_path, f"{TOY}\nablate: {{runtime.precision: [fp32, bf16]}}\n"))
    assert "never changes a result" in line
    (line,) = problems(write(tmp_path, f"{TOY}\nablate: {{model.depth: [2, 4]}}\nmatch: {{parameters: 5%}}\n"))
    assert "match sets the depth itself" in line


def test_a_misspelt_axis_hides_nothing(tmp_path: Path) -> None:
    text = f"{TOY}\nablate: {{modle.blocks: [variant_1], model.conditioning: [s_adaln, all_token]}}\n"
    lines = problems(write(tmp_path, text + "claim: {axis: conditionin, better: s_adaln, metric: fvdd}\n"))
    for told in ("'modle'", "'all_token'", "'conditionin'", "'fvdd'"):
        assert any(told in line for line in lines), (told, lines)
