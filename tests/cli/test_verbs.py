"""Every verb on one toy experiment that was launched once: exit codes, JSON, and what is written where."""

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import pytest

from registry.parts.catalogue import catalogue
from tests.cli.command import ROOT, STARTED, Launched, contents, run
from tests.fixtures.toy_replicates import write

VERBS = [
    "parts",
    "keys",
    "check",
    "plan",
    "prepare",
    "launch",
    "retry",
    "search",
    "status",
    "logs",
    "sync",
    "dashboard",
    "table",
    "verdict",
    "compare",
    "show",
    "diff",
    "sample",
    "score",
    "protocol",
    "fetch-weights",
    "checkpoint",
    "sample-text",
    "doctor",
]
READING = ["check", "plan", "status", "logs", "table", "verdict", "show", "diff"]


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_needs_no_torch(verb: str) -> None:
    told = run(*verb.split(), "--help", python=("-X", "importtime"))
    assert told.code == 0
    assert told.out.startswith("Usage: ")
    imported = {line.split("|")[-1].strip().split(".")[0] for line in told.err.splitlines()}
    assert "click" in imported
    assert not imported & {"torch", "pandas", "mlflow", "matplotlib", "diffusers", "pydantic"}


# Packages that take long to import, and the verbs that need one.
HEAVY = {"torch", "torch._dynamo", "sympy", "scipy", "pandas", "matplotlib", "mlflow", "optuna", "sklearn", "timm"}
HEAVY |= {"torchvision", "transformers", "diffusers"}
IMPORTED = {"check": {"torch"}, "plan": {"torch"}, "table": {"pandas", "scipy"}, "verdict": {"pandas", "scipy"}}


@pytest.mark.parametrize("verb", READING)
def test_a_verb_that_reads_imports_no_more_than_it_needs(launched: Launched, verb: str) -> None:
    """Python is started anew for each; the networks were counted when they were launched."""
    told = launched.verbs(verb, python=("-X", "importtime"))
    imported = {line.split("|")[-1].strip() for line in told.err.splitlines() if line.startswith("import time:")}
    assert "registry.experiment.experiment_file" in imported
    assert told.code == 0, told.err
    assert imported & HEAVY <= IMPORTED.get(verb, set())


def test_every_verb_is_in_the_help() -> None:
    told = run("--help")
    listed = [line.split()[0] for line in told.out.split("Commands:")[1].splitlines() if line.strip()]
    assert [name for name in listed if name in VERBS] == VERBS
    assert run("--version").out.startswith("latte-workbench, version ")
    assert run("lanch").code == 2


def test_parts() -> None:
    told = run("parts", "--format", "json")
    assert told.code == 0
    rows = told.json
    assert len(rows) == len(catalogue().parts())
    for row in rows:
        assert list(row) == ["slot", "name", "summary", "source", "official_code", "parameters"]
        assert isinstance(row["official_code"], bool)
        assert row["source"]
        assert row["summary"]
        assert all(set(about) == {"type", "default"} for about in row["parameters"].values())
    ddim = next(row for row in rows if (row["slot"], row["name"]) == ("sampler", "ddim"))
    assert ddim["parameters"]["eta"] == {"type": "float (>= 0, <= 1)", "default": 0.0}
    only = run("parts", "--slot", "blocks", "--format", "json").json
    assert {row["slot"] for row in only} == {"blocks"}
    table = run("parts", "--slot", "blocks")
    assert "variant_4" in table.out
    assert f"next: {STARTED} check experiments/quickstart.yaml" in table.out


def test_parts_of_a_slot_that_is_none() -> None:
    told = run("parts", "--slot", "block")
    assert (told.code, told.out) == (2, "")
    assert told.err == "no slot 'block'; did you mean 'blocks'?\n"


def test_check(launched: Launched) -> None:
    told = launched.verbs("check")
    assert told.code == 0, told.err
    assert "baseline: " in told.out
    assert "blocks=variant_4: " in told.out
    assert f"next: {STARTED} plan {launched.file}" in told.out
    rows = launched.verbs("check", "--format", "json").json["arms"]
    assert [row["arm"] for row in rows] == ["baseline", "blocks=variant_4"]
    assert all(isinstance(row["parameters"], int) for row in rows)
    assert [row["identity"] for row in rows] == [arm["identity"] for arm in launched.before["arms"]]


ARM_KEYS = ["experiment", "arm", "identity", "training", "evaluation", "axes", "depth", "parameters", "macs", "seeds"]
ARM_KEYS += ["possible_seeds"]
ARM_KEYS += ["tuned", "evaluate_at", "state", "gpu_hours", "gpu_hours_of_training", "gpu_hours_left", "gpu_hours_from"]
ARM_KEYS += ["videos", "other_code", "task", "step_memory"]
VIDEOS = {"frames": 4, "long_enough": {"test": 4, "train": 12}, "of": {"test": 4, "train": 12}}


def test_plan(launched: Launched) -> None:
    for told, state in ((launched.before, "missing"), (launched.verbs("plan", "--format", "json").json, "done")):
        assert list(told) == ["experiment", "arms", "trainings", "gpu_hours"]
        assert told["experiment"] == "toy"
        assert [arm["arm"] for arm in told["arms"]] == ["baseline", "blocks=variant_4"]
        for arm in told["arms"]:
            assert list(arm) == ARM_KEYS
            assert set(arm["macs"]) == {"paper_convention", "per_clip", "evaluated", "trained"}
            assert all(isinstance(macs, int) for macs in arm["macs"].values())
            assert (arm["depth"], arm["seeds"], arm["state"]) == (2, [0, 1], state)
            assert (arm["experiment"], arm["evaluate_at"]) == ("toy", [6])
            assert arm["gpu_hours"] >= 0
            assert arm["other_code"] == {}
            assert arm["videos"] == (VIDEOS if state == "done" else None)  # known once they are prepared
        assert told["arms"][1]["axes"] == {"blocks": "variant_4"}
    table = launched.verbs("plan", "--only", "base*")
    assert "variant_4 in fvd" in table.out
    assert "4 of 4 (test), 12 of 12 (train) have the 4 frames that a clip needs" in table.out
    shared = launched.verbs("plan", "ablate={data.interval: [1, 2]}", "claim=[]", "scoring.real_interval=1")
    assert "12 of 12 (train) have the 7 frames that the longest clip of any arm needs" in shared.out
    assert shared.out.count("(train) have the") == 1, "told once for all arms"
    assert "baseline" in table.out


def test_the_papers_whole_programme_has_one_total() -> None:
    files = sorted((ROOT / "experiments" / "latte").glob("*.yaml"))
    told = run("plan", *files, "--programme", "--format", "json")
    assert told.code == 0, told.err
    hours = {row["way"]: row["gpu_hours"] for row in told.json["programme"]}
    assert hours["ours, each arm alone"] == pytest.approx(told.json["gpu_hours"]["alone"], rel=1e-6)
    assert hours["ours, trainings shared"] == pytest.approx(told.json["gpu_hours"]["shared"], rel=1e-6)
    assert told.err.startswith(f"{files[0]}: is passed over: ")  # the base of the others
    assert len({arm["experiment"] for arm in told.json["arms"]}) == len(files) - 1
    total = told.json["gpu_hours"]
    baseline = max(told.json["trainings"], key=lambda training: len(training["experiments"]))
    assert len(baseline["experiments"]) == 8
    assert baseline["seeds"] == [0, 1, 2]
    alone = sum(arm["gpu_hours"] for arm in told.json["arms"])
    assert total["alone"] == pytest.approx(alone)
    trained = sum(training["gpu_hours"] for training in told.json["trainings"])
    assert trained < total["shared"] < 0.8 * total["alone"]


def test_plan_of_the_paper_has_its_figures() -> None:
    told = run("plan", "experiments/latte/variants.yaml", "--format", "json").json
    arms = {arm["arm"]: arm for arm in told["arms"]}
    assert arms["baseline"]["parameters"] == 673_681_568
    figures = {name: int(arm["macs"]["paper_convention"] / 1e6) / 1e3 for name, arm in arms.items()}
    assert figures["baseline"] == 5572.695
    assert int(figures["blocks=variant_3"] * 100) / 100 == 6153.15
    assert 1545.157 in figures.values()
    assert arms["baseline"]["depth"] == 28
    assert arms["blocks=variant_3"]["depth"] == 23


def test_launch(launched: Launched) -> None:
    told = launched.told
    assert told.code == 0, told.err
    assert "verdict" in told.out
    assert f"wrote {launched.runs / 'toy'}" in told.out
    assert f"next: {STARTED} " in told.out
    results = sorted((launched.runs / "toy").glob("*/seed-*/result.json"))
    assert len(results) == 4
    assert (launched.runs / "mlflow.db").exists()


def written(launched: Launched) -> dict[Path, int]:
    """The files of trainings and of evaluations, with the times of their last changes."""
    places = [launched.runs / "_trainings", launched.runs / "toy"]
    patterns = ("*/seed-*/*.json*", "*/seed-*/evaluations/*/*.json*")
    files = {path: path.stat().st_mtime_ns for place in places for pattern in patterns for path in place.glob(pattern)}
    assert {path.name for path in files} >= {"result.json", "events.jsonl", "trained.json"}
    return files


def test_launch_again_runs_nothing(launched: Launched) -> None:
    before = written(launched)
    told = launched.verbs("launch")
    assert told.code == 0, told.err
    assert written(launched) == before


def test_status(launched: Launched) -> None:
    told = launched.verbs("status", "--format", "json")
    assert told.code == 0
    assert set(told.json) == {"experiment", "replicates", "mixed_code"}
    assert told.json["mixed_code"] == []
    rows = told.json["replicates"]
    assert [(row["arm"], row["seed"], row["state"], row["step"]) for row in rows] == [
        (arm, seed, "done", 6) for arm in ("baseline", "blocks=variant_4") for seed in (0, 1)
    ]
    assert all("fvd[moving_shapes_r3d]" in row["scores"] for row in rows)
    assert "done" in launched.verbs("status").out


def test_logs(launched: Launched) -> None:
    told = launched.verbs("logs", "--seed", "1", "--lines", "3")
    assert told.code == 0
    assert told.out.count("seed 1 (done)") == 2
    assert "seed 0" not in told.out
    told = launched.verbs("logs", "--seed", "1", "--lines", "3", "--format", "json")
    rows = told.json["replicates"]
    assert [(row["arm"], row["seed"], row["state"]) for row in rows] == [
        ("baseline", 1, "done"),
        ("blocks=variant_4", 1, "done"),
    ]
    assert all(row["traceback"] is None for row in rows)
    assert launched.verbs("logs", "--follow", "--format", "json").code == 2


def test_sync(launched: Launched) -> None:
    told = launched.verbs("sync")
    assert told.code == 0, told.err
    assert "4 runs, 0 metric points added" in told.out  # launch has filled it already
    assert f"next: {STARTED} dashboard {launched.file} --runs {launched.runs}" in told.out
    assert "http://localhost:5000/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=CHART" in told.out
    told = launched.verbs("sync", "--format", "json")
    assert told.code == 0, told.err
    found = told.json
    assert found.pop("tracking_uri").startswith("sqlite:///")
    assert found.pop("address").startswith("http://localhost:5000/#/experiments/1/runs?workflowType=machine_learning")
    assert found == {"experiment": "toy", "runs": 4, "points": 0}


@pytest.mark.parametrize("form", ["table", "json", "md", "tex", "csv"])
def test_table(launched: Launched, form: str) -> None:
    told = launched.verbs("table", "--format", form)
    assert told.code == 0, told.err
    assert "fvd[moving" in told.out.replace("\\", "")
    if form == "json":
        assert [arm["arm"] for arm in told.json["arms"]] == ["baseline", "blocks=variant_4"]


def test_table_of_a_score_that_is_none(launched: Launched) -> None:
    told = launched.verbs("table", "--metric", "fdv[moving_shapes_r3d]")
    assert told.code == 2
    assert "did you mean 'fvd[moving_shapes_r3d]'" in told.err
    assert len(told.err.splitlines()) == 1


def test_verdict(launched: Launched) -> None:
    told = launched.verbs("verdict", "--format", "json")
    assert told.code == 0, told.err
    assert list(told.json) == ["experiment", "claims"]
    (claim,) = told.json["claims"]
    assert list(claim)[:9] == ["axis", "better", "worse", "metric", "verdict", "effect", "interval", "n", "p"]
    assert (claim["axis"], claim["better"], claim["worse"]) == ("blocks", "variant_1", "variant_4")
    assert claim["metric"] == "fvd[moving_shapes_r3d]"
    assert claim["n"] == 2
    assert len(claim["interval"]) == 2
    assert 0 <= claim["p"] <= 1
    scores: dict[tuple[str, int], Any] = {
        (row["arm"], row["seed"]): row["scores"]["fvd[moving_shapes_r3d]"]
        for row in launched.verbs("status", "--format", "json").json["replicates"]
    }
    differences = [scores["blocks=variant_4", seed] - scores["baseline", seed] for seed in (0, 1)]
    assert claim["effect"] == pytest.approx(sum(differences) / 2)


def test_overrides_of_the_experiment_level(launched: Launched) -> None:
    told = launched.verbs("verdict", "--format", "json", "seeds=[0,1,2]", "claim.metric=validation_loss")
    (claim,) = told.json["claims"]
    assert claim["metric"] == "validation_loss"
    assert claim["verdict"] == "undecided"  # a planned seed is missing
    arms = launched.verbs("plan", "--format", "json", "seeds=[5]", "ablate={model.depth: [2, 4]}", "claim=[]").json[
        "arms"
    ]
    assert arms[0]["seeds"] == [5]
    assert [arm["arm"] for arm in arms] == ["baseline", "depth=4"]


def test_report_of_an_overridden_experiment_leaves_that_of_the_file(launched: Launched) -> None:
    report = launched.runs / "toy" / "report"
    before = {path.name: path.read_bytes() for path in report.iterdir() if path.is_file()}
    assert "2/2" in before["table.md"].decode()
    told = launched.verbs("report", "learning.steps=7")
    assert told.code == 0, told.err
    assert {path.name: path.read_bytes() for path in report.iterdir() if path.is_file()} == before
    (other,) = (path for path in (report.parent / "reports").iterdir() if path.resolve() != report.resolve())
    assert f"wrote {other / 'table.md'}" in told.out
    assert "0/2" in (other / "table.md").read_text()
    assert json.loads((other / "experiment.json").read_text())["overrides"] == ["learning.steps=7"]


def test_diff(launched: Launched) -> None:
    told = launched.verbs("diff")
    assert told.code == 0
    line = next(line for line in told.out.splitlines() if "model.blocks.name" in line)
    assert line.split() == ["model.blocks.name", "variant_1", "variant_4"]
    assert "learning" not in told.out
    told = launched.verbs("diff", "--format", "json", "ablate={learning.learning_rate: [0.5]}", "claim=[]")
    assert told.json == {
        "experiment": "toy",
        "baseline": "baseline",
        "arms": [
            {
                "arm": "learning_rate=0.5",
                "differences": [{"key": "learning.learning_rate", "baseline": 0.001, "arm": 0.5}],
            }
        ],
    }


def test_doctor(tmp_path: Path) -> None:
    told = run("doctor", "--runs", tmp_path / "runs")
    assert told.code == 0, told.err
    assert "torch" in told.out
    rows = {row["what"]: row for row in run("doctor", "--runs", tmp_path / "runs", "--format", "json").json}
    assert rows["Python"]["values"] == {"version": platform.python_version()}
    assert rows["CPU"]["values"]["cores"] >= 1
    assert rows["disk"]["values"]["free_bytes"] > 0
    assert rows["torch"]["good"] is True
    assert not (tmp_path / "runs").exists()


def test_fetch_weights_lists_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "latte-workbench").mkdir()
    (tmp_path / "latte-workbench" / "c3d_ucf101.pt").write_bytes(b"12345")
    told = run("fetch-weights", "--format", "json", XDG_CACHE_HOME=str(tmp_path))
    assert told.code == 0, told.err
    rows = {row["what"]: (row["good"], row["values"]) for row in told.json}
    assert rows["c3d"] == (True, {"path": str(tmp_path / "latte-workbench" / "c3d_ucf101.pt"), "bytes": 5})
    assert rows["i3d"] == (None, {"path": None, "bytes": 51_235_320})
    told = run("fetch-weights", "c3d", "--format", "json", XDG_CACHE_HOME=str(tmp_path))
    assert told.code == 0, told.err
    assert (told.json["bytes"], told.json["checked"]) == (5, False)
    assert told.json["sha256"] == hashlib.sha256(b"12345").hexdigest()


@pytest.mark.parametrize("verb", READING)
def test_reading_verbs_write_nothing(launched: Launched, verb: str) -> None:
    before = contents(launched.folder)
    assert launched.verbs(verb).code == 0
    assert contents(launched.folder) == before


@pytest.mark.parametrize("verb", ["check", "status", "table", "verdict"])
def test_reading_before_anything_was_launched_writes_nothing(tmp_path: Path, verb: str) -> None:
    path = write(tmp_path)
    told = run(verb, path, "--runs", tmp_path / "runs")
    assert told.code == 0, told.err
    assert contents(tmp_path).keys() == {"toy.yaml"}


def test_prepare_writes_data_and_floors_alone_and_says_where(tmp_path: Path) -> None:
    told = run("prepare", write(tmp_path), "--runs", tmp_path / "runs")
    assert told.code == 0, told.err
    (folder,) = (tmp_path / "runs" / "_data").glob("moving_shapes-*")
    assert (tmp_path / "runs" / "_data" / "references").is_dir()
    assert str(folder) in told.out
    assert "16 videos, 2 classes" in told.out
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["_data", "toy"]
    names = sorted(path.name for path in (tmp_path / "runs" / "toy").glob("[!.]*"))
    assert names == ["floors.json", "floors_measured.json"]


def test_floors_say_of_how_many_videos_their_clips_are(tmp_path: Path) -> None:
    """With two clips a video, 12 videos give halves of 4 and 8: one clip a video for the samples, else two."""
    words = ("scoring.clips_per_video=2", "scoring.real_clips=24", "--only", "baseline", "--runs", tmp_path / "runs")
    told = run("prepare", write(tmp_path), *words)
    assert told.code == 0, told.err
    assert "12 of 12 (train) have the 4 frames that a clip needs" in told.out
    floors = json.loads((tmp_path / "runs" / "toy" / "floors.json").read_text())["floors"]
    assert {floor["floor"] for floor in floors} == {"real_halves", "reconstruction"}
    for floor in floors:
        assert (floor["n_fake"], floor["n_real"], floor["videos"]) == (6, 24, [6, 12])
        assert (floor["measured_at"], floor["measured_videos"]) == ([4, 16], [4, 8])


def test_orphans_are_named_in_the_status(launched: Launched) -> None:
    told = launched.verbs("status", "learning.learning_rate=2e-3")
    assert told.code == 0
    assert told.out.count("orphaned (kept, not counted, never cancelled)") == 2
    assert " ".join(told.out.split()).count("learning.learning_rate: 0.001 then, 0.002 now") == 2


def test_a_result_is_plain_json(launched: Launched) -> None:
    for path in (launched.runs / "toy").glob("*/seed-*/result.json"):
        result = json.loads(path.read_text())
        assert (path.parent / "desired" / "toy.json").exists()
        assert result["scores"]["fvd[moving_shapes_r3d]"] > 0
        assert "fvd" not in result["scores"]
