"""diff of arms and of runs, compare of experiments and of sites, as people call them."""

import json
import re
import shutil
from pathlib import Path

import pytest

from experiments.plan.loading import load_plan
from registry.runs.machine import ROOT
from registry.runs.replicate import Replicate
from tests.cli.command import Launched, run
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import write, write_ablation

METRIC = "fvd[moving_shapes_r3d]"


def sections(told: str) -> dict[str, dict[str, tuple[object, object]]]:
    """Section -> key -> the two values, of diff's JSON."""
    found = json.loads(told)["differences"]
    return {name: {row["key"]: (row["left"], row["right"]) for row in rows} for name, rows in found.items()}


def site(folder: Path, shift: float, *overrides: str) -> Path:
    """The experiment's folder of a site whose made-up scores are higher by so much."""
    plan = load_plan(write(folder), overrides, folder / "runs")
    finish(plan, lambda own: {METRIC: own.seed + shift + 10.0 * (own.arm != "baseline")})
    return folder / "runs" / "toy"


def test_two_arms_as_they_ran(launched: Launched) -> None:
    told = launched.verbs("diff", "--arms", "baseline", "blocks=variant_4", "--format", "json")
    assert told.code == 0, told.err
    found = sections(told.out)
    assert found["spec"] == {"model.blocks.name": ("variant_1", "variant_4")}
    assert found["protocol"] == found["environment"] == {}
    assert {key for key in found["code"] if "blocks" in key} == set(found["code"]) != set()
    left, right = found["result"][f"scores.{METRIC}"]
    rows = {
        (row["arm"], row["seed"]): row["scores"]
        for row in launched.verbs("status", "--format", "json").json["replicates"]
    }
    assert (left, right) == (rows["baseline", 0][METRIC], rows["blocks=variant_4", 0][METRIC])
    other = launched.verbs("diff", "--arms", "baseline", "blocks=variant_4", "--seed", "1", "--format", "json")
    assert sections(other.out)["result"][f"scores.{METRIC}"][0] == rows["baseline", 1][METRIC]
    text = launched.verbs("diff", "--arms", "baseline", "blocks=variant_4").out
    assert "no difference in protocol, environment" in text


def test_two_runs_by_folder_and_as_the_table_names_them(launched: Launched) -> None:
    comment = launched.verbs("table", "--format", "md").out.split("<!--")[1]
    first, second = re.findall(r"\w+/seed-\d/\w+", comment)[:2]
    folder = next((launched.runs / "toy").glob("baseline-*")) / "seed-0"
    told = run("diff", folder, second, "--runs", launched.runs, "--format", "json")
    assert told.code == 0, told.err
    assert sections(told.out)["spec"] == {"seed": (0, 1)}
    same = run("diff", folder, first, "--runs", launched.runs)
    assert same.out.strip() == "no difference in spec, protocol, code, environment, result"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--arms", "baseline", "blocks=variant_5"), 2, "no arm 'blocks=variant_5'; did you mean 'blocks=variant_4'?"),
        (("--arms", "baseline", "blocks=variant_4", "--seed", "7"), 2, "no seed 7; there are 0, 1"),
        (("--arms", "baseline", "blocks=variant_4", "seeds=[8]"), 1, "no seed of both"),
    ],
)
def test_what_is_not_there_is_said(launched: Launched, words: tuple[str, ...], code: int, told: str) -> None:
    said = launched.verbs("diff", *words)
    assert said.code == code
    assert told in said.err
    assert len(said.err.splitlines()) == 1


def test_a_run_that_is_none(launched: Launched) -> None:
    said = run("diff", launched.runs / "toy", "nothing", "--runs", launched.runs)
    assert (said.code, said.out) == (1, "")
    assert "no run: name its folder" in said.err


def test_two_sites_of_one_protocol(tmp_path: Path) -> None:
    here, there = site(tmp_path / "a", 0.0), site(tmp_path / "b", 3.0)
    told = run("compare", here, there, "--format", "json")
    assert told.code == 0, told.err
    assert [(row["arm"], row["metric"]) for row in told.json["rows"]] == [
        ("baseline", METRIC),
        ("blocks=variant_4", METRIC),
    ]
    row = told.json["rows"][0]
    assert (row["left"][0], row["right"][0], row["difference"]) == (0.5, 3.5, 3.0)
    # both variances are 0.5 of 2 seeds: error sqrt(0.5), 2 degrees of freedom, t(0.975, 2) = 4.302653
    assert row["interval"] == pytest.approx([3 - 4.302653 * 0.5**0.5, 3 + 4.302653 * 0.5**0.5], abs=1e-5)
    assert told.json["notes"] == []
    text = run("compare", here, there, "--metric", "fvd").out
    assert "0.50 ± 0.71 (n = 2)" in text
    assert f"{METRIC}: protocol 0123456789" in text


def test_two_files_and_what_differs_beside_the_scores(tmp_path: Path) -> None:
    site(tmp_path, 0.0)
    other = tmp_path / "longer.yaml"
    other.write_text(
        (tmp_path / "toy.yaml").read_text().replace("name: toy", "name: longer").replace("variant_4", "variant_2")
    )
    plan = load_plan(other, ["learning.steps=8"], tmp_path / "runs")
    finish(plan, lambda own: {METRIC: own.seed - 1.0})
    told = run("compare", tmp_path / "toy.yaml", other)
    assert told.code == 0, told.err
    assert "only in toy: blocks=variant_4" in told.out
    assert "only in longer: blocks=variant_2" in told.out
    assert "baseline: is not the same spec on both sides: learning.steps 6 / 8" in told.out


def test_runs_that_are_on_both_sides_have_no_difference_and_no_interval(tmp_path: Path) -> None:
    here = site(tmp_path, 0.0)
    other = write_ablation(tmp_path, "other", "model.blocks: [variant_1, variant_2]")
    finish(load_plan(other, (), tmp_path / "runs"), lambda own: {METRIC: own.seed + 10.0 * (own.arm != "baseline")})
    told = run("compare", here, other, "--runs", tmp_path / "runs", "--format", "json")
    assert told.code == 0, told.err
    (row,) = told.json["rows"]
    assert (row["arm"], row["runs"], row["difference"], row["interval"]) == ("baseline", "the same runs", None, None)
    assert "baseline: the same runs on both sides: there is nothing to compare" in told.json["notes"]
    there = shutil.copytree(tmp_path / "runs", tmp_path / "there", symlinks=True)  # what was passed on is no other run
    told = run("compare", here, there / "toy", "--format", "json")
    assert [row["runs"] for row in told.json["rows"]] == ["the same runs"] * 2


def test_runs_of_the_same_trainings_have_no_interval(tmp_path: Path) -> None:
    here = site(tmp_path, 0.0)
    other = write_ablation(tmp_path, "other", "model.blocks: [variant_1]")
    plan = load_plan(other, ["sampling.clips=8", "seeds=[0,1,2]"], tmp_path / "runs")
    finish(plan, lambda own: {METRIC: own.seed + 2.5})
    told = run("compare", here, tmp_path / "runs" / "other", "--format", "json")
    assert told.code == 0, told.err
    (row,) = told.json["rows"]
    assert (row["difference"], row["interval"]) == (3.0, None)
    why = "both sides have runs of the same trainings, which are not independent: no interval"
    assert f"baseline: {why}" in told.json["notes"]


def test_other_protocols_are_refused_with_what_differs(tmp_path: Path) -> None:
    here, there = site(tmp_path / "a", 0.0), site(tmp_path / "b", 3.0)
    for path in there.glob("*/seed-*/result.json"):
        result = json.loads(path.read_text())
        result["protocols"], result["protocol_specs"] = {METRIC: "9876543210"}, {"9876543210": {"real": {"clips": 7}}}
        del result["sha256"]
        path.write_text(json.dumps(result))
    told = run("compare", here, there)
    assert (told.code, told.out) == (1, "")
    assert "different protocols cannot be compared" in told.err
    assert 'real: null / {"clips": 7}' in told.err


def test_losses_of_two_objectives_are_shown_without_a_difference(tmp_path: Path) -> None:
    def scores(own: Replicate) -> dict[str, float]:
        return {METRIC: 1.0 + own.seed, "validation_loss": 0.5 + own.seed}

    for name, overrides in (("a", ()), ("b", ["diffusion.objective=epsilon_learned_sigma"])):
        finish(load_plan(write(tmp_path / name), overrides, tmp_path / name / "runs"), scores)
    told = run("compare", tmp_path / "a/runs/toy", tmp_path / "b/runs/toy", "--format", "json")
    assert told.code == 0, told.err
    assert [(row["metric"], row["difference"], row["left"][0]) for row in told.json["rows"]] == [
        (METRIC, 0.0, 1.5), (METRIC, 0.0, 1.5), ("validation_loss", None, 1.0), ("validation_loss", None, 1.0)
    ]  # fmt: skip
    assert (
        "validation_loss of different data or diffusion is not compared: baseline, blocks=variant_4"
        in told.json["notes"]
    )


def test_one_experiment_against_itself_is_a_slip(tmp_path: Path) -> None:
    here = site(tmp_path, 0.0)
    told = run("compare", here, tmp_path / "toy.yaml", "--runs", tmp_path / "runs")
    assert told.code == 1
    assert "both are the same experiment" in told.err


def test_the_page_of_comparisons_is_what_happens(launched: Launched, tmp_path: Path) -> None:
    """Every command of docs/comparing.md runs, on the toy experiment in place of the quickstart."""
    page = (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    commands = [line.removeprefix("python run.py ").split() for block in blocks for line in block.splitlines()]
    assert {command[0] for command in commands} == {"table", "diff", "compare"}
    other = shutil.copytree(launched.runs, tmp_path / "there", symlinks=True)
    comment = launched.verbs("table", "--format", "md").out.split("<!--")[1]
    runs = iter(re.findall(r"\w+/seed-\d/\w+", comment))

    def here(word: str) -> object:
        if word.endswith(".yaml"):
            return launched.file
        return next(runs) if "/seed-" in word else word.replace("patch_embedding=compression_frame", "blocks=variant_4")

    for words in commands:
        places = ("compare", launched.runs / "toy", other / "toy")  # links of the copy lead into the copy
        done = run(*places) if words[0] == "compare" else run(*map(here, words), "--runs", launched.runs)
        assert done.code == 0, (words, done.err)


def test_arms_of_unlike_protocols_are_compared_each_with_itself(tmp_path: Path) -> None:
    def site_of(name: str, other: str) -> Path:
        plan = load_plan(write(tmp_path / name), (), tmp_path / name / "runs")
        protocols = {"baseline": "0123456789", "blocks=variant_4": other}
        finish(plan, lambda own: {METRIC: own.seed + 1.0}, protocol_of=lambda own: protocols[own.arm])
        return tmp_path / name / "runs" / "toy"

    told = run("compare", site_of("a", "aaaaaaaaaa"), site_of("b", "aaaaaaaaaa"), "--format", "json")
    assert told.code == 0, told.err
    assert told.json["protocols"] == {
        f"{METRIC} of baseline": "0123456789", f"{METRIC} of blocks=variant_4": "aaaaaaaaaa",
    }  # fmt: skip
    refused = run("compare", tmp_path / "a" / "runs" / "toy", site_of("c", "bbbbbbbbbb"))
    assert refused.code == 1
    assert "blocks=variant_4" in refused.err


def test_an_arm_that_is_not_done_has_no_protocol_of_its_own(tmp_path: Path) -> None:
    def site_of(name: str) -> Path:
        plan = load_plan(write(tmp_path / name), (), tmp_path / name / "runs")
        finish(plan, lambda own: {METRIC: own.seed + 1.0} if own.arm == "baseline" else None)
        return tmp_path / name / "runs" / "toy"

    told = run("compare", site_of("a"), site_of("b"), "--format", "json")
    assert told.code == 0, told.err
    assert told.json["protocols"] == {METRIC: "0123456789"}
