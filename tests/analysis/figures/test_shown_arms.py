"""Figures of very many arms: the baseline and the best, whatever their number, and a note that says so."""

import re
from pathlib import Path
from typing import Any

import pytest

from analysis.figures import report_figures
from analysis.figures.arm_figures import COLOURS, STYLES, scores_figure
from analysis.figures.report_figures import Results, drawings
from analysis.figures.shown_arms import MOST, shown_arms, shown_in_all
from analysis.report.page import PageData, report_page
from analysis.results.results_frame import load
from registry.runs.resolved_experiment import ResolvedArm, ResolvedExperiment
from tests.fixtures.replicates import replicates


def scores(arms: int) -> dict[str, list[float | None]]:
    """The baseline, the middle one, and arms whose scores fall; one of them was never run."""
    names = [f"arm-{number:03d}" for number in range(arms - 1)]
    found: dict[str, list[float | None]] = {name: [200.0 - number, 202.0 - number] for number, name in enumerate(names)}
    return {**found, names[-1]: [None, None], "baseline": [150.0, 150.0]}


def test_few_arms_are_all_shown_in_their_order() -> None:
    for arms in (2, MOST):
        found = shown_arms(load(replicates(scores(arms))), "fvd", "min")
        assert (list(found.names), found.note) == (list(scores(arms)), "")


def test_as_many_are_shown_as_curves_can_be_told_apart() -> None:
    assert len(COLOURS) * len(STYLES) == MOST


@pytest.mark.parametrize(("direction", "numbers"), [("min", range(37, 14, -1)), ("max", range(23)), (None, range(23))])
def test_of_many_arms_the_baseline_and_the_best_are_shown(direction: Any, numbers: range) -> None:
    found = shown_arms(load(replicates(scores(40))), "fvd", direction)
    assert found.names == ("baseline", *(f"arm-{number:03d}" for number in numbers))
    assert found.note.startswith("24 of 40 arms, the baseline and the ")
    assert ("best by fvd" in found.note) is (direction is not None)


def test_without_any_score_the_first_arms_are_shown() -> None:
    found = shown_in_all(load(replicates({f"arm-{n}": [None] for n in range(30)})), [])
    assert found.names == tuple(f"arm-{n}" for n in range(24))
    assert found.note == "24 of 30 arms, the first; the table has all"


def test_learning_curves_are_of_the_arms_of_the_first_score_with_a_direction() -> None:
    frame = load(replicates(scores(40)))
    frame["validation_loss"], frame["odd"] = -frame["fvd"], frame["fvd"]
    by_fvd = shown_arms(frame, "fvd", "min")
    assert shown_in_all(frame, ["odd", "validation_loss", "fvd"], {"validation_loss": "min", "fvd": "min"}) == by_fvd


def test_a_figure_says_which_arms_it_leaves_out() -> None:
    frame = load(replicates(scores(40)))
    figure = scores_figure(frame, "fvd", direction="min")
    names = [label.get_text().split("\n")[0] for label in figure.axes[0].get_yticklabels()]
    assert names[:2] == ["baseline", "arm-037"]
    assert len(names) == MOST
    assert "24 of 40 arms, the baseline and the best by fvd; the table has all" in figure.get_supxlabel()
    assert "the table has all" not in scores_figure(load(replicates(scores(MOST))), "fvd").get_supxlabel()


def page(folder: Path, arms: int) -> tuple[str, Results]:
    """The page of so many arms, each of which has logged something."""
    rows = replicates(scores(arms))
    for row in rows:
        place = folder / "_trainings" / row["arm"] / f"seed-{row['seed']}" / "evaluations" / "e"
        place.mkdir(parents=True)
        (place.parent.parent / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
        row["folder"] = str(place)
    results = Results(load(rows), directions={"fvd": "min"})
    resolved = ResolvedArm(identity="0123456789")
    about = ResolvedExperiment(
        experiment="made-up", digest="abc", arms=dict.fromkeys(scores(arms), resolved), seeds=(0, 1)
    )
    return report_page(PageData(about, results)), results


def test_pictures_of_many_arms_take_what_those_of_the_most_shown_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: what is read, what is drawn, and the bytes of a page beside its tables."""
    read: list[Path] = []
    read_metrics = report_figures.read_metrics

    def counted(folder: Path) -> list[dict[str, Any]]:
        read.append(folder)
        return read_metrics(folder)

    monkeypatch.setattr(report_figures, "read_metrics", counted)
    sizes = []
    for arms in (MOST, 2 * MOST, 3 * MOST):
        text, results = page(tmp_path / str(arms), arms)
        assert [one.kind for one in drawings(results)] == ["effects", "scores", "curves", "curves"]
        assert len(read) == 2 * MOST, "once for each replicate that is shown"
        read.clear()
        drawn = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
        assert len(drawn) == 2
        sizes.append((len(text), sum(map(len, drawn))))
        assert ("the table has all" in text) is (arms > MOST)
        assert all(f">{name}<" in text for name in scores(arms)), "the tables have every arm"
    (_, few), (more, many), (most, very_many) = sizes
    assert many < 1.2 * few
    assert very_many < 1.2 * few
    beside = [(whole - drawn) for whole, drawn in sizes]
    assert beside[2] - beside[1] < 1.2 * (beside[1] - beside[0]), "an arm more is a row more in each table"
    assert most < 2 * more
