"""Runs whose videos have a place: on another machine, where these have none, they are read all the same."""

from pathlib import Path

from registry.runs.records import State
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import plan_of


def states(folder: Path, videos: Path) -> set[State]:
    plan = plan_of(folder, "data.dataset=video_folder", f"data.path={videos}")
    return {replicate.state for replicate in plan.replicates}


def test_runs_are_read_where_their_videos_are_not(tmp_path: Path) -> None:
    there, elsewhere, here = tmp_path / "there", tmp_path / "elsewhere", tmp_path / "here"
    there.mkdir()
    finish(plan_of(tmp_path, "data.dataset=video_folder", f"data.path={there}"), lambda one: {"fvd": 1.0 + one.seed})
    assert states(tmp_path, there) == {State.DONE}
    assert states(tmp_path, elsewhere) == {State.MISSING}  # a place that is not there, on the machine that made them
    there.rmdir()
    assert states(tmp_path, elsewhere) == {State.DONE}
    here.mkdir()
    assert states(tmp_path, here) == {State.MISSING}  # other videos may lie there
