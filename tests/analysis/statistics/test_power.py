import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from analysis.statistics.power import (
    MOST_SEEDS,
    one_sided_power,
    seeds_to_be_beyond,
    seeds_to_be_within,
    seeds_to_differ,
)
from analysis.statistics.t_tests import equivalence_test

EXPERIMENTS = 4000
CHANCE = 3 * (0.8 * 0.2 / EXPERIMENTS) ** 0.5


def draws(mean, seeds):
    return np.random.default_rng(seeds).normal(mean, 1.0, size=(EXPERIMENTS, seeds))


@pytest.mark.parametrize(("size", "n", "alpha"), [(0.5, 5, 0.05), (1.5, 3, 0.025), (3.0, 8, 0.01), (-0.3, 4, 0.05)])
def test_the_power_is_that_of_the_noncentral_t(size, n, alpha):
    critical = stats.t.isf(alpha, n - 1)
    assert one_sided_power(size, n, alpha) == pytest.approx(stats.nct.sf(critical, n - 1, size * n**0.5), abs=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3, 0.001])
@pytest.mark.parametrize("size", [0.12, 0.3, 0.8, 1.2, 2.0, 3.0, 5.0, 5.5, 8.0, 20.0])
def test_the_seeds_to_differ_are_those_of_statsmodels(size, alpha):
    def power(n):  # that the mean is found on its own side; statsmodels' two-sided power is NaN for a large size
        return TTestPower().power(size, n, alpha / 2, alternative="larger")

    needed = seeds_to_differ(size, 1.0, alpha=alpha)
    if needed is None:
        assert power(MOST_SEEDS) < 0.8
    else:
        assert power(needed) >= 0.8
        assert needed == 2 or power(needed - 1) < 0.8


@pytest.mark.parametrize("alpha", [0.05, 0.025, 0.0005])
def test_the_power_is_a_number_that_grows_with_the_seeds(alpha):
    for size in (0.1, 1.0, 4.5, 5.0, 6.3, 20.0, 300.0):
        powers = [one_sided_power(size, n, alpha) for n in (*range(2, 80), 200, 500, 1000)]
        assert np.all(np.isfinite(powers))
        assert np.min(np.diff(powers)) >= -1e-12  # rounding of numbers near one


def test_the_seeds_to_differ_have_the_promised_power_and_one_fewer_has_not():
    n = seeds_to_differ(1.5, 1.0, power=0.8)

    def power(seeds):
        return np.mean(stats.ttest_1samp(draws(1.5, seeds), 0, axis=1).pvalue <= 0.05)

    assert power(n) >= 0.8 - CHANCE
    assert power(n - 1) < 0.8 + CHANCE
    assert power(n - 2) < 0.8


def test_the_seeds_to_be_within_have_the_promised_power():
    first, second = np.zeros(4), np.array([-1.0, 1.0, -1.0, 1.0]) * (3 / 4) ** 0.5  # mean 0, sd 1
    n = seeds_to_be_within(equivalence_test(first, second, margin=1.5), power=0.8)

    def power(seeds):
        differences = draws(0.0, seeds)
        lower = stats.ttest_1samp(differences, -1.5, axis=1, alternative="greater").pvalue
        upper = stats.ttest_1samp(differences, 1.5, axis=1, alternative="less").pvalue
        return np.mean(np.maximum(lower, upper) <= 0.05)

    assert power(n) >= 0.8 - CHANCE
    assert power(n - 2) < 0.8


def test_seeds_grow_with_noise_and_end_somewhere():
    assert seeds_to_differ(1.0, 0.5) < seeds_to_differ(1.0, 1.0) < seeds_to_differ(-1.0, 2.0)
    assert seeds_to_differ(1.0, 1e-9) in (2, 3)
    assert seeds_to_differ(1e-9, 1.0) is None
    assert seeds_to_differ(0.0, 0.0) is None


def test_equivalence_asks_for_more_seeds_nearer_to_the_edge_and_for_none_on_the_other_side():
    first = np.array([10.0, 11.0, 12.0, 10.5])
    noise = np.array([0.1, -0.2, 0.15, -0.05])
    needed = [seeds_to_be_within(equivalence_test(first, first + shift + noise, margin=1.0)) for shift in (0, 0.8, 0.9)]
    assert needed[0] < needed[1] < needed[2]
    outside = equivalence_test(first, first + 1.2 + noise, margin=1.0)
    assert seeds_to_be_within(outside) is None
    assert seeds_to_be_beyond(outside) >= 2
    assert seeds_to_be_beyond(equivalence_test(first, first + noise, margin=1.0)) is None
