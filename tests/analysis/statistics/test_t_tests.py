import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from analysis.statistics.t_tests import equivalence_test, holm, paired_test, slopes_on_rank, t_interval, welch_interval


def test_a_paired_test_equals_the_textbook_computation():
    differences = [1.0, 2.0, 4.0, 5.0]
    test = paired_test(differences)
    # mean 3, sum of squares 10, sd sqrt(10/3), standard error sqrt(10/12), t = 3.2863 with 3 degrees of freedom
    assert (test.n, test.mean) == (4, 3.0)
    assert test.sd == pytest.approx(math.sqrt(10 / 3))
    half = 3.182446305284263 * math.sqrt(10 / 12)  # t(0.975, 3) from a table
    assert test.interval == pytest.approx((3 - half, 3 + half))
    assert test.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert test.p_greater == pytest.approx(test.p / 2)
    assert paired_test([-value for value in differences]).p_greater == pytest.approx(1 - test.p / 2)


@pytest.mark.parametrize(
    ("differences", "n", "mean"),
    [([], 0, None), ([2.5], 1, 2.5), ([0.0, 0.0], 2, 0.0), ([3.0, 3.0, 3.0], 3, 3.0), ([1e300, 1e300], 2, 1e300)],
)
def test_nothing_is_claimed_where_there_is_no_spread(differences, n, mean):
    test = paired_test(differences)
    assert (test.n, test.mean, test.interval, test.p, test.p_greater) == (n, mean, None, None, None)


def test_rounding_is_no_spread():
    differences = np.array([1e6 + 0.1, 2e6 + 0.1, 3e6 + 0.1]) - np.array([1e6, 2e6, 3e6])
    assert differences.std() > 0
    assert paired_test(differences, size=3e6).p is None


def test_overflow_is_not_testable():
    assert paired_test([1.7e308, 1.7e308, -1.0]).p is None


def test_holm_equals_a_computation_by_hand():
    # sorted: .005 x 4 = .02, .01 x 3 = .03, .03 x 2 = .06, .04 x 1 = .04 -> .06 (never below the one before)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_that_of_statsmodels(p_values):
    with patch("gc.collect"):  # statsmodels collects garbage each time, which takes half a second where much is alive
        expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected.tolist(), abs=1e-12)


def test_an_untested_hypothesis_counts_in_the_family():
    assert holm([0.02, None, 0.5]) == pytest.approx([0.06, None, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 7))
def test_holm_is_at_least_p_keeps_the_order_and_only_gains_when_a_missing_test_arrives(p_values, position):
    adjusted = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, adjusted, strict=True))
    ranks = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[ranks]) >= 0)
    missing = position % len(p_values)
    without = holm([None if i == missing else p for i, p in enumerate(p_values)])
    assert all(before is None or after <= before for before, after in zip(without, adjusted, strict=True))


@pytest.mark.parametrize("n", [3, 5, 8])
def test_intervals_cover_the_truth_as_often_as_they_say(n):
    draws = np.random.default_rng(n).normal(7.0, 3.0, size=(2000, n))
    intervals = [t_interval(row) for row in draws]
    covered = np.mean([low <= 7.0 <= high for low, high in intervals])
    assert covered == pytest.approx(0.95, abs=0.015)  # three standard errors of 2000 draws


def test_equivalence_is_two_one_sided_tests_at_the_edges():
    first, second = [10.0, 12.0, 11.0, 13.0, 10.5], [10.5, 11.8, 11.9, 13.1, 10.2]
    difference = np.subtract(second, first)
    test = equivalence_test(first, second, margin=1.0)
    lower = stats.ttest_1samp(difference, -1.0, alternative="greater").pvalue
    upper = stats.ttest_1samp(difference, 1.0, alternative="less").pvalue
    assert test.p_within == pytest.approx(max(lower, upper))
    assert test.p_beyond == 1.0
    assert test.difference == paired_test(difference, size=13.1)
    far = equivalence_test(first, np.add(second, 5), margin=1.0)
    assert far.p_beyond == pytest.approx(2 * stats.ttest_1samp(difference + 5, 1.0, alternative="greater").pvalue)
    assert far.p_within > 0.99


@pytest.mark.parametrize("margin", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_equivalence_equals_that_of_statsmodels(n, margin):
    first, second = np.random.default_rng(n).normal([[10.0], [10.4]], 1.0, size=(2, n))
    p, lower, upper = ttost_paired(second, first, -margin, margin)
    test = equivalence_test(first, second, margin=margin)
    assert test.p_within == pytest.approx(p)
    assert (test.above.p_greater, test.below.p_greater) == (pytest.approx(lower[1]), pytest.approx(upper[1]))


def test_a_share_as_margin_is_uncertain_itself():
    first, second = np.array([100.0, 140.0, 80.0, 120.0]), np.array([103.0, 139.0, 82.0, 121.0])
    test = equivalence_test(first, second, share=0.1)
    lower = stats.ttest_1samp(second - 0.9 * first, 0, alternative="greater").pvalue
    upper = stats.ttest_1samp(1.1 * first - second, 0, alternative="greater").pvalue
    assert test.p_within == pytest.approx(max(lower, upper))
    assert test.p_within > equivalence_test(first, second, margin=11.0).p_within  # 11 is a tenth of the mean, if known


@pytest.mark.parametrize(("first", "second"), [([], []), ([1.0], [2.0]), ([1.0, 2.0], [1.0, 2.0]), ([1, 2], [2, 3])])
def test_equivalence_is_not_claimed_where_differences_have_no_spread(first, second):
    test = equivalence_test(first, second, margin=5.0, share=0.1)
    assert (test.p_within, test.p_beyond) == (None, None)


def test_slopes_are_those_of_least_squares_per_seed():
    scores = np.random.default_rng(0).normal(size=(6, 4))
    expected = [np.polyfit(range(4), row, 1)[0] for row in scores]
    assert slopes_on_rank(scores) == pytest.approx(expected)
    assert slopes_on_rank(np.array([[1.0, 4.0]])) == pytest.approx([3.0])
    assert slopes_on_rank(np.empty((0, 3))).shape == (0,)


def test_welchs_interval_is_that_of_scipy() -> None:
    first, second = np.array([1.0, 2.5, 3.0, 7.0]), np.array([2.0, 2.1, 9.0])
    expected = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    assert welch_interval(first, second) == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize(
    ("first", "second"), [([1.0], [1.0, 2.0]), ([1.0, 1.0], [2.0, 2.0]), ([1.0, np.inf], [1.0, 2.0])]
)
def test_welchs_interval_needs_two_values_and_some_spread(first: list[float], second: list[float]) -> None:
    assert welch_interval(first, second) is None
