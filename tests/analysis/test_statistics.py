import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import holm, paired_differences, paired_test, seeds_needed, t_interval


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
    better, worse = pd.Series([1e6 + 0.1, 2e6 + 0.1, 3e6 + 0.1]), pd.Series([1e6, 2e6, 3e6])
    differences = paired_differences(better, worse)
    assert differences.std() > 0
    assert paired_test(differences, size=3e6).p is None


def test_overflow_is_not_testable():
    assert paired_test([1.7e308, 1.7e308, -1.0]).p is None


def test_pairs_are_made_by_seed_and_only_of_finite_scores():
    first = pd.Series([1.0, 2.0, math.nan, 4.0, math.inf], index=[0, 1, 2, 3, 4])
    second = pd.Series([40.0, 10.0, 1.0, 5.0], index=[3, 0, 2, 4])
    assert paired_differences(first, second).to_dict() == {0: -9.0, 3: -36.0}


def test_holm_equals_a_computation_by_hand():
    # sorted: .005 x 4 = .02, .01 x 3 = .03, .03 x 2 = .06, .04 x 1 = .04 -> .06 (never below the one before)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


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


def test_the_seeds_needed_have_the_promised_power_and_one_fewer_has_not():
    n = seeds_needed(1.5, 1.0, power=0.8)
    generator = np.random.default_rng(0)

    def power(seeds):
        draws = generator.normal(1.5, 1.0, size=(4000, seeds))
        return np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue <= 0.05)

    assert power(n) >= 0.78
    assert power(n - 1) < 0.8


def test_seeds_needed_grow_with_noise_and_end_somewhere():
    assert seeds_needed(1.0, 0.5) < seeds_needed(1.0, 1.0) < seeds_needed(-1.0, 2.0)
    assert seeds_needed(1.0, 1e-9) == 2 or seeds_needed(1.0, 1e-9) == 3
    assert seeds_needed(1e-9, 1.0) is None
    assert seeds_needed(0.0, 0.0) is None
