"""Files, parents, descriptions and reports in MLflow: each sent once, and again only when it changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.results import mlflow_names
from analysis.results.mlflow_manifest import read_manifest
from experiments.record.recording import Recorder
from experiments.tracking import artifacts, mlflow_sync, overview, store
from registry.runs.files import write_atomically
from registry.runs.replicate import Replicate
from registry.runs.resolved_experiment import ResolvedArm, ResolvedExperiment, place_of, write_resolved
from tests.fixtures.toy_replicates import result_of
from tests.fixtures.tracked import Killed, fragile, replicates, stored

DETAILS = {
    "fvd[x]": {
        "n_fake": 16, "n_real": 40, "interval": [1.5, 2.5],
        "curve": [{"share": 0.5, "n_fake": 8, "n_real": 20, "value": 2.2, "sd": 0.1},
                  {"share": 1.0, "n_fake": 16, "n_real": 40, "value": 2.0, "sd": None}],
    }
}  # fmt: skip


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return "".join(c if c.isalnum() else "-" for c in request.node.name)


def done(replicate: Replicate) -> None:
    """Give a replicate what a run leaves behind: previews, provenance, a log, and a result."""
    (replicate.folder / "previews").mkdir()
    for file in ("grid.mp4", "contact_sheet.png", *(f"clip-{number:03}.mp4" for number in range(6))):
        (replicate.folder / "previews" / file).write_bytes(file.encode())
    (replicate.training / "provenance.json").write_text("{}")
    (replicate.training / "log.txt").write_text("begun\ndone\n")
    scores = {"fvd[x]": 2.0}
    result = result_of(
        replicate, scores=scores, protocols={"fvd[x]": "p"}, score_details=DETAILS, parameters=741420, seconds=12.0,
        seconds_of={"training": 8.0, "sampling": 4.0},
    )  # fmt: skip
    Recorder(replicate.folder).result(result)


def files_of(uri: str, run: Any, folder: str | None = None) -> set[str]:
    found = mlflow_sync._client(uri).list_artifacts(run.info.run_id, folder)
    return {path for one in found for path in (files_of(uri, run, one.path) if one.is_dir else {one.path})}


def test_a_run_has_its_files_each_sent_once(
    uri: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (replicate,) = replicates(tmp_path, name, seeds=1)
    done(replicate)
    monkeypatch.chdir(tmp_path)  # the place of the files does not depend on the folder that one stands in
    mlflow_sync.sync(name, [replicate], uri)
    monkeypatch.chdir("/")
    (run,) = stored(uri, name).values()
    samples = {f"samples/{file}" for file in ("grid.mp4", "contact_sheet.png", *(f"clip-00{n}.mp4" for n in range(4)))}
    assert files_of(uri, run) == samples | {
        "provenance.json", "result.json", "log_end.txt", "scores/by_number_of_clips.csv",
    }  # fmt: skip
    assert run.info.artifact_uri.startswith((Path(uri.removeprefix("sqlite:///")).parent / "mlflow-artifacts").as_uri())
    assert not (tmp_path / "mlruns").exists()
    client = fragile(monkeypatch, uri)
    mlflow_sync.sync(name, [replicate], uri)
    assert client.calls == ["get_experiment_by_name", "search_runs"]
    (replicate.folder / "previews" / "grid.mp4").write_bytes(b"another")
    mlflow_sync.sync(name, [replicate], uri)
    assert client.calls.count("log_artifact") == 1
    kept = Path(client.download_artifacts(run.info.run_id, "samples/grid.mp4"))
    assert kept.read_bytes() == b"another"


def test_what_a_kill_kept_from_being_sent_is_sent_next(
    uri: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (replicate,) = replicates(tmp_path, name, seeds=1)
    done(replicate)
    sent: list[str] = []

    def die_at_the_third(client: Any, run_id: str, artifact: artifacts.Artifact) -> None:
        sent.append(artifact.name)
        if len(sent) == 3:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(artifacts, "_send", die_at_the_third)
        with pytest.raises(Killed):
            mlflow_sync.sync(name, [replicate], uri)
    mlflow_sync.sync(name, [replicate], uri)
    (run,) = stored(uri, name).values()
    assert len(files_of(uri, run)) == 10


def test_what_a_run_has_of_very_many_files_is_kept_whatever_a_tag_holds(uri: str, name: str) -> None:
    """MLflow cuts a tag at 8,000 characters and says nothing."""
    client = mlflow_sync._client(uri)
    run_id = client.create_run(client.create_experiment(name)).info.run_id

    def sent(count: int, content: str = "x") -> int:
        files = [artifacts.Artifact(f"figures/{'score-' * 20}{n:03}.png", content.encode()) for n in range(count)]
        return artifacts.send(client, client.get_run(run_id), files)

    def parts() -> list[str]:
        tags = client.get_run(run_id).data.tags
        return [value for tag, value in tags.items() if tag.startswith(mlflow_names.ARTIFACTS_TAG)]

    assert [sent(70), sent(70)] == [70, 0]
    assert len(parts()) == 3
    assert all(len(part) < 5000 for part in parts())
    assert len(read_manifest(client.get_run(run_id).data.tags)) == 70
    assert [sent(70, "y"), sent(2, "y"), sent(2, "y")] == [70, 0, 0]
    assert len(read_manifest(client.get_run(run_id).data.tags)) == 2
    assert sorted(map(len, parts()))[:2] == [2, 2]


def test_a_tag_that_was_filled_before_is_read_and_one_that_was_cut_says_nothing() -> None:
    tag, whole = mlflow_names.ARTIFACTS_TAG, {f"{number:04}": "state" for number in range(400)}
    assert read_manifest({tag: json.dumps(whole), "arm": "a"}) == whole
    assert read_manifest({tag: json.dumps(whole)[:5000], f"{tag}.1": '{"a": "b"}'}) == {"a": "b"}
    assert read_manifest({}) == read_manifest({tag: ""}) == {}


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "LARGEST", 10)
    monkeypatch.setattr(artifacts, "MOST", 15)
    given = [artifacts.Artifact(name, b"x" * size) for name, size in (("a", 11), ("b", 10), ("c", 6), ("d", 5))]
    assert [one.name for one in artifacts.bounded(given)] == ["b", "d"]
    (tmp_path / "log").write_bytes(b"first\n" + b"x" * artifacts.LOG_BYTES + b"\nlast\n")
    assert artifacts._end_of(tmp_path / "log") == b"last\n"


def test_costs_and_intervals_are_metrics(uri: str, name: str, tmp_path: Path) -> None:
    (replicate,) = replicates(tmp_path, name, seeds=1)
    done(replicate)
    (replicate.training / "system.jsonl").write_text(
        "".join(json.dumps({"time": 5.0 + n, "process_memory_usage_megabytes": 100.0 + n}) + "\n" for n in (0, 9, 4))
    )
    floors = {"floor": "real_halves", "metric": "fvd[x]", "protocol": "p", "of": "", "values": [0.25, 0.75],
              "n_fake": 16, "n_real": 40}  # fmt: skip
    (replicate.link.parents[1] / "floors.json").write_text(json.dumps({"floors": [floors]}))
    mlflow_sync.sync(name, [replicate], uri)
    (run,) = stored(uri, name).values()
    metrics = run.data.metrics
    told = {key: metrics[key] for key in ("fvd/x_low", "fvd/x_high", "fvd/x_floor", "network/parameters")}
    assert told == {"fvd/x_low": 1.5, "fvd/x_high": 2.5, "fvd/x_floor": 0.5, "network/parameters": 741420}
    assert metrics["resources/clips_per_second"] == 16 / 4.0
    assert metrics["resources/steps_per_second"] == 6 / 8.0
    assert "resources/training_clips_per_second" not in metrics  # its training said nothing of it
    assert metrics["resources/seconds"] == 12.0
    assert metrics["resources/peak_memory_megabytes"] == 109.0
    history = mlflow_sync._client(uri).get_metric_history(run.info.run_id, "system/process_memory_usage_megabytes")
    assert sorted((point.step, point.value, point.timestamp) for point in history) == [
        (0, 100.0, 5000), (1, 109.0, 14000), (2, 104.0, 9000),
    ]  # fmt: skip


def test_each_arm_is_a_parent_and_tags_alone_tell_all(uri: str, name: str, tmp_path: Path) -> None:
    todo = replicates(tmp_path, name)
    for replicate in todo:
        (replicate.training / "provenance.json").write_text(json.dumps({"code": {"commit": "c0ffee"}}))
    for _ in range(2):
        mlflow_sync.sync(name, todo, uri)
    client = mlflow_sync._client(uri)
    experiment = client.get_experiment_by_name(name)
    (parent,) = client.search_runs([experiment.experiment_id], "tags.kind = 'arm'")
    assert (parent.info.run_name, parent.info.status, parent.data.tags["arm"]) == ("baseline", "FINISHED", "baseline")
    words = "tags.kind = 'replicate' AND tags.arm = 'baseline' AND tags.seed = '1' AND tags.state = 'interrupted'"
    (run,) = client.search_runs([experiment.experiment_id], words)
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    for one in (run, parent):
        assert one.data.tags["mlflow.user"] == todo[0].training.owner()
        assert one.data.tags["mlflow.source.name"].endswith("run.py")
        assert one.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert run.data.tags["mlflow.source.type"] == "LOCAL"
    assert experiment.tags[store.KIND_TAG] == "custom_model_development"


def reported(todo: list[Replicate], verdict: str) -> ResolvedExperiment:
    """Leave what a launch and a report leave in the experiment's folder."""
    folder = todo[0].link.parents[1]
    resolved = ResolvedExperiment(
        experiment=todo[0].experiment, digest="d1", file="toy.yaml", about="Which blocks are better?", seeds=(0, 1),
        arms={"baseline": ResolvedArm(identity=todo[0].identity, macs={"forward": 77})},
    )  # fmt: skip
    write_resolved(folder, resolved)
    place = place_of(folder, "d1")
    (place / "figures").mkdir(exist_ok=True)
    (place / "figures" / "fvd.png").write_bytes(b"png")
    (place / ".lock").touch()
    (place / "table.md").write_text("| arm | fvd |\n| --- | --: |\n| baseline | 2.0 |\n")
    (place / "table.csv").write_text("arm,kind,fvd[x],fvd[x] protocol\nbaseline,arm,2.0,p\n")
    claim = {"better": "variant_1", "worse": "variant_4", "metric": "fvd[x]", "verdict": verdict, "steps": [1]}
    write_atomically(place / "verdict.json", json.dumps({"experiment": "toy", "claims": [claim]}))
    return resolved


def test_an_experiment_is_described_and_its_report_is_a_run(
    uri: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = replicates(tmp_path, name)
    done(todo[0])
    reported(todo, "undecided")
    mlflow_sync.sync(name, todo, uri)
    client = mlflow_sync._client(uri)
    experiment = client.get_experiment_by_name(name)
    for part in (
        "Which blocks are better?", "- variant_1 better than variant_4 in fvd[x]: **undecided**", "| baseline | 2.0 |",
        "python run.py report toy.yaml", "seeds 0, 1", str(place_of(todo[0].link.parents[1], "d1")),
    ):  # fmt: skip
        assert part in experiment.tags[overview.NOTE]
    (report,) = client.search_runs([experiment.experiment_id], "tags.kind = 'report'")
    assert files_of(uri, report) == {
        "experiment.json", "figures/fvd.png", "table.csv", "table.md", "verdict.json", "tables/scores.json",
        "tables/verdict.json",
    }  # fmt: skip
    own = {key: report.data.tags.get(f"mlflow.{key}") for key in ("user", "source.name", "source.type")}
    assert own == {"user": todo[0].training.owner(), "source.name": "toy.yaml", "source.type": "LOCAL"}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # which `load_table` asks, whatever its client was given
    table = client.load_table(experiment.experiment_id, "tables/scores.json", [report.info.run_id])
    assert table.to_dict("list") == {"arm": ["baseline"], "fvd[x]": [2.0]}
    assert stored(uri, name)[f"{todo[0].identity}/seed-0"].data.metrics["network/forward"] == 77
    watched = fragile(monkeypatch, uri)
    mlflow_sync.sync(name, todo, uri)
    assert watched.calls == ["get_experiment_by_name", "search_runs"]
    reported(todo, "supported")
    mlflow_sync.sync(name, todo, uri)
    (report,) = client.search_runs([experiment.experiment_id], "tags.kind = 'report'")
    assert "**supported**" in report.data.tags[overview.NOTE]
    assert "**supported**" in client.get_experiment_by_name(name).tags[overview.NOTE]


def test_a_long_table_is_cut_by_whole_rows_and_hides_nothing_else(tmp_path: Path) -> None:
    todo = replicates(tmp_path, "toy", seeds=1)
    resolved, folder = reported(todo, "undecided"), todo[0].link.parents[1]
    scores = "| arm    |    fvd |\n| ------ | -----: |\n"
    scores += "".join(f"| arm-{number:03} | {number} {'x' * 40}  |\n" for number in range(99))
    table = place_of(folder, "d1") / "table.md"
    table.write_text(f"{scores}\nfvd: protocol p; bold: best mean\n\n<!-- runs, each\nbaseline: a/b/c\n-->\n")
    text = overview.description(folder, resolved)
    assert len(text) <= 5000
    assert text.index("### Verdict") < text.index("### Where it is") < text.index("### Scores")
    assert "- arms: `baseline`; seeds 0, 1" in text
    assert "| arm | fvd |\n| --- | ---: |\n| arm-000 | 0 x" in text
    rows = text.count("| arm-")
    assert 50 < rows < 99
    assert f"{99 - rows} more rows are in `table.md`" in text
    assert text.endswith("fvd: protocol p; bold: best mean")
    table.write_text("| arm |\n| --- |\n| baseline |\n\n" + "caption " * 800)
    assert "| baseline |" in overview.description(folder, resolved)
    table.write_text(f"{scores}\n{'caption ' * 300}")
    assert overview.description(folder, resolved).count("| arm-") >= rows  # they are what the table is for
    table.write_text("| arm |\n| --- |\n| baseline |\n\n" + "caption " * 800)
    assert len(overview.description(folder, resolved)) <= 5000
    many = {f"arm-{number}-{'x' * 40}": ResolvedArm(identity=f"{number}") for number in range(200)}
    text = overview.description(folder, resolved.model_copy(update={"arms": many}), first="No files here")
    assert text.startswith("No files here\n\nWhich blocks")
    assert len(text) <= 5000
    assert "python run.py report toy.yaml" in text
    assert "### Scores" in text
    answers = place_of(folder, "d1") / "verdict.json"
    claims = [{"axis": f"axis-{number}", "metric": "fvd", "reason": "p" * 200} for number in range(30)]
    answers.write_text(json.dumps({"claims": claims}))
    text = overview.description(folder, resolved)
    assert text.count("axis-") == 30
    assert "Why: `verdict.txt` of the run `report`" in text
    assert "python run.py report toy.yaml" in text


def test_an_experiment_with_a_relative_place_of_files_gets_none(
    uri: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (replicate,) = replicates(tmp_path, name, seeds=1)
    done(replicate)
    mlflow_sync._client(uri).create_experiment(name, artifact_location="mlruns/7")
    monkeypatch.setattr(mlflow_sync, "lies_apart", lambda place: False)
    mlflow_sync.sync(name, [replicate], uri)
    (run,) = stored(uri, name).values()
    assert mlflow_names.ARTIFACTS_TAG not in run.data.tags
    assert "No files here" in mlflow_sync._client(uri).get_experiment_by_name(name).tags[overview.NOTE]


def test_what_place_depends_on_the_folder_one_stands_in() -> None:
    assert all(store.lies_apart(place) for place in ("file:///a", "/a/b", "mlflow-artifacts:/1", "s3://a/b"))
    assert not store.lies_apart("mlruns/1")
    assert not store.lies_apart("./mlruns/1")
