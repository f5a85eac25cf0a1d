"""Launching a whole experiment, and MLflow filled from its folders."""

import json
import multiprocessing
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.launch import in_process, launching, local_pool, preparing
from experiments.launch.launching import launch_all, retry, unfinished
from experiments.launch.preparing import bind_replicates, prepare_data
from experiments.plan.plan import Plan
from experiments.plan.rows import rows
from experiments.record.recording import Recorder
from experiments.tracking import mlflow_sync
from experiments.worker import starting
from registry.errors import SpecError
from registry.runs.records import State
from registry.runs.replicate import Replicate
from tests.fixtures.toy_replicates import nothing, plan_of
from tests.waiting import PATIENCE

ONE_ARM = {"only": ["baseline"]}


def unwatched(todo: Sequence[Replicate], states: Sequence[State]) -> None:
    """Nobody watches the pool."""


def launch(plan: Plan, executor: str) -> list[Replicate]:
    return launch_all(plan, executor, nothing, unwatched).todo


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """One arm with two seeds, launched in this process, its runs in MLflow."""
    plan = plan_of(tmp_path_factory.mktemp("launched"), **ONE_ARM)
    todo = launch(plan, "debug")
    assert [replicate.state for replicate in todo] == ["done", "done"]
    assert mlflow_sync.try_sync(plan.name, todo, plan.runs) == ""
    return plan


def beside(launched: Plan, folder: Path, *overrides: str) -> Plan:
    """A plan of one seed with runs of its own, into a copy of the MLflow store (making one anew takes seconds)."""
    plan = plan_of(folder, "seeds=[0]", *overrides, **ONE_ARM)
    plan.runs.mkdir()
    shutil.copy(launched.runs / "mlflow.db", plan.runs / "mlflow.db")
    return plan


def uri_of(plan: Plan) -> str:
    return f"sqlite:///{(plan.runs / 'mlflow.db').resolve()}"


def mlflow_runs(plan: Plan, uri: str) -> dict[str, Any]:
    client = mlflow_sync._client(uri)
    found = client.search_runs([client.get_experiment_by_name(plan.name).experiment_id], "tags.kind = 'replicate'")
    return {run.data.tags["replicate"]: run for run in found}


def test_only_selected_arms_are_launched(launched: Plan) -> None:
    folders = sorted({path.parent.name for path in launched.folder.glob("*/seed-*")})
    assert folders == [f"baseline-{launched.arms[0].identity}"]
    assert [row["state"] for row in rows(launched)] == ["done"]
    assert rows(launched)[0]["gpu_hours"] > 0
    assert launched.orphans() == []


def test_launching_again_runs_nothing(launched: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: Any) -> None:
        raise AssertionError("a finished replicate was run again")

    before = [replicate.result() for replicate in launched.replicates]
    monkeypatch.setattr(in_process, "run_training", forbidden)
    monkeypatch.setattr(local_pool.LocalPool, "_start", forbidden)
    for executor in ("debug", "local"):
        launch(launched, executor)
    assert [replicate.result() for replicate in launched.replicates] == before


def test_a_failed_replicate_is_passed_over_until_retry(tmp_path: Path, launched: Plan) -> None:
    plan = beside(launched, tmp_path)
    replicate = launching.make_run_folders(plan, {})[0]
    bind_replicates(plan, prepare_data(plan, nothing))
    Recorder(replicate.training).event("failed", error="ValueError: a cosmic ray", traceback="…")
    todo = launch(plan, "local")
    assert [replicate.state for replicate in todo] == ["failed"]
    assert "a cosmic ray" in unfinished(todo)[0]
    assert [replicate.seed for replicate in retry(plan)] == [0]
    todo = launch(plan, "local")  # in a process of its own
    assert [replicate.state for replicate in todo] == ["done"]
    assert "done:" in (replicate.training / "log.txt").read_text()


def test_a_process_that_cannot_start_has_failed(
    tmp_path: Path, launched: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = beside(launched, tmp_path)
    monkeypatch.setattr(starting.sys, "executable", "/bin/false")
    todo = launch(plan, "local")
    assert [replicate.state for replicate in todo] == ["failed"]
    assert "log.txt" in unfinished(todo)[0]


def test_classes_must_be_those_of_the_data(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "model.classes=3", **ONE_ARM)
    with pytest.raises(SpecError, match=r"model\.classes: arm baseline has 3, the data has 2 \(moves_left, moves_up\)"):
        prepare_data(plan, nothing)


def test_what_arms_share_is_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[list[str]] = []
    monkeypatch.setattr(
        preparing, "_prepare_shared", lambda plan, arms, *more: encoded.append([arm.name for arm in arms])
    )
    plan = plan_of(tmp_path, "ablate={model.blocks: [variant_1, variant_4], data.interval: [1, 2]}", "claim=[]")
    found = prepare_data(plan, nothing)
    assert encoded == [["baseline", "blocks=variant_4"], ["interval=2"]]
    assert found.keys() == {arm.name for arm in plan.arms}
    assert len({str(prepared.folder) for prepared in found.values()}) == 1


def test_mlflow_holds_what_the_folders_say(launched: Plan) -> None:
    runs = mlflow_runs(launched, uri_of(launched))
    assert set(runs) == {f"{replicate.identity}/seed-{replicate.seed}" for replicate in launched.replicates}
    for replicate in launched.replicates:
        run = runs[f"{replicate.identity}/seed-{replicate.seed}"]
        result = replicate.result()
        assert result is not None
        assert run.info.status == "FINISHED"
        assert run.data.tags["arm"] == "baseline"
        assert run.data.tags["axis.blocks"] == "variant_1"
        assert run.data.tags["folder"] == str(replicate.link.absolute())
        assert run.data.params["model.blocks.name"] == "variant_1"
        assert run.data.params["learning.learning_rate"] == "0.001"
        for name in ("fvd", "kvd"):
            mine = f"{name}[moving_shapes_r3d]"
            assert run.data.metrics[f"{name}/moving_shapes_r3d"] == pytest.approx(result.scores[mine])
            assert run.data.tags[f"protocol.{name}/moving_shapes_r3d"] == result.protocols[mine]
        assert run.data.tags["data_digest"] == result.data_digest
        history = mlflow_sync._client(uri_of(launched)).get_metric_history(run.info.run_id, "loss")
        assert [point.step for point in history] == [2, 4, 6]


def test_a_server_that_is_down_is_told_not_raised(launched: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told = mlflow_sync.try_sync(launched.name, launched.replicates, launched.runs)
    assert told.startswith("MLflow at http://127.0.0.1:9: ")


def test_syncing_again_adds_only_what_is_new(launched: Plan, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    shutil.copy(launched.runs / "mlflow.db", tmp_path / "other.db")
    assert mlflow_sync.sync(launched.name, launched.replicates, uri) == {"runs": 2, "points": 0}
    replicate = launched.replicates[0]
    path = replicate.training / "metrics.jsonl"
    before = path.read_text()
    try:
        Recorder(replicate.training).metrics(7, {"loss": 0.25, "extra[x]": 1.0})
        assert mlflow_sync.sync(launched.name, launched.replicates, uri) == {"runs": 2, "points": 2}
        run = mlflow_runs(launched, uri)[f"{replicate.identity}/seed-{replicate.seed}"]
        history = mlflow_sync._client(uri).get_metric_history(run.info.run_id, "loss")
        assert [(point.step, point.value) for point in history][-1] == (7, 0.25)
        assert len({point.step for point in history}) == len(history)
        # A resumed run writes the same steps anew: nothing is doubled.
        path.write_text(
            "".join(json.dumps(json.loads(line) | {"time": 9e9}) + "\n" for line in path.read_text().splitlines())
        )
        assert mlflow_sync.sync(launched.name, launched.replicates, uri) == {"runs": 2, "points": 0}
    finally:
        path.write_text(before)


def test_missing_replicates_are_passed_over(launched: Plan, tmp_path: Path) -> None:
    plan = plan_of(launched.runs.parent, "seeds=[0, 7]", **ONE_ARM)
    shutil.copy(launched.runs / "mlflow.db", tmp_path / "other.db")
    told = mlflow_sync.sync("under another name", plan.replicates, f"sqlite:///{tmp_path / 'other.db'}")
    assert told["runs"] == 1
    logged = sum(len(line) - 2 for line in plan.replicates[0].metrics())
    assert told["points"] > logged  # costs, intervals and the machine's load are points as well


def _prepares(folder: Path, barrier: Any, one_waits: Any, waited: Any) -> None:
    def progress(what: str, done: int, total: int) -> None:
        if what.startswith("waiting for process"):
            with waited.get_lock():
                waited.value += 1
            one_waits.set()
        assert one_waits.wait(PATIENCE)  # who is first does not go on before the other has come

    barrier.wait()
    prepare_data(plan_of(folder, **ONE_ARM), progress)


def test_two_launchers_prepare_one_behind_the_other(tmp_path: Path) -> None:
    plan_of(tmp_path, **ONE_ARM)
    context = multiprocessing.get_context("spawn")
    barrier, one_waits, waited = context.Barrier(2), context.Event(), context.Value("i", 0)
    both = [context.Process(target=_prepares, args=(tmp_path, barrier, one_waits, waited)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert waited.value == 1  # the second had to wait
