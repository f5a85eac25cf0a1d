"""Warnings of how seeds scatter: what they see, what they leave alone, and how often chance alone sets them off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.results.results_frame import load
from analysis.statistics.scatter import chance_of_ratio, scatter_warnings, two_groups
from analysis.verdicts.judging import judge
from tests.fixtures.replicates import claim, improving, replicates

TRIALS = 4000


def told(scores):
    """Warnings of arms (arm -> scores) that are compared at one point."""
    return scatter_warnings("fvd", [tuple(scores)], np.array(list(scores.values())).T[:, None, :])


def test_an_arm_that_scatters_more_than_three_times_as_much_is_named_beside_the_verdict():
    quiet = [10.0, 10.2, 9.9, 10.1, 10.05]
    loud = [(value - 10) * 3.5 + 12 for value in quiet]
    for scores in ({"a": quiet, "b": loud}, {"b": loud, "a": quiet}):
        (warning,) = told(scores)
        assert "seeds of b scatter 3.5 times as much as those of a (n = 5; of normal arms that scatter alike" in warning
    assert not told({"a": quiet, "b": [(value - 10) * 2.9 + 12 for value in quiet]})
    assert not told({"a": quiet, "b": [9.0] * 5})  # no spread at all says something else
    frame = load(replicates({"a": quiet, "b": loud, "c": [9.0, 8.0, 9.5, 9.9, 7.7]}))
    answer, trend = judge(frame, [claim("a", "b"), improving("a", "b", "c")])
    (bare,) = judge(load(replicates({"a": quiet, "b": loud})), [claim("a", "b")])
    assert answer.warnings == (warning,) == bare.warnings
    assert answer.as_json()["warnings"] == [warning]
    assert "seeds of c scatter" in trend.warnings[0]  # the two that are least alike


def test_two_seeds_say_nothing_of_scatter():
    assert not told({"a": [1.0, 1.1], "b": [1.0, 9.0]})


@pytest.mark.parametrize(("ratio", "n"), [(3.0, 3), (3.0, 5), (4.0, 8)])
def test_the_chance_of_a_ratio_is_that_of_normal_arms(ratio, n):
    assert chance_of_ratio(ratio, n) == pytest.approx(2 * stats.f.sf(ratio**2, n - 1, n - 1))


def test_seeds_that_went_two_ways_are_told_apart():
    stuck = [0.54, 0.12, 0.53, 0.13, 0.12]
    low, high = two_groups(np.array(stuck))
    assert (list(low), list(high)) == ([0.12, 0.12, 0.13], [0.53, 0.54])
    (warning,) = [line for line in told({"a": stuck, "b": [0.3, 0.5, 0.1, 0.4, 0.2]}) if "groups" in line]
    assert "seeds of a fall into two groups, 3 from 0.12 to 0.13 and 2 from 0.53 to 0.54" in warning


@pytest.mark.parametrize(
    "values", [[], [1.0], [1.0, 9.0], [1.0, 1.1, 9.0], [1.0, 1.1, 1.05, 9.0], [1.0, 1.0, 1.0, 1.0]]
)
def test_one_that_stands_apart_and_fewer_than_four_are_no_two_groups(values):
    assert two_groups(np.array(values)) is None


@given(st.lists(st.floats(-1e300, 1e300), max_size=9), st.floats(0.1, 10), st.floats(-5, 5))
def test_groups_are_all_values_in_order(values, scale, shift):
    found = two_groups(np.array(values))
    if found is not None:
        assert np.concatenate(found).tolist() == sorted(values)
        assert min(map(len, found)) >= 2


@pytest.mark.parametrize("n", [4, 5, 6, 7, 8, 12])
@pytest.mark.parametrize("noise", ["normal", "heavy"])
def test_chance_makes_two_groups_of_about_one_arm_in_a_hundred(n, noise):
    draw = np.random.default_rng(n)
    values = draw.normal(size=(TRIALS, n)) if noise == "normal" else draw.standard_t(3, size=(TRIALS, n))
    share = sum(two_groups(own) is not None for own in values) / TRIALS
    assert share <= 0.015 + 3 * np.sqrt(0.015 / TRIALS)
