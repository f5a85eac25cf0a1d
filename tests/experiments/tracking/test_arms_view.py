"""The view that an experiment's page in MLflow begins with; tests/browser looks at it in a browser."""

import json
from typing import Any

from experiments.tracking.arms_view import MOST_CHARTS, NAME, TAG, arms_view
from experiments.tracking.run_contents import LONGEST


def view(*words: Any) -> dict[str, Any]:
    """The view in the tag's value."""
    envelope = json.loads(arms_view(*words))
    assert envelope["name"] == NAME
    found = json.loads(envelope["state"])
    assert isinstance(found, dict)
    return found


def test_scores_are_columns_and_bars_and_curves_are_lines() -> None:
    found = view(["fvd/x"], ["loss"], ["resources/seconds"])
    assert found["selectedColumns"] == [
        "metrics.`fvd/x`", "metrics.`resources/seconds`", "tags.`seed`", "tags.`state`"
    ]  # fmt: skip
    charts = [(chart["type"], chart["metricKey"]) for chart in found["compareRunCharts"]]
    assert charts == [("BAR", "fvd/x"), ("LINE", "loss")]
    assert [one["uuid"] for one in found["compareRunSections"]] == [
        chart["metricSectionId"] for chart in found["compareRunCharts"]
    ]
    assert found["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "arm"}]


def test_without_scores_there_is_no_empty_heading() -> None:
    assert view([], ["loss"])["compareRunSections"] == view([], ["loss", "validation_loss"])["compareRunSections"]
    assert view([], [])["compareRunSections"] == []


def test_what_mlflow_keeps_of_a_tag_is_enough() -> None:
    scores, curves = ([f"{kind}/{number}-{'n' * 60}" for number in range(20)] for kind in ("fvd", "loss"))
    assert len(arms_view(scores, curves)) <= LONGEST["tag"]
    charts = view(scores, curves)["compareRunCharts"]
    assert 0 < len(charts) < 2 * MOST_CHARTS, "the least important are left out"
    assert TAG == "mlflow.sharedViewState.arms"
