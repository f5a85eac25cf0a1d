"""What a browser shows first of an experiment: its runs grouped by arm, the columns that matter, and a chart a score.

Trials of a search are shown beside the arms. Runs of arms that the newest launch no longer has (other overrides, a file
that was edited) are left out: an arm of the same name stands for another network there.

MLflow keeps a view that somebody shares as a tag of the experiment, lists it in the menu "Views", and shows it where
the address names its key. Its form is documented nowhere: it is that of MLflow 3.17's own page, and tests/browser looks
at it in a real browser. A page of another version passes over what it does not know.
"""

import json
from collections.abc import Sequence
from typing import Any

from analysis.results.mlflow_names import REPLICATE
from experiments.tracking.run_contents import CURRENT, LONGEST

KEY = "arms"  # in the address: `viewStateShareKey=arms`
NAME = "Arms, mean over seeds"  # in the menu
TAG = f"mlflow.sharedViewState.{KEY}"  # of an experiment
SCORES, CURVES = "Scores, mean over seeds", "Curves, mean over seeds"  # headings of the charts
MOST_CHARTS = 8  # of either kind; MLflow makes charts of all other metrics below them
COMPARED, COMPARED_TRIALS = 20, 100  # groups in a bar chart, and where there are trials among them


def arms_view(scores: Sequence[str], curves: Sequence[str], further: Sequence[str] = (), searched: bool = False) -> str:
    """Return the view as the value of its tag: every arm with the mean over its seeds, in the order of their names.

    Args:
        scores: metrics with one value a run, the most important first: a column and a bar chart each.
        curves: metrics with values at several steps: a line chart each.
        further: other metrics that are columns only.
        searched: whether there are trials of a search, each of which is shown as an arm is.
    """
    columns = [*(f"metrics.`{name}`" for name in [*scores[:MOST_CHARTS], *further]), "tags.`seed`", "tags.`state`"]
    groups = COMPARED_TRIALS if searched else COMPARED
    charts = [_chart("BAR", SCORES, name, groups) for name in scores[:MOST_CHARTS]]
    charts += [_chart("LINE", CURVES, name, groups) for name in curves[:MOST_CHARTS]]
    while len(text := _envelope(_view(columns, charts, searched))) > LONGEST["tag"] and charts:
        charts.pop()
    return text


def _envelope(view: dict[str, Any]) -> str:
    """A view that has a name; a bare one is shown too, but not in the menu."""
    return _short({"name": NAME, "createdAt": 0, "updatedAt": 0, "state": _short(view)})


def _short(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _view(columns: list[str], charts: list[dict[str, Any]], searched: bool) -> dict[str, Any]:
    current = f"tags.{CURRENT} = 'yes'"  # which replicates and trials have, and no run above them
    headings = list(dict.fromkeys(chart["metricSectionId"] for chart in charts))
    return {
        "searchFilter": current if searched else f"tags.kind = '{REPLICATE}' and {current}",
        "orderByKey": "tags.`mlflow.runName`",  # by their start, the page puts the runs above them among them
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "arm"}]},
        "useGroupedValuesInCharts": True,
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": columns,
        "compareRunSections": [{"uuid": one, "name": one, "display": True, "isReordered": True} for one in headings],
        "isAccordionReordered": True,  # the headings in this order, not in that of the alphabet
        "compareRunCharts": charts,
    }


def _chart(kind: str, heading: str, metric: str, groups: int) -> dict[str, Any]:
    chart: dict[str, Any] = {"type": kind, "uuid": f"{kind}-{metric}", "metricSectionId": heading, "metricKey": metric}
    chart |= {"displayName": metric, "deleted": False, "isGenerated": False, "runsCountToCompare": groups}
    if kind == "BAR":
        return chart | {"dataAccessKey": metric}
    chart |= {"selectedMetricKeys": [metric], "xAxisKey": "step", "yAxisKey": "metric", "yAxisExpressions": []}
    chart |= {"xAxisScaleType": "linear", "scaleType": "linear", "range": {}, "lineSmoothness": 0}
    return chart | {"useGlobalXaxisKey": True, "useGlobalLineSmoothing": True}
