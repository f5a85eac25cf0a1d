"""A report belongs to a resolved experiment: what another one wrote stays, and `report` leads to the file's own."""

import csv
import io
import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.report import writing
from experiments.launch import preparing, report
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.plan.resolved_experiment import digest
from experiments.tracking import mlflow_sync
from registry.errors import RunError
from registry.runs.replicate import Replicate
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY, nothing, write

FILES = {"report.html", "experiment.json", "table.md", "table.csv", "verdict.txt", "verdict.json", "figures"}


def scores(replicate: Replicate) -> dict[str, float]:
    worse = 5.0 + 0.1 * replicate.seed if "variant_4" in replicate.arm else 0.0
    return {"fvd[moving_shapes_r3d]": 30.0 + replicate.seed + worse}


@pytest.fixture(autouse=True)
def _untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_sync, "try_sync", lambda *words: "")


def plan_of(folder: Path, *overrides: str, text: str = TOY, only: tuple[str, ...] = ()) -> Plan:
    return load_plan(write(folder, text), overrides, folder / "runs", only)


def content(folder: Path) -> dict[str, bytes]:
    """What the files of a report say."""
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*") if path.is_file()}


def test_a_report_has_all_its_files_and_says_what_it_is_of(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    finish(plan, scores, losses=3)
    written = report.report(plan)
    place = plan.folder / "report"
    assert {path.name for path in place.glob("[!.]*")} == FILES
    assert (place / "figures" / "curve-loss.png").stat().st_size > 1000
    assert place.resolve() == written.folder.resolve()
    assert all(path.is_file() and path.is_relative_to(place) for path in written.written)
    about = json.loads((place / "experiment.json").read_text())
    assert about["digest"] == written.folder.name
    assert (about["experiment"], about["file"], about["overrides"]) == ("toy", str(plan.file.path), [])
    assert {name: arm["identity"] for name, arm in about["arms"].items()} == {
        arm.name: arm.identity for arm in plan.arms
    }
    assert all(arm["parameters"] > 0 and arm["macs"]["evaluated"] > 0 for arm in about["arms"].values())
    assert about["seeds"] == [0, 1]
    assert [claim["claim"] for claim in about["claims"]] == [
        "blocks: variant_1 better than variant_4 in fvd[moving_shapes_r3d]"
    ]
    assert (written.notes, len(written.answers)) == ([], 1)


def test_overrides_that_change_the_experiment_leave_the_report_of_the_file_alone(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    finish(plan, scores)
    report.report(plan)
    before = content(plan.folder / "report")
    other = report.report(plan_of(tmp_path, "learning.steps=7"))
    assert content(plan.folder / "report") == before
    assert "0/2" in (other.folder / "table.md").read_text()
    assert json.loads((other.folder / "experiment.json").read_text())["overrides"] == ["learning.steps=7"]
    assert "2/2" in (plan.folder / "report" / "table.md").read_text()
    assert all(path.is_relative_to(other.folder) for path in other.written)
    fewer = report.report(plan_of(tmp_path, "seeds=[0]"))
    assert fewer.folder not in (other.folder, report.report(plan).folder)


def test_overrides_that_change_no_arm_no_seed_and_no_claim_report_the_same_experiment(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    finish(plan, scores)
    first = report.report(plan)
    again = report.report(plan_of(tmp_path, "runtime.log_every=1"))
    assert again.folder == first.folder
    assert again.written[0].is_relative_to(plan.folder / "report")
    named = report.report(plan_of(tmp_path, "name=mine", "learning.steps=7"))  # of no file: its report is its own
    assert named.folder.parent.parent == tmp_path / "runs" / "mine"
    assert (tmp_path / "runs" / "mine" / "report").resolve() == named.folder.resolve()


def test_an_edited_file_has_another_report_and_the_earlier_one_stays(tmp_path: Path) -> None:
    first = report.report(plan_of(tmp_path))
    before = content(first.folder)
    edited = report.report(plan_of(tmp_path, text=TOY.replace("seeds: [0, 1]", "seeds: [0, 1, 2]")))
    link = tmp_path / "runs" / "toy" / "report"
    assert link.resolve() == edited.folder.resolve() != first.folder.resolve()
    assert content(first.folder) == before
    report.report(plan_of(tmp_path))
    assert link.resolve() == first.folder.resolve()


def test_what_an_earlier_version_wrote_is_kept(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    earlier = plan.folder / "report"
    earlier.mkdir(parents=True)
    (earlier / "verdict.txt").write_text("of long ago")
    report.report(plan)
    assert earlier.is_symlink()
    assert (plan.folder / "reports" / "earlier" / "verdict.txt").read_text() == "of long ago"


def test_a_file_system_without_links_has_the_report_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: object, **more: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    written = report.report(plan_of(tmp_path))
    assert all(path.is_relative_to(written.folder) for path in written.written)
    assert (written.folder / "verdict.txt").is_file()
    assert not (tmp_path / "runs" / "toy" / "report").exists()


def test_only_limits_what_is_started_and_not_what_is_reported(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, only=("baseline",))
    written = report.report(plan)
    assert len(written.answers) == 1
    assert json.loads((plan.folder / "report" / "verdict.json").read_text())["claims"]


def test_the_report_of_a_file_with_overrides_worked_in_is_told_so(tmp_path: Path) -> None:
    """As the job of a launch on Slurm is: its file has no overrides any more."""
    plan = plan_of(tmp_path)
    finish(plan, scores)
    report.report(plan)
    before = content(plan.folder / "report")
    frozen = plan_of(tmp_path, text=TOY.replace("steps: 6", "steps: 7"))
    folder = report.report(frozen, overridden=True).folder
    assert folder.name == digest(plan_of(tmp_path, "learning.steps=7"))
    assert content(plan.folder / "report") == before


def test_what_could_not_be_done_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object) -> bool:
        raise RunError("no weights here")

    monkeypatch.setattr(mlflow_sync, "try_sync", lambda *words: "the store is locked")
    monkeypatch.setattr(preparing, "late_floor", refuse)
    floor, tracked = report.report(plan_of(tmp_path), nothing).notes
    assert tracked == "not tracked yet: the store is locked; `sync` does it later, nothing is lost"
    assert floor == "the floor of resampling was not measured: no weights here"


LAST = ["written", "floor", "written"]


@pytest.mark.parametrize(("about", "wanted", "order"), [
    ({}, "cpu", ["floor", "written"]),  # which takes as long as its replicate took
    ({"seconds_of": {"sampling": 90.0, "scoring": 1.0}}, "cpu", LAST),
    ({"device": "cuda:0"}, "cpu", LAST),  # from here on nobody knows
    ({"device": "cuda:0"}, "cuda", LAST),
    ({"attempts": 2}, "cpu", LAST),
    ({"processes": 8}, "cpu", LAST),
])  # fmt: skip
def test_a_floor_that_takes_long_holds_up_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, about: dict[str, Any], wanted: str, order: list[str]
) -> None:
    done, write_it = list[str](), writing.write
    plan = plan_of(tmp_path, f"runtime.device={wanted}")
    as_it_is = {"device": "cpu", "attempts": 1, "processes": 1, "seconds_of": {"sampling": 5.0, "scoring": 1.0}}
    finish(plan, scores, **as_it_is | about)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(preparing, "late_floor", lambda *words: done.append("floor") or True)
    monkeypatch.setattr(writing, "write", lambda *words: done.append("written") or write_it(*words))
    report.report(plan)
    assert done == order


def test_scores_that_cannot_be_compared_are_left_out_and_the_report_is_there(tmp_path: Path) -> None:
    text = TOY.replace("model.blocks: [variant_1, variant_4]", "data.frames: [4, 8]").split("claim:")[0]
    plan = plan_of(tmp_path, text=text)
    finish(
        plan,
        lambda own: {"fvd[moving_shapes_r3d]": 30.0 + own.seed, "validation_loss": 0.5 + 0.1 * own.seed},
        losses=3,
        protocol_of=lambda own: "0123456789" if own.arm == "baseline" else "9876543210",
    )
    written = report.report(plan)
    assert {path.name for path in (plan.folder / "report").glob("[!.]*")} == FILES
    why = "fvd[moving_shapes_r3d] of different protocols cannot be compared: 0123456789 (arm baseline); 9876543210"
    page, table = (unescape((written.folder / name).read_text()) for name in ("report.html", "table.md"))
    for text in (page, table):
        assert why in text
        assert "validation_loss: frames=8 differs from baseline in data.frames" in text
    assert "Loss during training" in page
    assert '<h2 id="cost">' in page
    rows = list(csv.DictReader(io.StringIO((written.folder / "table.csv").read_text())))
    assert [(row["arm"], row["done"], row["validation_loss"]) for row in rows] == [
        ("baseline", "2", "0.55"), ("frames=8", "2", "0.55")
    ]  # fmt: skip
    assert not any(name.startswith("fvd") for name in rows[0])


def test_mlflow_is_filled_even_if_no_report_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[object] = []

    def refuse(*words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mlflow_sync, "try_sync", lambda *words: synced.append(words[0]) or "")
    monkeypatch.setattr(writing, "write", refuse)
    with pytest.raises(OSError, match="No space left"):
        report.report(plan_of(tmp_path))
    assert synced == ["toy"]


def test_figures_for_a_paper_have_their_fonts_and_no_date_and_are_drawn_anew_with_the_report(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    finish(plan, scores, losses=3)
    figures = report.report(plan, forms=("pdf", "svg")).folder / "figures"
    names = {path.stem for path in figures.glob("*.png")}
    assert {"effects", "fvd-moving_shapes_r3d", "curve-loss"} <= names
    drawn = {form: {path.stem: path.read_bytes() for path in figures.glob(f"*.{form}")} for form in ("pdf", "svg")}
    assert drawn["pdf"].keys() == drawn["svg"].keys() == names
    for name in names:
        assert b"/FontFile2" in drawn["pdf"][name], name  # the outlines of a TrueType font, type 42
        assert b"/Type3" not in drawn["pdf"][name]
        assert b"<text" not in drawn["svg"][name], name  # letters are outlines: no font is asked for
    for path in figures.glob("*.pdf"):
        path.write_bytes(b"of long ago")
    report.report(plan)
    assert {path.stem: path.read_bytes() for path in figures.glob("*.pdf")} == drawn["pdf"]
