"""`analysis.load` with a tracking URI where the runs are elsewhere: earlier looks count, and no folder is lost."""

import json
from pathlib import Path

import pytest

import analysis
from analysis.results.mlflow_names import ARTIFACTS_TAG
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.tracking import mlflow_sync
from registry.errors import RunError, SpecError
from registry.runs.given_seeds import ClaimThen, GivenSeeds, write_given
from registry.runs.replicate import Replicate
from registry.schema.seeds import UntilDecided
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY, write

FVD = "fvd[moving_shapes_r3d]"
BETTER = [10.0, 11.0, 12.0, 10.5, 11.5, 12.5]
WORSE = [10.9, 11.1, 13.6, 11.9, 12.6, 13.9]  # unclear with 3 seeds


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store apart from all runs; each test has an experiment of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


def score(replicate: Replicate) -> dict[str, float]:
    return {FVD: (BETTER if replicate.arm == "baseline" else WORSE)[replicate.seed]}


def finished(folder: Path, name: str, seeds: str) -> Plan:
    """The plan of an experiment whose runs are done."""
    plan = load_plan(write(folder, TOY.replace("name: toy", f"name: {name}")), (f"seeds={seeds}",), folder / "runs")
    finish(plan, score)
    return plan


def test_looks_that_were_taken_count_where_the_run_folders_are_not(tmp_path: Path, uri: str) -> None:
    for seeds in ("[0,1,2]", "[0,1,2,3]", "[0,1,2,3,4]"):
        plan = finished(tmp_path, "looked", seeds)
        ours = analysis.load(plan.folder).verdict()
    mlflow_sync.sync(plan.name, plan.replicates, uri)
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    strangers = plan.folder / "looks" / "0001.json"  # another machine may have something at the same place
    strangers.parent.mkdir(parents=True)
    strangers.write_text("{torn")
    tracked = analysis.load(uri, experiment="looked").verdict()
    assert "look 3 (before at 3, 4 seeds)" in tracked[0].reason
    assert (str(tracked), tracked[0].warnings) == (str(ours), ours[0].warnings)
    assert [path.name for path in strangers.parent.iterdir()] == ["0001.json"]


def test_a_look_that_is_not_written_down_says_so_and_so_do_looks_that_were_not_brought(
    tmp_path: Path, uri: str
) -> None:
    plan = finished(tmp_path, "unwritten", "[0,1,2]")
    mlflow_sync.sync(plan.name, plan.replicates, uri)
    (answer,) = analysis.load(uri, experiment="unwritten").verdict()
    assert "this look is not written down" in answer.warnings[0]
    assert "`python run.py verdict FILE`" in answer.warnings[0]
    assert not (plan.folder / "looks").exists()
    client = mlflow_sync._client(uri)
    number = client.get_experiment_by_name("unwritten").experiment_id
    (report,) = client.search_runs([number], "tags.kind = 'report'")
    client.set_tag(report.info.run_id, "looks", "1")  # of which the file did not arrive
    (answer,) = analysis.load(uri, experiment="unwritten").verdict()
    assert "earlier looks are unknown" in answer.warnings[0]
    analysis.load(plan.folder).verdict()
    mlflow_sync.sync(plan.name, plan.replicates, uri)
    assert analysis.load(uri, experiment="unwritten").verdict()[0].warnings == ()
    (report,) = client.search_runs([number], "tags.kind = 'report'")  # which is now as an earlier version left it
    assert report.data.tags["looks"] == "1"
    client.delete_tag(report.info.run_id, "looks")
    sent = json.loads(report.data.tags[ARTIFACTS_TAG])
    sent = {name: state for name, state in sent.items() if not name.startswith("looks/")}
    client.set_tag(report.info.run_id, ARTIFACTS_TAG, json.dumps(sent))
    (answer,) = analysis.load(uri, experiment="unwritten").verdict()
    assert "earlier looks are unknown" in answer.warnings[0]


def test_seeds_that_arms_were_given_and_claims_that_were_given_up_are_known(tmp_path: Path, uri: str) -> None:
    plan = finished(tmp_path, "given", "{first: 3, most: 6}")
    (first,) = analysis.load(plan.folder).verdict()
    assert first.course is not None
    identities = {arm.identity: 4 for arm in plan.arms}
    hopeless = ClaimThen(claim=first.course.claim, says="", arms=tuple(identities), seeds=3, stage="given up")
    design = UntilDecided(first=3, most=6)
    write_given(plan.folder, GivenSeeds(design=design, given=identities, claims=(hopeless,)))
    ours = analysis.load(plan.folder)
    assert "given up" in str(ours.verdict())
    mlflow_sync.sync(plan.name, plan.replicates, uri)
    tracked = analysis.load(uri, experiment="given")
    assert tracked.frame["seed"].tolist() == ours.frame["seed"].tolist() == [0, 1, 2, 3] * 2
    assert str(tracked.verdict()) == str(ours.verdict())


@pytest.mark.parametrize("seeds", [[3, 4], [0, 1, 2]], ids=["other-seeds", "the-same-file"])
def test_of_runs_of_two_folders_one_is_named_and_never_is_one_of_them_silently_all(
    seeds: list[int], tmp_path: Path, uri: str
) -> None:
    name = f"both-{len(seeds)}"
    for folder, own in (("ann", [0, 1, 2]), ("bob", seeds)):
        plan = finished(tmp_path / folder, name, str(own))
        mlflow_sync.sync(name, plan.replicates, uri)
    with pytest.raises(RunError) as refused:
        analysis.load(uri, experiment=name)
    text = str(refused.value)
    assert "has runs of 2 folders, which are not taken together" in text
    assert f"{tmp_path}/ann/runs/{name}" in text
    assert "analysis.load(…, origin=" in text
    origins = [(tmp_path / own / "runs" / "_sync" / name / "origin.txt").read_text().strip() for own in ("ann", "bob")]
    assert all(f"origin='{one}'" in text for one in origins)
    for who, origin, those in (("ann", origins[0], [0, 1, 2]), ("bob", origins[1][:8], seeds)):
        found = analysis.load(uri, experiment=name, origin=origin)
        assert found.frame["seed"].tolist() == those * 2
        assert f"{tmp_path}/{who}/runs/{name}" in repr(found)
        assert found.folder == tmp_path / who / "runs" / name
    with pytest.raises(RunError, match="no folder has the origin 'nobody'; "):
        analysis.load(uri, experiment=name, origin="nobody")


def test_an_origin_goes_with_a_tracking_uri(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is no tracking URI; `origin`"):
        analysis.load(tmp_path, origin="1234")
