"""The figures of a search: every point where it belongs, and none that is not a result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from analysis.figures.searches import draw, history_figure, importances_figure, pareto_figure, slices_figure

SCALES: Mapping[str, Any] = {"learning_rate": "log", "blocks": "choices", "depth": "linear"}
TRIALS = pd.DataFrame({
    "trial": [0, 1, 2, 3, 4, 5],
    "state": ["complete", "pruned", "complete", "failed", "complete", "complete"],
    "pruned_at": [None, 3, None, None, None, None],
    "learning_rate": [1e-4, 1e-2, 1e-3, 1e-1, 2e-3, 3e-3],
    "blocks": ["b", "a", "a", "b", "b", "a"],
    "depth": [2.0, 4.0, 6.0, 2.0, 4.0, 6.0],
    "fvd": [5.0, np.nan, 4.0, np.nan, 6.0, 3.0],
    "macs": [1.0, np.nan, 2.0, np.nan, 3.0, 4.0],
})  # fmt: skip


def points(axes: Axes, label: str) -> list[tuple[float, float]]:
    """The points of the line of that label, or of the n-th line."""
    (line,) = [line for line in axes.get_lines() if line.get_label() == label]
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]


def test_history_shows_complete_trials_and_the_best_so_far() -> None:
    (axes,) = history_figure(TRIALS, "fvd", "min").axes
    assert points(axes, "complete") == [(0, 5), (2, 4), (4, 6), (5, 3)]
    assert points(axes, "best so far") == [(0, 5), (2, 4), (4, 4), (5, 3)]
    assert [x for x, _ in points(axes, "pruned")] == [1]
    assert [x for x, _ in points(axes, "failed")] == [3]
    (axes,) = history_figure(TRIALS, "fvd", "max").axes
    assert points(axes, "best so far") == [(0, 5), (2, 5), (4, 6), (5, 6)]
    assert "higher is better" in axes.get_ylabel()


def test_the_front_is_marked_and_numbered() -> None:
    (axes,) = pareto_figure(TRIALS, {"fvd": "min", "macs": "min"}, [0, 2, 5]).axes
    assert points(axes, "Pareto front") == [(3, 4), (4, 2), (5, 1)]
    assert [text.get_text() for text in axes.texts] == ["5", "2", "0"]
    assert len(pareto_figure(TRIALS.assign(more=1.0), {"fvd": "min", "macs": "min", "more": "min"}, [0]).axes) == 2


def test_slices_have_a_panel_for_every_key() -> None:
    panels = slices_figure(TRIALS, "fvd", SCALES, [5]).axes
    assert [axes.get_xlabel() for axes in panels] == list(SCALES)
    assert panels[0].get_xscale() == "log"
    assert [label.get_text() for label in panels[1].get_xticklabels()] == ["a", "b"]
    for axes in panels:
        assert sum(len(np.atleast_1d(line.get_xdata())) for line in axes.get_lines()) == 4


def test_importances_are_bars_of_their_length() -> None:
    (axes,) = importances_figure({"fvd": {"learning_rate": 0.75, "depth": 0.25}}).axes
    assert [bar.get_width() for bar in axes.patches] == [0.75, 0.25]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["learning_rate", "depth"]


@pytest.mark.parametrize("several", [True, False])
def test_what_is_drawn_follows_from_what_there_is(tmp_path: Path, several: bool) -> None:
    goals = {"fvd": "min", "macs": "min"} if several else {"fvd": "min"}
    shares = {"fvd": {"learning_rate": 1.0}}
    names = [path.stem for path in draw(tmp_path, TRIALS, SCALES, goals, shares, [5])]
    expected = [f"{kind}-{goal}" for kind in ("history", "slices") for goal in goals]
    assert names == [*expected, "importances", *(["pareto"] if several else [])]
    assert {path.stem for path in tmp_path.glob("*.png")} == set(names)
    assert draw(tmp_path, TRIALS[TRIALS["state"] != "complete"], SCALES, goals, {}, []) == []
