"""Arms that a screen has stopped: named as such everywhere, and never evidence."""

from pathlib import Path
from typing import Any

import pytest

from analysis.results import results_frame
from analysis.results.stopped import NOTE, reasons
from analysis.tables import rendering, score_table
from analysis.verdicts.judging import judge
from registry.runs.places import DESIRED
from registry.runs.records import Desired
from tests.fixtures.replicates import claim, equivalent, improving, replicates

REASON = "screened out at step 1000, 14th of 27"


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, Any]]:
    """Three arms of six seeds; `c` would be far the best, and was stopped at its third seed."""
    found = replicates({
        "baseline": [1.0, 1.1, 1.2, 1.0, 1.1, 1.2],
        "b": [2.0, 2.2, 2.1, 2.3, 2.0, 2.1],
        "c": [0.1, 0.1, None, None, None, None],
    })  # fmt: skip
    for row in found:
        if row["result"] is None:
            folder = tmp_path / row["arm"] / f"seed-{row['seed']}"
            (folder / DESIRED).mkdir(parents=True)
            for experiment, reason in (("made_up", REASON), ("another", "screened out elsewhere")):
                wish = Desired(experiment=experiment, arm=row["arm"], action="stop", reason=reason)
                (folder / DESIRED / f"{experiment}.json").write_text(wish.model_dump_json())
            row |= {"state": "stopped", "folder": str(folder)}
    return found


def test_the_reason_is_read_from_the_run_folder(rows: list[dict[str, Any]]) -> None:
    assert reasons(results_frame.load(rows)) == {"c": REASON}
    assert reasons(results_frame.load(row for row in rows if row["arm"] != "c")) == {}


def test_tables_say_so_in_the_row_and_below(rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a narrow terminal folds the reason
    summary = score_table.summary(results_frame.load(rows), ["fvd"])
    assert NOTE in summary.notes
    assert dict(zip(summary.rows["arm"], summary.rows["stopped"], strict=True)) == {
        "baseline": "",
        "b": "",
        "c": REASON,
    }
    for form in ("table", "md", "tex", "json", "csv"):
        text = rendering.scores_table(results_frame.load(rows), ["fvd"], form)
        assert REASON in " ".join(text.split()), form
        assert form == "csv" or NOTE in text
    without = score_table.summary(results_frame.load(row for row in rows if row["arm"] != "c"), ["fvd"])
    assert NOTE not in without.notes
    assert "stopped" not in without.rows


@pytest.mark.parametrize(
    "about", [claim("c", "b"), claim("b", "c"), equivalent("c", "b", margin=9.0), improving("b", "baseline", "c")]
)
def test_no_claim_is_judged_by_an_arm_that_was_stopped(rows: list[dict[str, Any]], about: Any) -> None:
    (answer,) = judge(results_frame.load(rows), [about])
    assert (answer.verdict, answer.p) == ("undecided", None)
    assert f"arm 'c' was stopped early ({REASON}), which says nothing about a claim" in answer.reason


def test_claims_about_the_others_are_judged_as_ever(rows: list[dict[str, Any]]) -> None:
    (answer,) = judge(results_frame.load(rows), [claim("baseline", "b")])
    assert answer.verdict == "supported"
