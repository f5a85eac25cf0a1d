"""Names in figures: nothing is cut, nothing lies over what is drawn, and one point can be seen."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from analysis.figures.arm_figures import curves_figure, samples_figure, scores_figure
from analysis.figures.searches import history_figure, importances_figure, pareto_figure, slices_figure
from analysis.figures.text import fold, width_of
from analysis.results.results_frame import load
from tests.fixtures.replicates import floor, replicates

LONG = "blocks=variant_5(window=4,heads=2),learning_rate=0.0001,spatial_position=rotary,norm=rms_norm,x"
SLACK = 2.0  # pixels of 100 an inch: hinting moves the edges of letters by less than one on either side


def names(length: int, arms: int) -> list[str]:
    """So many different names of that length."""
    return [f"{number:02d}{LONG}"[:length] for number in range(arms)]


def drawn(figure: Figure) -> tuple[dict[str, list[Bbox]], Bbox]:
    """Every text that is shown, without its line breaks, with where it stands; and the figure's edge."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    places: dict[str, list[Bbox]] = {}
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_text().strip() and text.get_visible():
            box = text.get_window_extent(canvas.get_renderer())
            places.setdefault(text.get_text().replace("\n", ""), []).append(box)
    return places, figure.bbox


def assert_whole(figure: Figure, wanted: list[str], *, legend: bool = False) -> None:
    """Each of the names is shown whole and within the figure, and a legend beside all axes."""
    places, edge = drawn(figure)
    for name in wanted:
        found = [box for text, own in places.items() if name.replace(" ", "") in text.replace(" ", "") for box in own]
        assert found, (name, list(places))
        for box in found:
            assert edge.x0 - SLACK <= box.x0 <= box.x1 <= edge.x1 + SLACK, name
            assert edge.y0 - SLACK <= box.y0 <= box.y1 <= edge.y1 + SLACK, name
    assert bool(figure.legends) is legend
    for own in figure.legends:
        where = own.get_window_extent()
        assert not any(where.overlaps(axes.get_window_extent()) for axes in figure.axes)


def panel(figure: Figure) -> Axes:
    (axes,) = figure.axes
    return axes


@pytest.mark.parametrize("arms", [2, 12])
@pytest.mark.parametrize("length", [5, 40, 90])
def test_names_of_arms_are_whole_and_outside_of_what_is_drawn(length: int, arms: int) -> None:
    wanted = names(length, arms)
    frame = load(replicates({name: [10.0 + place, 12.0 + place] for place, name in enumerate(wanted)}))
    figure = scores_figure(frame, "fvd", floors=[floor([1.0, 2.0])])
    assert_whole(figure, [*wanted, "fvd, protocol p", "circle: seed", "real halves"])
    assert panel(figure).get_position().width * figure.get_figwidth() > 2.5  # inches are left to draw in
    places, _ = drawn(figure)
    boxes = [box for name in wanted for box in places[f"{name}n = 2"]]
    heights = sorted(box.y0 for box in boxes)
    assert min(np.diff(heights)) >= max(box.height for box in boxes)  # one name does not stand on the next
    metrics = {
        (name, seed): [{"step": step, "loss": 1.0 + place + seed} for step in (10, 20)]
        for place, name in enumerate(wanted)
        for seed in (0, 1)
    }
    curves = curves_figure(metrics, "loss", log=True)
    assert_whole(curves, [f"{name} (n = 2)" for name in wanted], legend=True)
    assert panel(curves).get_position().height * curves.get_figheight() > 2.5


def test_a_curve_of_one_step_is_a_point_with_a_bar() -> None:
    metrics = {("a", 0): [{"step": 7, "loss": 1.0}], ("a", 1): [{"step": 7, "loss": 3.0}]}
    axes = panel(curves_figure({**metrics, ("b", 0): [{"step": 7, "loss": 2.0}]}, "loss"))
    assert [line.get_marker() for line in axes.lines] == ["o", "o"]
    assert axes.get_xticks().tolist() == [7]
    (bar,) = axes.collections
    assert bar.get_paths()[0].vertices[:, 1].tolist() == [1.0, 3.0]
    assert "point: mean of the seeds" in axes.get_xlabel()
    few, many = (
        panel(curves_figure({**metrics, ("b", 0): [{"step": s, "loss": 2.0} for s in range(1, last)]}, "loss"))
        for last in (3, 12)
    )
    assert [[line.get_marker() for line in axes.lines] for axes in (few, many)] == [["o", "o"], ["o", "None"]]
    assert few.get_xticks().tolist() == [1, 2, 7]


def test_the_title_of_samples_is_folded(tmp_path: Path) -> None:
    clips = np.zeros((1, 2, 8, 8, 3), dtype=np.uint8)
    title = f"toy: {LONG},{LONG},{LONG}, seed 0, step 300"
    figure = samples_figure(clips, clips, tmp_path / "samples.png", title=title)
    assert_whole(figure, [title, "real, time to the right"])


@pytest.mark.parametrize("key", ["a", "model.blocks.a_parameter_with_a_very_long_name_that_goes_on_and_on"])
@pytest.mark.parametrize("count", [1, 3, 12])
def test_names_in_the_figures_of_a_search_are_whole(key: str, count: int) -> None:
    choices = [f"variant_{number}(window=4,heads=2)" for number in range(count)]
    numbers = range(count)
    trials = pd.DataFrame({
        "trial": numbers, "state": "complete", key: choices, "depth": [2.0 + n for n in numbers],
        "fvd[moving_shapes_r3d]": [5.0 + n for n in numbers], "macs": [9.0 - n for n in numbers],
    })  # fmt: skip
    goals = {"fvd[moving_shapes_r3d]": "min", "macs": "min"}
    objective = "fvd[moving_shapes_r3d]"
    assert_whole(slices_figure(trials, objective, {key: "choices", "depth": "linear"}, [0]), [key, *choices, objective])
    assert_whole(importances_figure({goal: {key: 0.7, "depth": 0.3} for goal in goals}), [key, *goals], legend=True)
    assert_whole(pareto_figure(trials, goals, [0]), [f"{goal} (lower is better)" for goal in goals], legend=True)
    assert_whole(history_figure(trials, objective, "min"), [f"{objective} (lower is better)"], legend=True)


def test_a_name_is_folded_between_its_words_and_never_within_a_number() -> None:
    folded = fold("blocks=variant_2,learning_rate=0.0001,weight_decay=1e-05", 1.5)
    assert folded.replace("\n", "") == "blocks=variant_2,learning_rate=0.0001,weight_decay=1e-05"
    assert all(width_of(line) <= 1.5 for line in folded.split("\n"))
    assert any("0.0001" in line for line in folded.split("\n"))
    assert any("1e-05" in line for line in folded.split("\n"))
    assert fold("x" * 40, 0.5).replace("\n", "") == "x" * 40
    assert fold("short", 0.01) == "\n".join("short")
    assert fold("$x_", 9) == "$x_"


def test_signs_of_mathematics_are_signs() -> None:
    frame = load(replicates({"a=$\\frac$": [1.0, 2.0], "b": [2.0, 3.0]}))
    assert_whole(scores_figure(frame, "fvd"), ["a=$\\frac$"])
    metrics = {("a=$\\frac$", 0): [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 1.0}]}
    assert_whole(curves_figure(metrics, "loss"), ["a=$\\frac$ (n = 1)"], legend=True)
