"""Effects that are compared, of scores whose truth is known: over another axis, or between two steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.results.results_frame import load
from analysis.statistics.t_tests import paired_test
from analysis.studies.compared_scenarios import COMPARED, changed, compared
from analysis.studies.simulations import NOISE, Scenario, false_share, supported_share, worst_chance
from analysis.tables.rendering import verdicts_table
from analysis.verdicts.judging import judge
from analysis.verdicts.verdict import Verdict
from tests.fixtures.replicates import claim, replicates

SEEDS = 5
PARAMETERS = {"1": 1_000_000, "2": 2_000_000, "3": 8_000_000}


def scores(effects: Sequence[float], noise: float = 0.1, seed: int = 0) -> dict[str, list[float]]:
    """Scores of arms a1, b1, a2, b2, …: b scores higher, that is worse, by the effect at each value."""
    draw = np.random.default_rng(seed)
    found = {}
    for place, effect in enumerate(effects, 1):
        found[f"a{place}"] = list(50.0 - 10 * place + draw.normal(size=SEEDS))
        found[f"b{place}"] = list(np.array(found[f"a{place}"]) + effect + noise * draw.normal(size=SEEDS))
    return found


def judged(effects: Sequence[float], parameters: Mapping[str, int] | None = None, noise: float = 0.1) -> Verdict:
    rows = replicates(scores(effects, noise))
    for row in rows:
        row["result"]["parameters"] = (parameters or {}).get(row["arm"][1:], 0)
    values = "123456"[: len(effects)]
    return judge(load(rows), [compared("holds_over", ("a", "b"), values)])[0]


def test_an_order_holds_where_every_value_shows_it_and_fails_where_one_shows_the_contrary():
    holds, fails, unsure = judged([3, 2, 1]), judged([3, 2, -1]), judged([3, 2, 0.01])
    assert (holds.verdict, fails.verdict, unsure.verdict) == ("supported", "contradicted", "undecided")
    assert [value.shown for value in holds.values] == [True] * 3
    assert [value.shown for value in fails.values] == [True, True, False]
    assert holds.effect == pytest.approx(2, abs=0.1)
    assert "the sign is kept at every other; 1, 2, 3 shown; effect at other: 1 +3" in holds.reason
    assert "the sign is kept at 2 of 3 other; 1, 2 shown, 3 not" in fails.reason
    assert "seeds would" in unsure.reason


def test_the_p_of_an_order_that_holds_is_that_of_the_value_least_sure_and_of_one_that_fails_is_paid_for():
    holds, fails = judged([3, 2, 0.2]), judged([3, 2, -0.2])
    assert holds.p == max(value.p for value in holds.values)
    assert fails.p == pytest.approx(3 * fails.values[2].p)


@given(slope=st.floats(-2, 2), start=st.floats(-5, 5))
@settings(max_examples=20)
def test_a_straight_line_over_the_log_of_parameters_is_gone_on_with(slope, start):
    places = [math.log2(count) for count in PARAMETERS.values()]
    found = judged([start + slope * (place - places[0]) for place in places], PARAMETERS, noise=1e-3).growth
    assert found.scale == "parameters"
    assert found.slope.mean == pytest.approx(slope, abs=3e-3)
    assert found.at == pytest.approx(8e6 * 2**1.5)  # as far beyond the last as the sizes are apart
    assert found.beyond.mean == pytest.approx(start + slope * (places[2] + 1.5 - places[0]), abs=6e-3)


@pytest.mark.parametrize(
    ("values", "parameters", "scale", "at"),
    [
        (("S", "B", "L"), (5, 5, 5), "rank", 4),
        (("S", "B", "L"), (0, 7, 9), "rank", 4),
        (("8", "16", "64"), (5, 5, 5), "value", 64 * 2**1.5),
        (("-1", "16", "64"), (5, 5, 5), "rank", 4),
        (("8", "16", "64"), (1, 2, 4), "parameters", 8),
    ],
)
def test_the_scale_is_what_is_known_of_the_values(values, parameters, scale, at):
    rows = replicates(scores([1, 2, 3]))
    for row in rows:
        row["result"]["parameters"] = parameters[int(row["arm"][1:]) - 1]
    own = compared("holds_over", ("a", "b"), "123")
    own = replace(own, points=tuple((("other", value),) for value in values))
    found = judge(load(rows), [own])[0].growth
    assert (found.scale, found.at) == (scale, pytest.approx(at))


def test_the_extrapolation_covers_the_truth_as_often_as_it_says():
    """Through the rule itself: at the next value the true effect is 4, and each seed has a line of its own."""
    draw, held, experiments = np.random.default_rng(1), 0, 200
    for _ in range(experiments):
        lines = 1 + draw.normal(size=(SEEDS, 1)) + (1 + 0.5 * draw.normal(size=(SEEDS, 1))) * np.arange(3)
        effects = lines + 0.5 * draw.normal(size=(SEEDS, 3))
        rows = {f"b{place + 1}": list(effects[:, place]) for place in range(3)}
        rows |= {f"a{place + 1}": [0.0] * SEEDS for place in range(3)}
        answer = judge(load(replicates(rows)), [replace(compared("holds_over", ("a", "b"), "123"),
                       points=tuple((("other", value),) for value in "SBL"))])[0]  # fmt: skip
        low, high = answer.growth.beyond.interval
        held += low <= 4 <= high
    assert held / experiments == pytest.approx(0.95, abs=worst_chance(0.05, experiments) - 0.05)


def test_an_interaction_is_the_paired_difference_of_differences():
    own = scores([3, 1])
    (answer,) = judge(load(replicates(own)), [compared("interaction", ("a", "b"), "12")])
    difference = (np.array(own["b2"]) - own["a2"]) - (np.array(own["b1"]) - own["a1"])
    test = paired_test(difference)
    assert (answer.verdict, answer.effect, answer.p) == ("supported", pytest.approx(-2, abs=0.2), pytest.approx(test.p))
    assert answer.interval == pytest.approx(test.interval)
    assert "effect at other: 1 +3" in answer.reason
    (none,) = judge(load(replicates(scores([2, 2]))), [compared("interaction", ("a", "b"), "12")])
    assert none.verdict == "undecided"
    assert "would show a difference of this size" in none.reason or "would be needed" in none.reason


def test_a_change_is_tested_between_the_evaluations_of_the_same_trainings():
    own = scores([3, 1])
    frames = {
        step: load(replicates({arm: own[f"{arm}{step}"] for arm in "ab"})) for step in (1, 2)
    }  # fmt: skip
    (answer,) = judge(frames[2], [changed("a", "b")], by_step=frames)
    (alike,) = judge(load(replicates(own)), [compared("interaction", ("a", "b"), "12")])
    assert (answer.verdict, answer.effect, answer.p) == ("supported", alike.effect, alike.p)
    assert answer.claim.arms == ("a", "b")  # as the experiment names them
    assert "effect at step: 1 +3" in answer.reason
    told = answer.as_json()
    assert (told["kind"], told["effect_of"], told["at_steps"]) == ("change", ["a", "b"], [1, 2])
    missing = dict(frames)
    missing[1] = load(replicates({"a": own["a1"], "b": [*own["b1"][:-1], None]}))
    (waiting,) = judge(frames[2], [changed("a", "b")], by_step=missing)
    assert (waiting.verdict, waiting.p) == ("undecided", None)
    assert "1 of 5 seeds of arm 'b at step 1' not done" in waiting.reason


def test_they_are_judged_in_one_family_with_every_other_claim():
    frame = load(replicates(scores([3, 1])))
    (alone,) = judge(frame, [compared("interaction", ("a", "b"), "12")])
    both = judge(frame, [compared("interaction", ("a", "b"), "12"), claim("a1", "b1")])
    assert both[0].p == pytest.approx(min(1, 2 * alone.p)) or both[0].p >= alone.p
    assert "adjusted for 2 claims" in both[0].reason
    shown = verdicts_table("made-up", both, "table", 120)
    assert "effect of an interaction: how much greater the effect is at the second value" in shown


def test_seeds_that_are_missing_or_arms_that_agree_make_no_test():
    own = scores([3, 1])
    own["b2"][1] = None
    (waiting,) = judge(load(replicates(own)), [compared("holds_over", ("a", "b"), "12")])
    assert (waiting.verdict, waiting.p) == ("undecided", None)
    equal = {arm: [9.9, 9.8, 9.7] for arm in ("a1", "b1", "a2", "b2")}
    for kind in ("holds_over", "interaction"):
        (same,) = judge(load(replicates(equal)), [compared(kind, ("a", "b"), "12")])
        assert (same.verdict, same.p) == ("undecided", None)
        assert "has not reached the scores" in same.reason


@pytest.mark.parametrize("scenario", COMPARED, ids=lambda scenario: scenario.name)
def test_at_most_one_experiment_in_twenty_gets_a_false_verdict(scenario):
    assert false_share(scenario, NOISE["normal"], 3, 200) <= worst_chance(0.05, 200)


def test_what_is_true_is_found():
    effects = {"a1": 0.0, "b1": 40.0, "a2": 0.0, "b2": 90.0}
    for kind in ("holds_over", "interaction"):
        assert supported_share(Scenario("", effects, (compared(kind, ("a", "b"), "12"),), {}), 5, 40) > 0.9
    assert supported_share(Scenario("", effects, (changed("a", "b"),), {}), 5, 40) > 0.9
