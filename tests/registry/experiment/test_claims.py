"""Claims as written: their three forms, what they resolve to, and one clear line for everything wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from registry.experiment.claims import ResolvedClaim, scores_of
from registry.experiment.experiment_file import load_experiment
from registry.parts.catalogue import Catalogue
from registry.schema.claim import Claim, Margin
from tests.fixtures.writing import TOY, one, problems, resolved, write

AXES = "ablate: {model.depth: [2, 4, 6, 8], model.blocks: [variant_1, variant_2]}\n"


def claims(tmp_path: Path, text: str) -> list[ResolvedClaim]:
    return resolved(write(tmp_path, f"{TOY}{AXES}claim: {text}\n"))[1]


def wrong(tmp_path: Path, text: str) -> list[str]:
    """The problems of a claim, which stands at line 6."""
    return problems(write(tmp_path, f"{TOY}{AXES}claim: {text}\n"))


def test_the_three_forms(tmp_path: Path) -> None:
    text = """
  - {axis: depth, better: 4, worse: 2}
  - {axis: blocks, equivalent: [variant_1, variant_2], margin: 5%, metric: kvd}
  - {axis: depth, improving: [2, 4, 8], metric: validation_loss}
"""
    order, equivalence, trend = claims(tmp_path, text)
    assert (order.kind, order.arms, order.metric, order.margin) == (
        "order", ("depth=4", "baseline"), "fvd[moving_shapes_r3d]", None,
    )  # fmt: skip
    assert (equivalence.kind, equivalence.arms, equivalence.metric) == (
        "equivalence", ("baseline", "blocks=variant_2"), "kvd[moving_shapes_r3d]",
    )  # fmt: skip
    assert equivalence.margin == Margin(value=0.05, unit="share")
    assert (trend.kind, trend.arms, trend.metric, trend.direction) == (
        "trend", ("baseline", "depth=4", "depth=8"), "validation_loss", "min",
    )  # fmt: skip
    assert [claim.text for claim in (order, equivalence, trend)] == [
        "4 better than 2", "variant_1 equivalent to variant_2 within 5%", "improving from 2 to 4 to 8",
    ]  # fmt: skip


def test_equivalence_of_several_values_is_that_of_every_pair(tmp_path: Path) -> None:
    found = claims(tmp_path, "{axis: depth, equivalent: [2, 4, 6], margin: 1 floor}")
    assert [claim.labels for claim in found] == [("2", "4"), ("2", "6"), ("4", "6")]
    assert {claim.margin for claim in found} == {Margin(value=1.0, unit="floor")}


@pytest.mark.parametrize(
    ("written", "value", "unit", "shown"),
    [
        ("5%", 0.05, "share", "5%"),
        ("2.5 %", 0.025, "share", "2.5%"),
        ("1 floor", 1.0, "floor", "1 floor"),
        ("0.5 floors", 0.5, "floor", "0.5 floors"),
        ("1e-1 floors", 0.1, "floor", "0.1 floors"),
        (3, 3.0, "score", "3"),
        (0.25, 0.25, "score", "0.25"),
    ],
)
def test_margins(written: object, value: float, unit: str, shown: str) -> None:
    margin = Claim.model_validate({"axis": "a", "equivalent": ("x", "y"), "margin": written}).margin
    assert margin is not None
    assert (margin.value, margin.unit, str(margin)) == (pytest.approx(value), unit, shown)


@pytest.mark.parametrize("written", ["5", "five%", "0%", "-1%", "1 flor", "%", 0, -2.0, "true", ".inf", "nan%", "[1]"])
def test_what_is_no_margin(tmp_path: Path, written: object) -> None:
    quoted = f"'{written}'" if isinstance(written, str) and written not in ("true", ".inf", "[1]") else written
    line = one(wrong(tmp_path, f"{{axis: blocks, equivalent: [variant_1, variant_2], margin: {quoted}}}"), ":6: ")
    assert "claim.0.margin: expected a margin above zero: 5%, 1 floor, or a number in the score's unit" in line


def test_direction_follows_from_the_metric(tmp_path: Path) -> None:
    (tmp_path / "brightness_metric.py").write_text(
        'from registry.parts.catalogue import part\n\n\n@part("metric", "brightness")\nclass Brightness:\n'
        '    """Made up.\n\n    Source: none\n    Official code: no\n    """\n\n'
        '    scores = ("brightness", "contrast")\n    by_detector = False\n    higher_is_better = True\n\n'
        "    def __init__(self, detector):\n        pass\n",
        encoding="utf-8",
    )
    text = f"plugins: [brightness_metric]\n{TOY}  scoring: {{metrics: [brightness, fvd]}}\n{AXES}claim:\n"
    text += "  - {axis: depth, better: 4, worse: 2, metric: contrast}\n"
    text += "  - {axis: depth, better: 4, worse: 2, metric: contrast, direction: min}\n"
    text += "  - {axis: depth, better: 4, worse: 2, metric: fvd}\n"
    found = resolved(write(tmp_path, text))[1]
    assert [(claim.metric, claim.direction) for claim in found] == [
        ("contrast", "max"), ("contrast", "min"), ("fvd[moving_shapes_r3d]", "min"),
    ]  # fmt: skip


def test_a_score_that_is_best_at_neither_end_has_no_direction(tmp_path: Path) -> None:
    scored = f"{TOY}  scoring: {{metrics: [fvd, fvd_test, nearest_training]}}\n{AXES}"
    text = f"{scored}claim:\n  - {{axis: depth, better: 4, worse: 2, metric: fvd_gap}}\n"
    (line,) = problems(write(tmp_path, text))
    assert "fvd_gap is best at neither end: claim an equivalence, or say direction: min or max" in line
    said = text.replace("metric: fvd_gap", "metric: nearest_training, direction: max")
    assert [claim.direction for claim in resolved(write(tmp_path, said))[1]] == ["max"]
    alike = f"{scored}claim:\n  - {{axis: blocks, equivalent: [variant_1, variant_2], margin: 0.1, metric: fvd_gap}}\n"
    assert [claim.kind for claim in resolved(write(tmp_path, alike))[1]] == ["equivalence"]
    searched = f"{scored}search: {{space: {{learning.learning_rate: [1e-3, 2e-3]}}, objective: fvd_gap}}\n"
    (line,) = problems(write(tmp_path, searched))
    assert "search.objective: fvd_gap is best at neither end; give its direction" in line


def full_names(raw: Mapping[str, Any], parts: Catalogue) -> dict[str, str]:
    """What a claim may call a score -> its full name in results."""
    return {name: full for name, (full, _) in scores_of(raw, parts).items()}


def test_every_score_of_every_metric_can_be_claimed_on(tmp_path: Path) -> None:
    file = load_experiment(write(tmp_path, TOY), ["scoring={metrics: [fvd, {name: kvd}], detector: i3d}"])
    names = full_names(file.experiment.base, file.parts)
    assert names["fvd"] == "fvd"
    assert names["fvd_extrapolated"] == "fvd_extrapolated"
    assert names["kvd"] == "kvd"
    assert names["validation_loss"] == "validation_loss"
    preset = full_names({"scoring": {"protocol": "latte_compatible"}}, file.parts)
    assert "kvd" not in preset
    assert preset["fvd"] == "fvd"
    assert full_names({"scoring": {"metrics": ("nonsense",)}}, file.parts) == {}


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ("{axis: blocks}", "claim: give one of better, equivalent, improving"),
        ("{axis: blocks, worse: variant_1}", "claim: give one of better, equivalent, improving"),
        ("{axis: depth, better: 2, improving: [2, 4, 6]}", "claim.improving: a claim has one of better"),
        ("{axis: depth, improving: [2, 4, 6], worse: 8}", "claim.worse: goes with better, not with improving"),
        ("{axis: depth, better: 2, margin: 5%}", "claim.margin: goes with equivalent, not with better"),
        ("{axis: blocks, equivalent: [variant_1, variant_2]}", "claim.equivalent: say within what: margin: 5%"),
        ("{axis: blocks, equivalent: [variant_1], margin: 1}", "claim.equivalent: expected at least 2 values, got 1"),
        ("{axis: depth, equivalent: [2, 4, 2], margin: 1}", "claim.equivalent: names '2' twice"),
        ("{axis: depth, equivalent: [2, 4], margin: 1, direction: min}", "claim.direction: goes with better"),
        (
            "{axis: depth, improving: [2, 4]}",
            "claim.improving: expected at least 3 values, got 2; for two write better",
        ),
        ("{axis: depth, improving: [2, 4, 5]}", "claim.improving: axis depth has no value '5'; "),
        ("{axis: blocks, equivalent: [variant_1, varant_2], margin: 1}", "did you mean 'variant_2'"),
        ("{axis: blocks, equivalent: variant_1, margin: 1}", "claim.0.equivalent: expected a list of values"),
        ("{axis: blocks, better: variant_1, direction: up}", "claim.0.direction: 'up' is not a choice"),
        ("{axis: depth, improving: [2, 4, 6], metric: fdv}", "claim.metric: no metric 'fdv'; did you mean 'fvd'"),
    ],
)
def test_one_line_with_place_key_and_what_to_do(tmp_path: Path, claim: str, words: str) -> None:
    lines = wrong(tmp_path, claim)
    assert words in one(lines, f"{tmp_path / 'toy.yaml'}:6: "), lines


def test_everything_wrong_with_a_claim_is_told_in_one_go(tmp_path: Path) -> None:
    text = "\n  - axis: dept\n    improving: [2, 4]\n    metric: fdv"
    text += "\n  - axis: blocks\n    better: variant_9\n    margin: 5%\n"
    lines = wrong(tmp_path, text)
    for line, words in ((7, "did you mean 'depth'"), (8, "at least 3 values"), (9, "'fdv'"), (11, "'variant_9'")):
        one(lines, f":{line}: ", words)
    one(lines, ":12: ", "goes with equivalent")
    assert len(lines) == 5, lines


def test_a_trend_over_one_arm_twice_is_refused(tmp_path: Path) -> None:
    text = f"{TOY}ablate: {{diffusion.noise_schedule: [linear, null, cosine]}}\n"
    text += "claim: {axis: noise_schedule, improving: [cosine, linear, 'null']}\n"
    line = one(problems(write(tmp_path, text)), "claim on noise_schedule")
    assert "'linear' and 'null' are the same arm, 'baseline'" in line
