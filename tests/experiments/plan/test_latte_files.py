"""The files of the paper's ablations: they resolve, have the paper's sizes, and say what they cost and test."""

import re
from pathlib import Path

import pytest
import torch

from components.assembly import Assembly
from components.model.checkpoints import to_official
from experiments.plan.check import check
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.plan.rows import rows
from experiments.plan.warnings import warnings
from registry.errors import SpecError
from registry.runs.machine import ROOT

FOLDER = ROOT / "experiments" / "latte"
FILES = sorted(path for path in FOLDER.glob("*.yaml") if not path.name.startswith("_"))
ABLATIONS = {
    "variants",
    "variants_matched",
    "patch_embedding",
    "conditioning",
    "temporal_position",
    "interval",
    "model_size",
    "joint_images",
    "initialisation",
}
DATA_SETS = {"faceforensics": "face_forensics"} | {name: name for name in ("sky_timelapse", "ucf101", "taichi_hd")}
MAIN_TABLE = set(DATA_SETS)


def plan_of(name: str, *overrides: str) -> Plan:
    return load_plan(FOLDER / f"{name}.yaml", overrides)


def head_of(path: Path) -> dict[str, str]:
    """The fields of a file's opening comment: `# Name: text`, gone on with on indented lines."""
    comment = path.read_text(encoding="utf-8").split("\nname:")[0]
    fields: dict[str, str] = {}
    name = ""
    for line in comment.splitlines():
        if found := re.match(r"# ([A-Z][a-z]+): +(.*)", line):
            name, fields[name] = found[1], found[2]
        elif name:
            fields[name] += " " + line.removeprefix("#").strip()
    return fields


def test_every_ablation_and_data_set_has_its_file() -> None:
    assert {path.stem for path in FILES} == ABLATIONS | MAIN_TABLE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_resolves_and_its_head_says_what_it_is(path: Path) -> None:
    plan = load_plan(path)
    head = head_of(path)
    assert set(head) == {"Command", "Data", "Cost", "Paper", "Reading"}
    file = " learning.initialisation.path=FILE" if path.stem == "initialisation" else ""
    assert head["Command"] == f"python run.py launch experiments/latte/{path.name} data.path=PATH{file}"
    hours = float(head["Cost"].split(" GPU-hours")[0].replace(",", ""))
    assert hours == pytest.approx(sum(row["gpu_hours"] for row in rows(plan)), rel=0.01)
    assert plan.name == "latte-" + path.stem.replace("_", "-")
    assert len(plan.file.experiment.seeds) >= 3
    for arm in plan.arms:
        assert (arm.spec.scoring.detector.name, arm.spec.data.autoencoder.name) == ("i3d", "sd_vae")
        assert arm.spec.data.dataset.name == DATA_SETS.get(path.stem, "face_forensics")
    if path.stem in ABLATIONS:
        assert {claim.metric for claim in plan.claims} == {"fvd"}


def test_variants_have_the_depths_parameters_and_macs_of_the_paper() -> None:
    by_arm = {row["arm"]: row for row in rows(plan_of("variants"))}
    assert {name: row["depth"] for name, row in by_arm.items()} == {
        "baseline": 28,
        "blocks=variant_2": 28,
        "blocks=variant_3": 23,
        "blocks=variant_4": 23,
        "variant_4_patch_4": 23,
    }
    assert by_arm["baseline"]["parameters"] == by_arm["blocks=variant_2"]["parameters"] == 673_681_568
    in_paper = {name: row["macs"]["paper_convention"] / 1e9 for name, row in by_arm.items()}
    assert in_paper["baseline"] == pytest.approx(5572.695, abs=5e-4)
    assert in_paper["blocks=variant_2"] == pytest.approx(5572.695, abs=5e-4)
    assert in_paper["blocks=variant_3"] == pytest.approx(6153.1526, abs=5e-4)
    assert in_paper["variant_4_patch_4"] == pytest.approx(1545.1574, abs=5e-4)


def test_variants_are_claimed_to_fall_behind_the_first() -> None:
    claims = {claim.arms for claim in plan_of("variants").claims}
    others = ("blocks=variant_2", "blocks=variant_3", "blocks=variant_4", "variant_4_patch_4")
    assert claims == {("baseline", other) for other in others}


def test_what_the_paper_calls_alike_or_growing_is_claimed_as_such() -> None:
    (position,) = plan_of("temporal_position").claims
    assert (position.kind, position.labels, str(position.margin)) == ("equivalence", ("absolute", "rotary"), "5%")
    intervals = plan_of("interval").claims
    assert {(claim.kind, str(claim.margin)) for claim in intervals} == {("equivalence", "5%")}
    assert len(intervals) == 6  # every pair of four
    (size,) = plan_of("model_size").claims
    assert (size.kind, size.labels, size.arms[-1]) == ("trend", ("S", "B", "L", "XL"), "baseline")


def test_model_sizes_have_the_parameters_of_the_papers_table() -> None:
    found = {row["axes"]["size"]: row["parameters"] for row in rows(plan_of("model_size"))}
    assert found == {"S": 32_480_672, "B": 129_547_040, "L": 456_815_648, "XL": 673_681_568}


def test_matched_variants_spend_the_arithmetic_of_the_baseline() -> None:
    baseline, *others = rows(plan_of("variants_matched"))
    assert {row["axes"]["blocks"] for row in others} == {"variant_2", "variant_3", "variant_4", "full_attention"}
    for row in others:
        assert row["macs"]["evaluated"] == pytest.approx(baseline["macs"]["evaluated"], rel=0.03), row["arm"]


def test_variants_can_be_matched_on_parameters_from_the_command_line() -> None:
    baseline, *others = rows(plan_of("variants_matched", "match.macs=null", "match.parameters=2%"))
    for row in others:
        assert row["parameters"] == pytest.approx(baseline["parameters"], rel=0.02), row["arm"]


def test_joint_training_has_eight_stills_behind_each_of_four_clips_a_gpu() -> None:
    baseline, joint = plan_of("joint_images").arms
    assert [arm.spec.learning.joint_images for arm in (baseline, joint)] == [0, 8]
    assert joint.spec.learning.batch_size == 4 * joint.spec.runtime.accumulation


BEYOND = sorted((FOLDER / "beyond").glob("*.yaml"))


@pytest.mark.parametrize("path", BEYOND, ids=lambda path: path.stem)
def test_a_file_beyond_the_paper_varies_one_slot_from_the_papers_setting(path: Path) -> None:
    plan, head = load_plan(path), head_of(path)
    assert set(head) == {"Command", "Data", "Cost", "Paper", "Reading"}
    assert head["Command"] == f"python run.py launch experiments/latte/beyond/{path.name} data.path=PATH"
    hours = float(head["Cost"].split(" GPU-hours")[0].replace(",", ""))
    assert hours == pytest.approx(sum(row["gpu_hours"] for row in rows(plan)), rel=0.01)
    assert plan.name == "latte-beyond-" + path.stem.replace("_", "-")
    assert "not in the paper" in head["Reading"]
    paper = plan_of("faceforensics").arms[0].spec
    assert plan.arms[0].spec.identity == paper.identity  # the slot is off in the paper's presets
    assert [list(arm.axes) for arm in plan.arms] == [[path.stem]] * 2
    assert {claim.metric for claim in plan.claims} == {"fvd"}


def test_arms_that_train_at_other_intervals_are_scored_against_the_same_clips() -> None:
    arms = plan_of("interval").arms
    assert len({arm.spec.data.interval for arm in arms}) == len(arms) > 1
    assert {arm.spec.scoring.real_interval for arm in arms} == {3}


@pytest.mark.parametrize("name", sorted(ABLATIONS))
def test_arms_of_an_ablation_share_everything_else(name: str) -> None:
    """The first arm is the paper's setting; others differ in their axis and what follows from it alone."""
    baseline, *others = plan_of(name).arms
    for arm in others:
        varied = {name: getattr(baseline.spec.learning, name)} if name in ("joint_images", "initialisation") else {}
        assert arm.spec.learning.model_copy(update=varied) == baseline.spec.learning
        assert arm.spec.diffusion == baseline.spec.diffusion
        assert (arm.spec.sampling, arm.spec.scoring) == (baseline.spec.sampling, baseline.spec.scoring)
        assert name == "interval" or arm.spec.data == baseline.spec.data
        assert name != "interval" or arm.spec.model == baseline.spec.model


@pytest.mark.parametrize("name", sorted(MAIN_TABLE))
def test_no_file_departs_from_how_the_official_code_reads_its_data_set(name: str) -> None:
    assert warnings(plan_of(name)) == []


def test_only_the_interval_departs_where_it_is_varied() -> None:
    told = warnings(plan_of("interval"))
    assert len(told) == 3
    assert all("not how the official code reads face_forensics: data.interval" in line for line in told)
    assert all(line.endswith(" for 3") for line in told)


def test_each_data_set_has_what_the_official_code_does_with_it() -> None:
    specs = {name: plan_of(name).arms[0].spec for name in MAIN_TABLE}
    assert {name: spec.learning.clip_from for name, spec in specs.items()} == {
        "faceforensics": 20_000,
        "sky_timelapse": 20_000,
        "ucf101": 100_000,
        "taichi_hd": 500_000,
    }
    assert {name for name, spec in specs.items() if spec.data.flip == 0} == {"sky_timelapse"}
    assert {name for name, spec in specs.items() if spec.data.picking == "stride"} == {"sky_timelapse", "taichi_hd"}
    assert {name for name, spec in specs.items() if spec.scoring.real_interval == 6} == {"taichi_hd"}
    assert {name for name, spec in specs.items() if spec.data.shortest_video == 49} == {"sky_timelapse"}
    conditional = {name: spec for name, spec in specs.items() if spec.model.classes}
    assert [(s.model.classes, s.sampling.guidance, s.learning.label_drop) for s in conditional.values()] == [
        (101, 7.0, 0.1)
    ]


def test_the_start_from_images_fits_the_public_weights_and_must_be_there_to_be_launched(tmp_path: Path) -> None:
    """The same entries as DiT-XL/2's flat file, as shapes without numbers."""
    shapes = ("model.blocks=full_attention", "model.temporal_position=none", "data.frames=1", "scoring.metrics=[]")
    image = plan_of("initialisation", *shapes, "evaluate_at=null", "claim=[]", "arms={}").arms[0].spec
    entries = to_official(Assembly(image).model("meta").state_dict())
    entries["y_embedder.embedding_table.weight"] = torch.empty(1001, 1152, device="meta")
    torch.save(entries, tmp_path / "DiT-XL-2-256x256.pt")
    place = f"learning.initialisation.path={tmp_path / 'DiT-XL-2-256x256.pt'}"
    check(plan_of("initialisation", place))
    with pytest.raises(SpecError, match=r"\(16, 4, 2, 2\)|\(1152, 4, 2, 2\), the network has \(1152, 4, 4, 4\)"):
        check(plan_of("initialisation", place, "model.patch=4"))
    with pytest.raises(SpecError, match=r"initialisation.path: give the file"):
        check(plan_of("initialisation", f"data.path={tmp_path}"), with_data=True)
    with pytest.raises(SpecError, match=r"DiT-XL-2-256x256.pt"):
        plan_of("initialisation", place.replace("XL-2", "XL-3"))
