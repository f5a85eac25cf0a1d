"""`analysis.load` with a tracking URI: what `sync` brought to MLflow is read back as the run folders say it."""

import json
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

import analysis
from analysis.reading.experiment_results import ExperimentResults
from analysis.results.mlflow_names import ARTIFACTS_TAG
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.record.recording import desire
from experiments.tracking import mlflow_sync
from registry.errors import RunError, SpecError
from registry.runs.files import write_atomically
from registry.runs.replicate import Replicate
from tests.fixtures.finished_runs import finish
from tests.fixtures.replicates import floor
from tests.fixtures.toy_replicates import TOY, write

FVD = "fvd[moving_shapes_r3d]"
EARLY = TOY.replace("seeds: [0, 1]", "seeds: [0, 1]\nevaluate_at: [3]")


def score(replicate: Replicate) -> dict[str, float] | None:
    """Variant 4 is worse by about 5; the last seed of it was not run."""
    if replicate.arm != "baseline" and replicate.seed == 2:
        return None
    worse = 5.0 * (replicate.arm != "baseline") - (replicate.step or 0)
    return {FVD: 30.1 + replicate.seed + worse * (1 + 0.01 * replicate.seed), "validation_loss": 0.5}


def synced(folder: Path, text: str = EARLY, uri: str = "") -> tuple[Plan, str]:
    """The plan of an experiment whose runs are finished and synced, and where."""
    plan = load_plan(write(folder, text), (), folder / "runs")
    for replicate in finish(plan, score, losses=3):
        desire(replicate, "run")
    floors = [floor([0.5, 1.5], metric=FVD, protocol="0123456789")]
    write_atomically(plan.folder / "floors.json", json.dumps({"floors": floors}))
    uri = uri or f"sqlite:///{folder / 'runs' / 'mlflow.db'}"
    mlflow_sync.sync(plan.name, plan.replicates, uri)
    return plan, uri


Both = tuple[ExperimentResults, ExperimentResults, str]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """The same experiment from its folder and from MLflow, and the tracking URI."""
    plan, uri = synced(tmp_path_factory.mktemp("tracked"), EARLY.replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
    return analysis.load(plan.folder), analysis.load(uri), uri


def test_frames_are_those_of_the_run_folders(both: Both) -> None:
    ours, tracked, _ = both
    assert tracked.frame["state"].tolist() == ["done"] * 5 + ["missing"]
    for name in ("frame", "runs"):
        left, right = (getattr(one, name).drop(columns="folder") for one in (ours, tracked))
        pd.testing.assert_frame_equal(left, right)
    pd.testing.assert_frame_equal(ours.scores(), tracked.scores())
    assert set(tracked.scores()["step"]) == {3, 6}
    logged = tracked.curves()
    assert len(logged) == 15
    pd.testing.assert_frame_equal(ours.curves(), logged)
    early = [one.at_step(3).iloc[:5].drop(columns="folder") for one in (ours, tracked)]
    pd.testing.assert_frame_equal(*early)


def test_answers_are_those_of_the_run_folders(both: Both) -> None:
    ours, tracked, _ = both
    assert tracked.floors == ours.floors != []
    assert str(tracked.table()) == str(ours.table())
    assert str(tracked.verdict()) == str(ours.verdict())
    assert tracked.paired("fvd", "blocks=variant_4").mean == ours.paired("fvd", "blocks=variant_4").mean
    pd.testing.assert_frame_equal(tracked.pareto("fvd", "parameters"), ours.pareto("fvd", "parameters"))
    assert tracked.figure("fvd")._repr_png_().startswith(b"\x89PNG")


def test_it_says_where_it_reads_and_what_mlflow_does_not_have(both: Both, tmp_path: Path) -> None:
    _, tracked, uri = both
    assert repr(tracked).endswith(f"2 arms, 3 seeds (5 done, 1 missing) in {uri}")
    for call, message in (
        (lambda: tracked.samples(), "baseline seed 0: has no sampled videos in MLflow"),
        (lambda: tracked.replicates, "which has no checkpoints and no run folders; they were made in .*runs/toy"),
        (lambda: tracked.curves("los"), "nothing named 'los' was logged; did you mean 'loss'"),
        (lambda: analysis.load(uri, experiment="tyo"), "no experiment 'tyo'; did you mean 'toy'"),
        (lambda: analysis.load(uri, overrides=["learning.steps=8"]), "was never launched with learning.steps=8"),
        (lambda: analysis.load(f"sqlite:///{tmp_path}/none.db"), "none.db: no such file; `python run.py sync FILE`"),
        (lambda: analysis.load("nosuch://x"), "nosuch://x: is no tracking URI, which begins with sqlite"),
        (lambda: analysis.load("http://127.0.0.1:1"), "MLflow at http://127.0.0.1:1: cannot be asked"),
    ):
        with pytest.raises(RunError, match=message):
            call()
    for call in (lambda: analysis.load(uri, runs="runs"), lambda: analysis.load(tmp_path, experiment="toy")):
        with pytest.raises(SpecError, match="tracking URI"):
            call()


def test_of_several_experiments_one_is_named_and_one_that_was_never_launched_is_told(both: Both) -> None:
    uri = both[2]
    client = mlflow_sync._client(uri)
    number = client.create_experiment("another")
    try:
        with pytest.raises(RunError, match=r"has 2 experiments, another, toy; name one: .*experiment='another'"):
            analysis.load(uri)
        with pytest.raises(RunError, match="'another' has no run `report` that says what was launched"):
            analysis.load(uri, experiment="another")
        assert analysis.load(uri, experiment="toy").name == "toy"
    finally:
        client.delete_experiment(number)


def test_an_experiment_is_found_on_whatever_page_it_is(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow gives 1000 experiments at a time, the newest first."""
    uri = both[2]
    client = mlflow_sync._client(uri)
    numbers = [client.create_experiment(f"newer-{number}") for number in range(3)]
    search = MlflowClient.search_experiments
    monkeypatch.setattr(MlflowClient, "search_experiments", lambda *a, **kw: search(*a, **{**kw, "max_results": 2}))
    try:
        assert analysis.load(uri, experiment="toy").name == "toy"
        with pytest.raises(RunError, match="has 4 experiments, newer-0, newer-1, newer-2, toy; name one"):
            analysis.load(uri)
    finally:
        for number in numbers:
            client.delete_experiment(number)


def test_a_report_of_very_many_figures_is_found(tmp_path: Path) -> None:
    plan, uri = synced(tmp_path, TOY.replace("seeds: [0, 1]", "seeds: [0]"))
    (place,) = (path.parent for path in plan.folder.glob("reports/*/experiment.json"))
    (place / "figures").mkdir(exist_ok=True)
    for number in range(90):
        (place / "figures" / f"{'score-' * 20}{number:03}.png").write_bytes(b"png")
    mlflow_sync.sync(plan.name, plan.replicates, uri)
    assert analysis.load(uri).name == plan.name


def test_samples_come_from_mlflow_and_a_result_that_was_never_sent_is_told(tmp_path: Path) -> None:
    plan, uri = synced(tmp_path, TOY.replace("seeds: [0, 1]", "seeds: [0]"))
    previews = plan.replicates[0].folder / "previews"
    previews.mkdir()
    (previews / "clip-000.mp4").write_bytes(b"video")
    mlflow_sync.sync(plan.name, plan.replicates, uri)
    shown = analysis.load(uri).samples()
    assert "base64,dmlkZW8=" in shown._repr_html_()
    client = mlflow_sync._client(uri)
    (run,) = client.search_runs(["1"], "tags.kind = 'replicate' and tags.arm = 'baseline'")
    client.set_tag(run.info.run_id, ARTIFACTS_TAG, "{}")
    with pytest.raises(RunError, match=r"baseline seed 0: is done, and MLflow .* does not have its result\.json"):
        _ = analysis.load(uri).frame
