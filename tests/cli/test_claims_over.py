"""Claims that compare effects, and warnings beside verdicts, from the file to the command line, report and notebook."""

import json
from pathlib import Path

import pytest

import analysis
from experiments.plan.loading import load_plan
from experiments.record.recording import Recorder
from registry.runs.replicate import Replicate
from tests.cli.command import run
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY, write

HEAD = TOY[: TOY.index("ablate:")]
METRIC = "fvd[moving_shapes_r3d]"
GRID = """
grid: {model.blocks: [variant_1, variant_4], model.width: [16, 32, 64]}
seeds: [0, 1, 2, 3]
floors: []
claim:
- {axis: blocks, better: variant_4, worse: variant_1, holds_over: model.width}
- {axis: blocks, interacts_with: width}
"""
EFFECTS = {"16": 6.0, "32": 4.0, "64": 2.0}  # by which variant_4 is better
PARAMETERS = {"16": 10_000, "32": 40_000, "64": 160_000}
STEPS = """
ablate: {model.blocks: [variant_1, variant_4]}
evaluate_at: [2]
seeds: [0, 1, 2, 3]
floors: []
claim: {axis: blocks, better: variant_4, worse: variant_1, at_steps: [2, 6]}
"""
NOISE = (0.0, 0.11, -0.07, 0.05)


def of_widths(replicate: Replicate) -> dict[str, float]:
    width, seed = replicate.axes["width"], replicate.seed
    noise = NOISE[seed - list(EFFECTS).index(width)]
    better = EFFECTS[width] + noise if replicate.axes["blocks"] == "variant_4" else 0.0
    return {METRIC: 50.0 + seed - better}


def of_steps(replicate: Replicate) -> dict[str, float]:
    """Early variant_4 is better by 5, late by nothing."""
    early = replicate.step == 2
    noise = NOISE[replicate.seed - early]
    better = 5.0 * early + noise if replicate.axes["blocks"] == "variant_4" else 0.0
    return {METRIC: 50.0 - 20.0 * (not early) + replicate.seed - better}


def noisy(replicate: Replicate) -> dict[str, float]:
    """Neither is better for sure."""
    return {METRIC: 5.0 + replicate.seed + 0.3 * (replicate.arm != "baseline") * (replicate.seed + 1)}


@pytest.fixture(scope="module")
def widths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("widths")
    plan = load_plan(write(folder, HEAD + GRID), runs=folder / "runs")
    finish(plan, of_widths, parameters_of=lambda replicate: PARAMETERS[replicate.axes["width"]])
    return folder


def test_an_order_that_holds_as_the_network_grows_says_so_with_what_the_next_size_would_be(widths: Path) -> None:
    path, runs = widths / "toy.yaml", widths / "runs"
    holds, *interactions = run("verdict", path, "--runs", runs, "--format", "json").json["claims"]
    assert (holds["kind"], holds["holds_over"], holds["verdict"]) == ("holds_over", "width", "supported")
    assert [value["value"] for value in holds["values"]] == ["16", "32", "64"]
    assert [value["effect"] for value in holds["values"]] == pytest.approx([6.0, 4.0, 2.0], abs=0.2)
    assert all(value["shown"] for value in holds["values"])
    assert holds["growth"]["scale"] == "parameters"
    assert holds["growth"]["at"] == pytest.approx(640_000)
    assert holds["growth"]["slope"]["mean"] == pytest.approx(-1.0, abs=0.1)  # the parameters double twice a width
    assert holds["growth"]["beyond"]["mean"] == pytest.approx(0.0, abs=0.3)
    assert [own["verdict"] for own in interactions] == ["supported", "supported"]
    assert [own["effect"] for own in interactions] == pytest.approx([-2.0, -4.0], abs=0.3)
    assert all("adjusted for 3 claims" in own["reason"] for own in (holds, *interactions))
    shown = " ".join(run("verdict", path, "--runs", runs).out.split())
    for words in (
        "variant_4 better than variant_1 at every width of 16, 32, 64: supported",
        "the sign is kept at every width; 16, 32, 64 shown",
        "per doubling of the parameters the effect changes by -1",
        "extrapolated to 6.4e+05 parameters, the next value, where nothing was measured:",
        "if the effect goes on along a straight line over the logarithm of the parameters",
        "the effect of variant_4 against variant_1 differs between width 16 and 64: supported",
    ):
        assert words in shown


def test_the_report_and_a_notebook_say_the_same(widths: Path) -> None:
    path, runs = widths / "toy.yaml", widths / "runs"
    assert run("report", path, "--runs", runs).code == 0
    (page,) = (runs / "toy" / "reports").glob("*/report.html")
    assert "the sign is kept at every width" in page.read_text(encoding="utf-8")
    told = json.loads(page.with_name("verdict.json").read_text(encoding="utf-8"))["claims"]
    answers = analysis.load(path, runs=runs).verdict()
    assert [answer.verdict for answer in answers] == [own["verdict"] for own in told] == ["supported"] * 3
    assert answers[0].growth.at == pytest.approx(640_000)


def test_an_effect_that_is_early_and_not_late_is_told_step_by_step(tmp_path: Path) -> None:
    path, runs = write(tmp_path, HEAD + STEPS), tmp_path / "runs"
    finish(load_plan(path, runs=runs), of_steps)
    early, late, change = run("verdict", path, "--runs", runs, "--format", "json").json["claims"]
    assert [(own["kind"], own.get("step"), own["verdict"]) for own in (early, late, change)] == [
        ("order", 2, "supported"), ("order", 6, "undecided"), ("change", None, "supported"),
    ]  # fmt: skip
    assert change["at_steps"] == [2, 6]
    assert change["effect"] == pytest.approx(-5.0, abs=0.2)
    shown = " ".join(run("verdict", path, "--runs", runs).out.split())
    assert "the effect of variant_4 against variant_1 differs between steps 2 and 6: supported" in shown
    assert "effect at step: 2 +5" in shown
    again = run("verdict", path, "--runs", runs, "--format", "json").json["claims"]
    assert [own["looks"] for own in again] == [own["looks"] for own in (early, late, change)]  # the same look
    assert [answer.verdict for answer in analysis.load(path, runs=runs).verdict()] == [
        "supported", "undecided", "supported",
    ]  # fmt: skip


def test_an_arm_on_its_first_plateau_is_warned_of_by_verdict_report_and_notebook(tmp_path: Path) -> None:
    text = HEAD + STEPS[: STEPS.index("evaluate_at")] + "seeds: [0, 1]\nfloors: []\n" + STEPS[STEPS.index("claim") :]
    path, runs = write(tmp_path, text.replace(", at_steps: [2, 6]", "")), tmp_path / "runs"
    made = finish(load_plan(path, runs=runs), noisy)
    for replicate in made:
        low = 0.1 if replicate.arm == "baseline" else 0.6
        for step in range(1, 41):
            Recorder(replicate.training).metrics(
                step, {"loss": low + (1 - low) * 0.5 ** (step - 1) + 0.001 * (step % 3)}
            )
    (told,) = run("verdict", path, "--runs", runs, "--format", "json").json["claims"]
    (warning,) = told["warnings"]
    assert warning.startswith("warning: blocks=variant_4 is still on the first plateau of its loss (seeds 0, 1 of 2")
    assert told["verdict"] == "undecided"
    assert warning[:60] in run("verdict", path, "--runs", runs).out
    assert run("report", path, "--runs", runs).code == 0
    (page,) = (runs / "toy" / "reports").glob("*/report.html")
    assert "is still on the first plateau of its loss" in page.read_text(encoding="utf-8")
    assert "is still on the first plateau" in str(analysis.load(path, runs=runs).verdict())


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        ("{axis: blocks, better: variant_4, holds_over: model.size}", "claim.holds_over: no axis 'model.size'"),
        ("{axis: blocks, better: variant_4, at_steps: [2, 6]}", "add `evaluate_at: [2, 6]` to the experiment"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, claim: str, told: str) -> None:
    path = write(tmp_path, f"{HEAD}{GRID[: GRID.index('claim:')]}claim: {claim}\n")
    found = run("check", path, "--runs", tmp_path / "runs")
    assert (found.code, found.out) == (2, "")
    assert told in found.err
