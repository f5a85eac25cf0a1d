"""MLflow filled from run folders: whatever fails or is killed, the next sync completes it, every point exactly once."""

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import analysis
from experiments.record.recording import Recorder, desire
from experiments.tracking import arms_view, mlflow_sync, run_contents
from registry.errors import RunError
from registry.runs.attempts import ATTEMPTS, SUBMISSIONS, take, this_process
from registry.runs.machine import ROOT
from tests.cli.command import run
from tests.fixtures import mlflow_server
from tests.fixtures.fake_runs import control, searching
from tests.fixtures.finished_runs import finish
from tests.fixtures.replicates import floor
from tests.fixtures.toy_replicates import plan_of, result_of
from tests.fixtures.tracked import Killed, assert_complete, fragile, log, replicates, rewritten, stored
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def server() -> Iterator[mlflow_server.Server]:
    """`mlflow server` over PostgreSQL."""
    if why := mlflow_server.unavailable():
        pytest.fail(why) if os.environ.get("WORKBENCH_CI") == "1" else pytest.skip(why)
    with mlflow_server.running() as found:
        yield found


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An SQLite file."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture(params=["uri", "server"], ids=["sqlite", "server"])
def either(request: pytest.FixtureRequest) -> str:
    """A store that all tests of this module share; each test has an experiment of its own."""
    found = request.getfixturevalue(request.param)
    return found if isinstance(found, str) else found.uri


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return "".join(c if c.isalnum() else "-" for c in request.node.name)


def test_what_was_brought_is_read_back(either: str, name: str, tmp_path: Path) -> None:
    """All of reading is in tests/analysis/reading/test_mlflow_results.py; here it is asked of a server as well."""
    plan = plan_of(tmp_path, f"name={name}", "evaluate_at=[3]")
    for replicate in finish(plan, lambda one: {"fvd[moving_shapes_r3d]": 3.0 + one.seed + len(one.arm)}, losses=3):
        desire(replicate, "run")
        (replicate.folder / "previews").mkdir()
        (replicate.folder / "previews" / "clip-000.mp4").write_bytes(b"video")
    analysis.load(plan.folder).verdict()  # a look
    mlflow_sync.sync(name, plan.replicates, either)
    ours, tracked = analysis.load(plan.folder), analysis.load(either, experiment=name)
    pd.testing.assert_frame_equal(ours.scores(), tracked.scores())
    pd.testing.assert_frame_equal(ours.curves(), tracked.curves())
    assert set(tracked.runs) == set(ours.runs)
    assert str(tracked.verdict()) == str(ours.verdict())
    assert tracked.samples().clips[0].read_bytes() == b"video"
    page = mlflow_sync.address_of(name, either if either.startswith("http") else "http://nowhere", either)
    if page.startswith(either):
        assert analysis.load(page).name == name


def die() -> None:
    raise Killed


def test_each_state_has_a_status(either: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    todo = replicates(tmp_path, name, seeds=9)
    missing, queued, running, interrupted, failed, cancelled, paused, stopped, done = todo
    (missing.training / "events.jsonl").unlink()
    take(queued.training / SUBMISSIONS, 1, {**this_process(), "token": "x", "executor": "slurm", "job": None})
    take(running.training / ATTEMPTS, 1, {**this_process(), "job": "12_3", "node": "n7"})
    Recorder(failed.training).event("failed", error="no")
    desire(cancelled, "cancel")
    desire(paused, "run", until=8)
    Recorder(paused.training).event("paused", step=8)
    desire(stopped, "stop")
    Recorder(done.folder).result(result_of(done, data_digest="abc", protocols={"fvd[x]": "p1"}))
    (done.training / "provenance.json").write_text(json.dumps({"code": {"commit": "c0ffee"}}))
    mlflow_sync.sync(name, todo, either)
    runs = stored(either, name)
    told = {run.data.tags["state"]: run.info.status for run in runs.values()}
    assert told == {
        "missing": "SCHEDULED", "queued": "SCHEDULED", "running": "RUNNING", "interrupted": "KILLED",
        "failed": "FAILED", "cancelled": "KILLED", "paused": "SCHEDULED", "stopped": "KILLED", "done": "FINISHED",
    }  # fmt: skip
    tags = runs[run_contents.replicate_id(running)].data.tags
    assert (tags["attempts"], tags["slurm_job"], tags["node"]) == ("1", "12_3", "n7")
    tags = runs[run_contents.replicate_id(done)].data.tags
    assert (tags["commit"], tags["data_digest"], tags["protocol.fvd/x"]) == ("c0ffee", "abc", "p1")
    assert_complete(either, name, todo)
    Recorder(interrupted.folder).result(result_of(interrupted))
    mlflow_sync.sync(name, todo, either)
    assert stored(either, name)[run_contents.replicate_id(interrupted)].info.status == "FINISHED"
    assert capsys.readouterr().out == "", "MLflow has a line or two for every run that ends"


def test_a_requeued_replicate_doubles_nothing(either: str, name: str, tmp_path: Path) -> None:
    todo = replicates(tmp_path, name)
    assert mlflow_sync.sync(name, todo, either) == {"runs": 2, "points": 16}
    rewritten(todo[0], checkpoint=4)
    assert mlflow_sync.sync(name, todo, either) == {"runs": 2, "points": 0}
    log(todo[0], (10,))
    assert mlflow_sync.sync(name, todo, either) == {"runs": 2, "points": 2}
    assert_complete(either, name, todo)


def test_a_sync_between_the_resumption_and_the_steps_doubles_nothing(uri: str, name: str, tmp_path: Path) -> None:
    todo = replicates(tmp_path, name)
    mlflow_sync.sync(name, todo, uri)
    Recorder(todo[0].training).forget_after(4)
    mlflow_sync.sync(name, todo, uri)
    log(todo[0], (6, 8, 10))
    assert mlflow_sync.sync(name, todo, uri) == {"runs": 2, "points": 2}
    assert_complete(uri, name, todo)


def test_a_run_that_contradicts_its_file_is_made_anew(uri: str, name: str, tmp_path: Path) -> None:
    todo = replicates(tmp_path, name)
    mlflow_sync.sync(name, todo, uri)
    rewritten(todo[0], checkpoint=4, shift=0.5)
    assert mlflow_sync.sync(name, todo, uri) == {"runs": 2, "points": 8}
    assert_complete(uri, name, todo)


def test_a_run_that_has_a_step_twice_is_made_anew(uri: str, name: str, tmp_path: Path) -> None:
    """Two syncs that knew nothing of each other, around a resumption, leave such a run."""
    todo = replicates(tmp_path, name)
    mlflow_sync.sync(name, todo, uri)
    run = stored(uri, name)[run_contents.replicate_id(todo[0])]
    client = mlflow_sync._client(uri)
    client.log_metric(run.info.run_id, "loss", 1 / 4, timestamp=5, step=4)
    client.set_tag(run.info.run_id, mlflow_sync.SYNCED, mlflow_sync.PARTIAL)
    mlflow_sync.sync(name, todo, uri)
    assert_complete(uri, name, todo)


def test_a_line_that_is_being_written_waits(uri: str, name: str, tmp_path: Path) -> None:
    todo = replicates(tmp_path, name, seeds=1)
    path = todo[0].training / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-10])
    assert mlflow_sync.sync(name, todo, uri)["points"] == 6
    path.write_text(whole)
    assert mlflow_sync.sync(name, todo, uri)["points"] == 2
    assert_complete(uri, name, todo)


def test_numbers_that_are_none(either: str, name: str, tmp_path: Path) -> None:
    (replicate,) = replicates(tmp_path, name, seeds=1)
    Recorder(replicate.training).metrics(20, {"a": float("nan"), "b": float("inf"), "c": float("-inf")})
    assert mlflow_sync.sync(name, [replicate], either)["points"] == 11
    path = replicate.training / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1, "time": 1.0, "a": 1.0}) + "\n" + path.read_text())
    assert mlflow_sync.sync(name, [replicate], either)["points"] == 1, "the history is compared"


def test_what_did_not_change_costs_no_call(
    uri: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = replicates(tmp_path, name, seeds=3)
    mlflow_sync.sync(name, todo, uri)
    client = fragile(monkeypatch, uri)
    assert mlflow_sync.sync(name, todo, uri) == {"runs": 3, "points": 0}
    assert client.calls == ["get_experiment_by_name", "search_runs"]
    log(todo[1], (10,))
    client.calls.clear()
    assert mlflow_sync.sync(name, todo, uri) == {"runs": 3, "points": 2}
    assert client.calls == ["get_experiment_by_name", "search_runs", "set_tag", "log_batch"]


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_a_sync_killed_at_any_call_is_completed(
    either: str, name: str, behind: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, killed = 0, True
    while killed:
        at += 1
        experiment, folder = f"{name}-{at}", tmp_path / str(at)
        todo = replicates(folder, experiment, seeds=1)
        killed = False
        with monkeypatch.context() as patched:
            patched.setattr(mlflow_sync, "POINTS", 3)  # several calls a run
            client = fragile(patched, either, at, die, behind)
            try:
                mlflow_sync.sync(experiment, todo, either)
            except Killed:
                killed = True
        rewritten(todo[0], checkpoint=4)
        mlflow_sync.sync(experiment, todo, either)
        assert_complete(either, experiment, todo)
    assert {"create_experiment", "search_runs", "create_run", "log_batch"} <= set(client.calls)
    assert at > 6


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_an_update_killed_at_any_call_is_completed(
    uri: str, name: str, behind: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = replicates(tmp_path, name, seeds=1)
    mlflow_sync.sync(name, todo, uri)
    at, killed = 0, True
    while killed:
        at, killed = at + 1, False
        log(todo[0], (10 * at, 10 * at + 5))
        with monkeypatch.context() as patched:
            patched.setattr(mlflow_sync, "POINTS", 3)
            fragile(patched, uri, at, die, behind)
            try:
                mlflow_sync.sync(name, todo, uri)
            except Killed:
                killed = True
        if at % 2:
            Recorder(todo[0].training).forget_after(10 * at)
            log(todo[0], (10 * at + 5,))
        mlflow_sync.sync(name, todo, uri)
        assert_complete(uri, name, todo)
    assert at > 4


def test_a_run_that_was_made_twice_is_one_again(
    uri: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = replicates(tmp_path, name, seeds=1)
    with monkeypatch.context() as patched:
        client = fragile(patched, uri)
        create = client.client.create_run
        client.create_run = lambda *words, **options: (create(*words, **options), create(*words, **options))[1]  # type: ignore[attr-defined]
        mlflow_sync.sync(name, todo, uri)
    assert_complete(uri, name, todo)


def test_one_run_that_is_refused_keeps_no_other_waiting(uri: str, name: str, tmp_path: Path) -> None:
    todo = replicates(tmp_path, name)
    Recorder(todo[0].training).metrics(10, {"x" * 300: 1.0})
    with pytest.raises(RunError, match="MLflow refused 1 of 2 runs, such as baseline seed 0"):
        mlflow_sync.sync(name, todo, uri)
    runs = stored(uri, name)
    assert runs[run_contents.replicate_id(todo[1])].data.metrics == {"loss": 1 / 8 + 1, "rate/x": 8.0}


def test_two_folders_of_the_same_arms_are_kept_apart(uri: str, name: str, tmp_path: Path) -> None:
    mine, theirs = (replicates(tmp_path / who, name, seeds=1) for who in ("me", "them"))
    rewritten(theirs[0], checkpoint=4, shift=0.5)
    for _ in range(2):
        mlflow_sync.sync(name, mine, uri)
        mlflow_sync.sync(name, theirs, uri)
    client = mlflow_sync._client(uri)
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id], "tags.kind = 'replicate'")
    assert {run.data.tags["folder"] for run in runs} == {str(r[0].link.absolute()) for r in (mine, theirs)}
    assert len(runs) == 2
    assert sorted(run.data.metrics["loss"] for run in runs) == [1 / 8, 1 / 8 + 0.5]


def test_a_deleted_experiment_is_named(uri: str, name: str, tmp_path: Path) -> None:
    todo = replicates(tmp_path, name, seeds=1)
    client = mlflow_sync._client(uri)
    client.delete_experiment(client.create_experiment(name))
    with pytest.raises(RunError, match="was deleted; restore it"):
        mlflow_sync.sync(name, todo, uri)


class Refusing(BaseHTTPRequestHandler):
    """Answers as `mlflow server` does when it is called by a name that it was not told."""

    def do_GET(self) -> None:
        self.send_response(403)
        self.end_headers()
        self.wfile.write(b"Invalid Host header - possible DNS rebinding attack detected")

    def log_message(self, format: str, *words: Any) -> None:
        """Nobody reads it."""


def test_a_refused_host_header_is_explained(name: str, tmp_path: Path) -> None:
    todo = replicates(tmp_path, name, seeds=1)
    refusing = HTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=refusing.serve_forever)
    thread.start()
    try:
        with pytest.raises(RunError, match=r"Invalid Host header.*start the server with --allowed-hosts"):
            mlflow_sync.sync(name, todo, f"http://127.0.0.1:{refusing.server_port}")
    finally:
        refusing.shutdown()
        thread.join()
        refusing.server_close()


def test_the_compose_file_has_our_versions() -> None:
    services = yaml.safe_load((ROOT / "docs" / "mlflow" / "compose.yaml").read_text())["services"]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    build = services["mlflow"]["build"]["dockerfile_inline"]
    for package in ("mlflow", "psycopg2-binary"):
        assert f"{package}=={pins[package]}" in build
    assert f"mlflow=={pins['mlflow']}" in (ROOT / "docs" / "mlflow.md").read_text()


def test_two_syncs_at_once(either: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    todo = replicates(tmp_path, name, seeds=4)
    waited: list[str] = []
    errors: list[BaseException] = []
    one_waits, client = threading.Event(), mlflow_sync._client

    def client_once_one_waits(uri: str) -> Any:  # who is first does not begin before the other has come
        assert one_waits.wait(PATIENCE)
        return client(uri)

    def waiting(who: str) -> None:
        waited.append(who)
        one_waits.set()

    monkeypatch.setattr(mlflow_sync, "_client", client_once_one_waits)

    def run() -> None:
        try:
            mlflow_sync.sync(name, todo, either, waiting=waiting)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(waited) == 1
    assert_complete(either, name, todo)


def test_two_syncs_at_once_without_a_lease(
    server: mlflow_server.Server, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if one had slept through its lease: what they do to each other is mended by the next sync."""

    class Free:
        def confirm(self) -> None:
            """Nobody asks."""

    todo = replicates(tmp_path, name, seeds=4)
    mlflow_sync.sync(name, todo[:2], server.uri)
    rewritten(todo[0], checkpoint=2)
    log(todo[1], (10, 12))
    with monkeypatch.context() as patched:
        patched.setattr(mlflow_sync, "leased", lambda *words: contextlib.nullcontext(Free()))

        def run() -> None:
            with contextlib.suppress(RunError):  # a run that the other one deletes meanwhile
                mlflow_sync.sync(name, todo, server.uri)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for _ in range(2):
        mlflow_sync.sync(name, todo, server.uri)
    assert_complete(server.uri, name, todo)


def test_a_server_killed_in_the_middle_is_filled_when_it_is_back(
    server: mlflow_server.Server, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    todo = replicates(tmp_path, name, seeds=8)
    with monkeypatch.context() as patched:
        client = fragile(patched, server.uri, at=16, act=server.kill)
        with pytest.raises(RunError, match=f"MLflow at {server.uri}: "):
            mlflow_sync.sync(name, todo, server.uri)
    assert {"create_run", "log_batch"} <= set(client.calls)
    assert client.calls.count("set_terminated") <= 9, "one of the arm, one of each run"
    server.start()
    rewritten(todo[0], checkpoint=4)
    rewritten(todo[5], checkpoint=2)
    mlflow_sync.sync(name, todo, server.uri)
    assert_complete(server.uri, name, todo)
    assert mlflow_sync.sync(name, todo, server.uri) == {"runs": 8, "points": 0}


def test_runs_of_arms_that_the_newest_launch_no_longer_has_are_out_of_the_view(
    uri: str, name: str, tmp_path: Path
) -> None:
    tried = plan_of(tmp_path, f"name={name}", "learning.steps=2")
    finish(tried, lambda own: {"fvd[moving_shapes_r3d]": 90.0})
    mlflow_sync.sync(name, tried.replicates, uri)
    assert {run.data.tags["current"] for run in stored(uri, name).values()} == {"yes"}
    plan = plan_of(tmp_path, f"name={name}")
    finish(plan, lambda own: {"fvd[moving_shapes_r3d]": 30.0})
    mlflow_sync.sync(name, plan.replicates, uri)
    runs = stored(uri, name)
    now = {run_contents.replicate_id(replicate) for replicate in plan.replicates}
    assert {name: run.data.tags["current"] for name, run in runs.items()} == {
        name: "yes" if name in now else "no" for name in runs
    }
    assert len(runs) == 2 * len(now)
    mlflow_sync.sync(name, tried.replicates, uri)  # what is brought says nothing of what was launched last
    assert {name: run.data.tags["current"] for name, run in stored(uri, name).items()} == {
        name: "yes" if name in now else "no" for name in runs
    }


def test_the_page_of_a_file_that_was_searched_shows_its_trials(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown() -> set[str]:
        """The arms of the runs that the page shows."""
        about = client.get_experiment_by_name("toy")
        view = json.loads(json.loads(about.tags[arms_view.TAG])["state"])
        return {one.data.tags["arm"] for one in client.search_runs([about.experiment_id], view["searchFilter"])}

    space = "{space: {learning.learning_rate: {low: 1e-4, high: 1e-2}}, trials: 2, parallel: 2}"
    plan, client = searching(tmp_path, space), mlflow_sync._client(uri)
    control(plan, lambda rate, starts: rate, monkeypatch)
    mlflow_sync.sync(plan.name, plan.with_trials, uri)
    assert {"trial-0", "trial-1"} <= shown()
    finish(plan, lambda own: {"fvd[moving_shapes_r3d]": 30.0})  # a launch, which brings its arms alone
    mlflow_sync.sync(plan.name, plan.all_replicates, uri)
    assert shown() == {"baseline", "trial-0", "trial-1"}


def test_a_database_without_a_server_has_its_files_beside_the_runs_and_keeps_its_password(
    server: mlflow_server.Server, tmp_path: Path
) -> None:
    name = "database"
    plan = plan_of(tmp_path, f"name={name}")
    finish(plan, lambda own: {"fvd[moving_shapes_r3d]": 30.0 + own.seed})
    store = server.backend.replace("postgres@", "postgres:PASS/WORD@")  # where everybody is trusted
    words = ("sync", tmp_path / "toy.yaml", f"name={name}", "--runs", plan.runs, "--tracking-uri", store)
    (tmp_path / "here").mkdir()
    said = [run(*words, *form, folder=tmp_path / "here") for form in ((), ("--format", "json"))]
    assert [one.code for one in said] == [0, 0], said
    tracked = analysis.load(store, experiment=name)
    assert tracked.frame["state"].tolist() == ["done"] * 4
    assert not any("WORD" in text for one in said for text in (one.out, one.err, repr(tracked)))
    assert "postgresql+psycopg2://***@/postgres" in said[0].out
    assert list((tmp_path / "here").iterdir()) == []
    assert len(list((plan.runs / "mlflow-artifacts").rglob("result.json"))) == 4
    (tmp_path / "runs").rename(tmp_path / ("x" * 99))
    deep = plan_of(tmp_path / ("x" * 99), "name=deep")
    finish(deep, lambda own: None)
    with pytest.raises(RunError, match="a database keeps 157 characters of such a place; move the runs folder"):
        mlflow_sync.sync("deep", deep.replicates, store)


def test_a_floor_is_that_of_the_protocol_of_the_score(uri: str, name: str, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, f"name={name}")
    finish(plan, lambda own: {"fvd[moving_shapes_r3d]": 30.0})  # by protocol 0123456789
    floors = [
        floor([value], metric="fvd[moving_shapes_r3d]", protocol=protocol)
        for value, protocol in ((10.0, "0123456789"), (99.0, "9876543210"))
    ]
    (plan.folder / "floors.json").write_text(json.dumps({"floors": floors}))
    mlflow_sync.sync(name, plan.replicates, uri)
    found = {run.data.metrics["fvd/moving_shapes_r3d_floor"] for run in stored(uri, name).values()}
    assert found == {10.0}
