"""The paper's claims: each has an experiment that tests it and is found by what arms are; `verdict --paper` sums up."""

import re
from pathlib import Path

import pytest

from analysis.paper.claims import FILE as CLAIMS_FILE
from analysis.paper.claims import PaperClaim, differing, paper_claims
from analysis.results.run_columns import spec_values
from experiments.launch.tuning import settled
from experiments.plan.loading import load_plan
from registry.errors import SpecError
from registry.runs.machine import ROOT
from registry.runs.replicate import Replicate
from tests.cli.command import run
from tests.experiments.plan.test_tuning import NAMES, PLAIN, RATES
from tests.experiments.plan.test_tuning import finish as finish_tuning
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY, write

CLAIMS = paper_claims()
FILES = sorted({claim.file for claim in CLAIMS})
FVD = "fvd[moving_shapes_r3d]"
CLAIM = "{axis: blocks, better: variant_1, worse: variant_4, metric: fvd}"


def ids_tested(file: Path) -> list[list[str]]:
    """Return, for each claim of an experiment file, the ids of the paper's claims that it tests."""
    plan = load_plan(file)
    arms = {arm.name: spec_values(arm.spec) for arm in plan.arms}
    last = max(arm.spec.learning.steps for arm in plan.arms)
    return [[claim.id for claim in CLAIMS if claim.tested_by(own, arms, last)] for own in plan.claims]


def test_the_head_of_the_file_names_keys_that_there_are() -> None:
    head = [line for line in CLAIMS_FILE.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert set(re.findall(r"`(\w+)`", " ".join(head))) <= set(PaperClaim.model_fields)


@pytest.mark.parametrize("file", FILES)
def test_the_experiments_of_the_paper_test_the_claims_that_name_them(file: str) -> None:
    found = ids_tested(ROOT / file)
    assert all(len(ids) == 1 for ids in found), found
    assert {ids[0] for ids in found} == {claim.id for claim in CLAIMS if claim.file == file}


def test_small_twins_are_found_at_their_own_scale() -> None:
    small = ROOT / "experiments" / "latte" / "small"  # with each claim told by two detectors
    assert ids_tested(small / "weizmann_joint_images.yaml") == [["joint-images"]] * 2
    early, late = [["initialisation-early"]] * 2, [["initialisation-late"]] * 2
    assert ids_tested(small / "weizmann_initialisation.yaml") == early + late
    assert ids_tested(ROOT / "experiments" / "quickstart.yaml") == [["patch-embedding"]]


def test_arms_that_differ_in_something_else_test_nothing(tmp_path: Path) -> None:
    """Another learning rate beside the other blocks: who knows which of them it was."""
    arms = "arms:\n  other: {model.blocks: variant_4, learning.learning_rate: 2e-3}"
    text = TOY.replace("ablate:\n  model.blocks: [variant_1, variant_4]", arms)
    text = text.split("claim:")[0] + "claim: {axis: arms, better: baseline, worse: other, metric: validation_loss}\n"
    assert ids_tested(write(tmp_path, text)) == [[]]


def test_values_that_were_tuned_may_differ(tmp_path: Path) -> None:
    """Each arm chose its own; what is no parameter of what was tuned still tells arms apart."""
    plan = load_plan(write(tmp_path, f"{TOY.split('claim:')[0]}claim: {CLAIM}\n"))
    arms = {arm.name: spec_values(arm.spec) for arm in plan.arms}
    arms["baseline"] |= {"learning.learning_rate": 1e-3, "learning.optimiser.weight_decay": 0.1}
    (paper,) = [one for one in CLAIMS if one.id == "variant-1-and-4"]
    (claim,) = plan.claims
    rate, decay = "learning.learning_rate", "learning.optimiser.weight_decay"
    assert paper.tested_by(claim, arms, 6, [rate, decay])
    assert paper.tested_by(claim, arms, 6, [rate, "learning.optimiser"])
    assert not paper.tested_by(claim, arms, 6, [rate])
    arms["baseline"] |= {"learning.optimiser": "muon"}
    assert not paper.tested_by(claim, arms, 6, [rate, decay])


def test_the_scale_says_what_was_tuned(tmp_path: Path) -> None:
    file = write(tmp_path, f"{PLAIN.split('claim:')[0]}claim: {CLAIM}\ntune: {{{RATES}, budget: 20%}}\n")
    runs = tmp_path / "runs"
    finish_tuning(load_plan(file, (), runs), dict(zip(NAMES, [0.3, 0.1, 0.2, 0.5, 0.4, 0.3], strict=True)))
    plan = settled(load_plan(file, (), runs))
    assert len({arm.spec.learning.learning_rate for arm in plan.arms}) == 2
    finish(plan, worse)
    rows = run("verdict", "--paper", "--runs", runs, "--format", "json").json
    (shown,) = [row for row in rows if row["tests"]]
    assert shown["id"] == "variant-1-and-4"
    assert shown["tests"][0]["scale"].endswith("60 steps of 4, learning_rate tuned for each arm")


def test_parameters_of_a_part_count_as_the_part() -> None:
    left = {"learning.initialisation": "scratch", "scoring.kernel": "bilinear", "model.depth": 4}
    right = {"learning.initialisation": "dit_image", "learning.initialisation.mapping": "by_name", "model.depth": 6}
    assert differing(left, right) == {"learning.initialisation", "model.depth"}


def worse(replicate: Replicate) -> dict[str, float]:
    """Variant 4 is worse by about 5, so that variant 1 is shown to be better."""
    add = 5.0 + 0.01 * replicate.seed if "variant_4" in replicate.arm else 0.0
    return {FVD: 30.0 + replicate.seed + add, "validation_loss": 0.5}


def test_verdict_of_the_paper(tmp_path: Path) -> None:
    text = TOY.replace("seeds: [0, 1]", "seeds: [0, 1, 2]")
    text = text.split("claim:")[0] + "claim: {axis: blocks, better: variant_1, worse: variant_4, metric: fvd}\n"
    finish(load_plan(write(tmp_path, text), (), tmp_path / "runs"), worse)
    told = run("verdict", "--paper", "--runs", tmp_path / "runs")
    assert told.code == 0, told.err
    assert "supported     Variant 1 is better than parallel attention" in told.out
    assert "toy (variant_1 better than variant_4): supported" in told.out
    assert f"{len(CLAIMS)} claims of the paper: {len(CLAIMS) - 1} not run, 1 supported" in told.out
    rows = run("verdict", "--paper", "--runs", tmp_path / "runs", "--format", "json").json
    assert [row["answer"] for row in rows].count("supported") == 1
    (shown,) = [row for row in rows if row["id"] == "variant-1-and-4"]
    assert shown["tests"][0]["experiment"] == "toy"
    assert shown["source"]
    table = run("verdict", "--paper", "--runs", tmp_path / "runs", "--format", "md").out.splitlines()
    assert len(table) == 2 + len(CLAIMS)


def test_a_folder_without_runs_and_a_damaged_one_are_named(tmp_path: Path) -> None:
    told = run("verdict", "--paper", "--runs", tmp_path / "none")
    assert (told.code, f"{len(CLAIMS)} not run" in told.out) == (0, True)
    assert "holds no launched experiment" in told.err
    place = tmp_path / "runs" / "toy" / "reports" / "0123456789"
    place.mkdir(parents=True)
    (place / "experiment.json").write_text("{}")
    told = run("verdict", "--paper", "--runs", tmp_path / "runs")
    assert (told.code, "Traceback" in told.err) == (0, False)
    assert "toy is left out" in told.err


def test_words_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    told = run("verdict")
    assert (told.code, "name an experiment file, or --paper" in told.err) == (2, True)
    told = run("verdict", "--paper", write(tmp_path, TOY))
    assert (told.code, "--paper goes without FILE" in told.err) == (2, True)
    told = run("verdict", write(tmp_path, TOY), "--format", "md")
    assert (told.code, "--format md goes with --paper" in told.err) == (2, True)


def test_a_claim_has_one_form() -> None:
    about = {"id": "x", "says": "y", "source": "z", "sure": "reported", "file": "f"}
    with pytest.raises(ValueError, match="give one of better with worse"):
        PaperClaim.model_validate(about)
    with pytest.raises(ValueError, match="bettter"):
        PaperClaim.model_validate({**about, "alike_along": ["data.interval"], "bettter": {}})


def test_another_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "claims.yaml").write_text("claims: [{id: x}]\n")
    with pytest.raises(SpecError, match="says"):
        paper_claims(tmp_path / "claims.yaml")
