"""The rule's own error rates, through the rule itself: the numbers of docs/statistics.md, on fewer cells."""

import numpy as np
import pytest

from analysis.results.results_frame import load
from analysis.statistics.power import seeds_to_differ
from analysis.statistics.t_tests import paired_test
from analysis.studies import simulation_tables
from analysis.studies.simulations import (
    ALPHA,
    DIFFERENCE_SD,
    GRIDS,
    NEXT_LEVEL,
    NOISE,
    SCENARIOS,
    SEEDS,
    Scenario,
    coverage,
    equivalence,
    estimates,
    false_share,
    order,
    over_grid,
    percentile_bootstrap,
    supported_share,
    worst_chance,
)
from analysis.verdicts.judging import judge
from analysis.verdicts.looks import History
from registry.errors import RunError
from registry.schema.claim import Margin
from tests.fixtures.replicates import replicates

EXPERIMENTS = 1000
BEGIN, END = "<!-- simulations: begin -->", "<!-- simulations: end -->"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("seeds", SEEDS)
def test_at_most_one_experiment_in_twenty_gets_any_false_verdict(scenario, seeds):
    assert false_share(scenario, NOISE["normal"], seeds, EXPERIMENTS) <= worst_chance(0.05, EXPERIMENTS)


@pytest.mark.parametrize("scenario", GRIDS, ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("seeds", [3, 8])
def test_a_main_effect_over_a_grid_is_found_falsely_no_more_often(scenario, seeds):
    assert false_share(scenario, NOISE["normal"], seeds, 400) <= worst_chance(0.05, 400)


@pytest.mark.parametrize("noise", ["skewed (log-normal)", "heavy-tailed (t, 3 degrees)"])
def test_other_noise_makes_no_more_false_orders(noise):
    assert false_share(SCENARIOS[1], NOISE[noise], 3, 300) <= worst_chance(0.05, 300)


@pytest.mark.parametrize("seeds", SEEDS)
def test_intervals_cover_the_truth_as_often_as_they_say_and_the_bootstrap_does_not(seeds):
    own = coverage(NOISE["normal"], seeds, EXPERIMENTS)
    chance = worst_chance(0.05, EXPERIMENTS) - 0.05
    for share in (own.t_mean, own.t_difference, own.t_unequal):
        assert share == pytest.approx(0.95, abs=chance)
    assert own.bootstrap_mean < 0.95 - chance
    assert own.bootstrap_mean < own.t_mean


def test_what_is_true_is_found():
    clear = Scenario("", {"a": 0.0, "b": 30.0}, (order("a", "b"),), {})
    assert supported_share(clear, 5, 100) > 0.9
    in_grid = Scenario("", {"a1": 0.0, "b1": 50.0, "a2": 40.0, "b2": 50.0}, (over_grid(order("a", "b")),), {})
    assert supported_share(in_grid, 5, 100) > 0.9
    alike = Scenario("", {"a": 0.0, "b": 0.0}, (equivalence("a", "b", Margin(value=0.3, unit="share")),), {})
    assert supported_share(alike, 5, 100) > 0.9


def test_the_same_simulation_gives_the_same_share():
    shares = {false_share(SCENARIOS[0], NOISE["normal"], 3, 50) for _ in range(2)}
    assert len(shares) == 1


def test_the_estimate_of_seeds_is_rougher_from_fewer():
    few, more = estimates(1.2, 3, 300), estimates(1.2, 8, 300)
    assert few.high / few.low > more.high / more.low
    assert few.undecided > more.undecided


def test_the_seeds_of_the_tables_are_those_that_a_first_look_asks_for():
    """`verdict` asks at the level of the next look, of which nothing but the design's first look has spent."""
    effects = 2.0 * DIFFERENCE_SD + np.array([-9.0, 9.0, -3.0, 3.0, 0.0])
    frame = load(replicates({"a": [100.0] * 5, "b": list(100.0 + effects)}))
    (answer,) = judge(frame, [order("a", "b")], alpha=0.001, history=History())
    test = paired_test(effects, size=100.0)
    assert answer.verdict == "undecided"
    next_level = 0.001 * NEXT_LEVEL / ALPHA
    assert answer.seeds_needed == seeds_to_differ(test.mean, test.sd, alpha=next_level) > len(effects)


def test_what_is_asked_for_has_its_power_at_the_level_of_the_next_look():
    seeds = seeds_to_differ(1.2, 1.0, alpha=NEXT_LEVEL)
    clear = Scenario("", {"a": 0.0, "b": 1.2 * DIFFERENCE_SD}, (order("a", "b"),), {})
    assert seeds > seeds_to_differ(1.2, 1.0)
    assert supported_share(clear, seeds, 300, NEXT_LEVEL) == pytest.approx(0.8, abs=0.07)
    assert supported_share(clear, seeds_to_differ(1.2, 1.0), 300, NEXT_LEVEL) < 0.7


def test_the_bootstrap_is_the_percentile_interval_of_resampled_means():
    low, high = percentile_bootstrap(np.array([0.0, 1.0]), np.random.default_rng(0))
    assert (low, high) == (0.0, 1.0)  # a quarter of all resamples of two values is all of one


def test_the_command_replaces_the_tables_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nearlier tables\n{END}\nafter\n", encoding="utf-8")
    said = []
    simulation_tables.write(page, 3, said.append)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "earlier tables" not in text
    titles = ("False verdicts", "Looks", "Until decided", "Warnings", "Coverage", "Seeds needed")
    for title in (*titles, "How rough that estimate is"):
        assert f"**{title}.**" in text
    assert "--experiments 3` on " in text
    assert text.count("| A/A, 3 claims of order") == 3
    assert said == ["false verdicts", "looks", "until decided", "warnings", "coverage", "power", "estimates"]


def test_a_page_without_the_marks_is_refused_before_anything_is_simulated(tmp_path):
    page = tmp_path / "page.md"
    for text in (None, "no marks", f"{END} {BEGIN}"):
        if text is not None:
            page.write_text(text, encoding="utf-8")
        with pytest.raises(RunError, match="no tables to replace"):
            simulation_tables.write(page, 10**9, lambda what: None)
