"""Which arm of a table is marked as best, and which as not distinguishable from it."""

import csv
import io
import json
import math

import pytest

from analysis.results.results_frame import load
from analysis.tables.best_arms import AS_BEST, BEST, best_arms
from analysis.tables.rendering import scores_table
from analysis.tables.score_table import summary
from registry.experiment.claims import Direction
from tests.fixtures.replicates import replicates

SCORES = {
    "far": [20.0, 21.0, 22.5, 23.0],
    "best": [10.0, 11.0, 12.0, 13.0],
    "near": [10.4, 10.8, 12.6, 12.9],  # differs by +0.4, -0.2, +0.6, -0.1: t = 0.9
    "unfinished": [1.0, None, 1.0, 1.0],
}


def test_the_best_mean_and_what_the_seeds_cannot_tell_from_it() -> None:
    frame = load(replicates(SCORES))
    assert best_arms(frame, "fvd", "min") == {"best": BEST, "near": AS_BEST}
    assert best_arms(frame, "fvd", "max") == {"far": BEST}
    assert best_arms(frame, "fvd", None) == {}  # nobody knows which way it is better


def test_more_arms_make_the_rule_more_cautious() -> None:
    """Differences of 1, 2, 3 have p = 0.074; of 2, 2.5, 3.5 p = 0.026, which Holm doubles beside another arm."""
    alone = {"a": [0.0, 0.0, 0.0], "b": [2.0, 2.5, 3.5]}
    assert best_arms(load(replicates(alone)), "fvd", "min") == {"a": BEST}
    with_another = {**alone, "c": [1.0, 2.0, 3.0]}
    assert best_arms(load(replicates(with_another)), "fvd", "min") == {"a": BEST, "b": AS_BEST, "c": AS_BEST}


@pytest.mark.parametrize("scores", [{"a": [1.0, 2.0]}, {"a": [1.0], "b": [2.0]}, {"a": [1.0, 2.0], "b": [2.0, None]}])
def test_nothing_is_best_without_two_finished_arms_of_two_seeds(scores: dict[str, list[float | None]]) -> None:
    assert best_arms(load(replicates(scores)), "fvd", "min") == {}


def test_a_difference_without_spread_cannot_be_tested() -> None:
    assert best_arms(load(replicates({"a": [1.0, 2.0], "b": [1.5, 2.5]})), "fvd", "min") == {"a": BEST, "b": AS_BEST}


def captions(scores: dict[str, list[float | None]], direction: Direction | None = "min") -> str:
    directions: dict[str, Direction] = {"fvd": direction} if direction else {}
    return "\n".join(summary(load(replicates(scores)), ["fvd"], directions=directions).captions)


def test_a_table_says_which_arms_take_no_part_and_why_none_is_marked() -> None:
    some = "fvd: the best is one of the arms whose planned seeds are all scored; left out: unfinished (3 of 4)"
    assert f"\n{some}\n* best mean" in captions(SCORES)
    full = {"a": [1.0, 2.0], "b": [2.0, 3.0]}
    none = "fvd: no best mean is marked: that takes two arms with two planned seeds or more, all scored"
    assert "left out" not in captions(full)
    assert f"{none}; left out: b (1 of 2)" in captions({**full, "b": [2.0, math.nan]})
    assert f"{none}; left out: a (1 of 1), b (1 of 1)" in captions({"a": [1.0], "b": [2.0]})
    many = {f"arm {number}": [1.0, None] for number in range(9)}
    assert "left out: arm 0 (1 of 2), arm 1 (1 of 2), arm 2 (1 of 2), arm 3 (1 of 2) and 5 more" in captions(many)


@pytest.mark.parametrize(
    ("scores", "direction"),
    [({"a": [1.0, None]}, "min"), ({"a": [None, None], "b": [None, None]}, "min"), ({"a": [1.0], "b": [2.0]}, None)],
)
def test_where_nothing_is_to_be_compared_nothing_is_said(
    scores: dict[str, list[float | None]], direction: Direction | None
) -> None:
    assert "best" not in captions(scores, direction)


def shown(form: str) -> str:
    return scores_table(load(replicates(SCORES)), ["fvd"], form, "x", directions={"fvd": "min"})


def test_every_form_marks_them_and_says_by_which_rule() -> None:
    for form, best, near in (
        ("table", "11.5 ± 1.3 *", "11.7 ± 1.3 ≈"),
        ("md", "**11.5 ± 1.3**", "11.7 ± 1.3 ≈"),
        ("tex", r"\textbf{11.5 $\pm$ 1.3}", r"11.7 $\pm$ 1.3 $\approx$"),
        ("html", "<strong>11.5 ± 1.3 *</strong>", "<td>11.7 ± 1.3 ≈</td>"),
    ):
        text = shown(form)
        assert best in text, form
        assert near in text, form
        assert "≈ not distinguishable from it: t-test over shared seeds" in " ".join(text.split()), form
    marks = {row["arm"]: row["fvd mark"] for row in csv.DictReader(io.StringIO(shown("csv")))}
    assert marks == {"far": "", "best": "best", "near": "not distinguishable", "unfinished": ""}
    assert {row["arm"]: row["fvd mark"] for row in json.loads(shown("json"))["arms"]} == marks


def test_forms_for_files_name_the_runs() -> None:
    frame = load(replicates({"a--b": [1.0, 2.0]}))
    frame["folder"] = ["r/_trainings/t/seed-0/evaluations/e", "r/_trainings/t/seed-1/evaluations/e"]
    runs = "t/seed-0/e, t/seed-1/e"
    html = scores_table(frame, ["fvd"], "html")
    comment = html[html.index("<!--") + 4 : html.index("-->")]
    assert runs in comment
    assert "--" not in comment  # which would end it
    assert f"% a--b: {runs}" in scores_table(frame, ["fvd"], "tex")
    assert runs in scores_table(frame, ["fvd"], "md").split("<!--")[1]
    (row,) = csv.DictReader(io.StringIO(scores_table(frame, ["fvd"], "csv")))
    assert row["runs"].split() == runs.split(", ")
    assert runs not in scores_table(frame, ["fvd"], "table")
