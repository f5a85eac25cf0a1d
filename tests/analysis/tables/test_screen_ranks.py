"""The order of arms at a rung beside their order in full, and how far the two agree."""

import pytest

from analysis.tables.screen_ranks import Rung, rank_lines

RUNG = Rung(100, "loss", ["a", "b", "c"])


@pytest.mark.parametrize(
    ("full", "told"),
    [
        ({"a": 1.0, "b": 2.0, "c": 3.0}, "of these, scored in full: a < b < c (rank correlation of the 3: 1.00)"),
        ({"a": 3.0, "b": 2.0, "c": 1.0}, "of these, scored in full: c < b < a (rank correlation of the 3: -1.00)"),
        ({"a": 2.0, "b": 2.0, "c": 2.0}, "of these, scored in full: a < b < c"),
        ({"a": 2.0, "b": 1.0}, "of these, scored in full: b < a"),
        ({}, "none of these is scored in full yet"),
    ],
)
def test_a_correlation_is_told_where_there_is_one(full: dict[str, float], told: str) -> None:
    assert rank_lines([RUNG], full) == [f"screen: at step 100 by loss: a < b < c; {told}"]
