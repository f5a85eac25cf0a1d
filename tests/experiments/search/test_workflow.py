"""Launching and retrying as functions, as a notebook calls them."""

from pathlib import Path

from experiments.launch.launching import make_run_folders
from experiments.record.recording import Recorder
from experiments.search.workflow import Nobody, launch, retry
from tests.fixtures.toy_replicates import plan_of


class Lines(Nobody):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def line(self, text: str) -> None:
        self.said.append(text)


def test_a_failed_replicate_is_left_by_launch_and_brought_to_its_end_by_retry(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "seeds=[0]", "floors=[]", only=("baseline",))
    (replicate,) = make_run_folders(plan, {"commit": "", "changed": False, "snapshot": ""})
    Recorder(replicate.training).event("failed", error="RunError: made up")
    left = launch(plan, "debug")
    assert (left.launched.submitted, left.waits) == ([], False)
    assert left.unfinished[0].startswith("baseline seed 0: failed: RunError: made up; mend the cause")
    assert left.unfinished[-1] == "1 of 1 replicates are not done"
    lines = Lines()
    again = retry(plan, "debug", watcher=lines)
    assert lines.said == ["1 failed or cancelled replicates are tried again"]
    assert (again.launched.submitted, again.unfinished) == (["baseline seed 0"], [])
    assert again.report is not None
    assert "1/1" in (again.report.folder / "table.md").read_text()
    assert replicate.state == "done"
