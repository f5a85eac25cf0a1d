import json

import numpy as np
import pytest

from analysis.results import load
from analysis.statistics import holm, paired_test
from analysis.verdicts import judge
from registry.errors import RunError
from tests.analysis.replicates import claim, replicates

EXPERIMENTS = 150


def five_percent_of(experiments):
    """The false verdicts that a rate of 5 % allows, with two standard errors of the simulation."""
    return 0.05 * experiments + 2 * (0.05 * 0.95 * experiments) ** 0.5


CLEAR_A, CLEAR_B = [1.0, 2.0, 3.0, 4.0, 5.0], [11.0, 12.5, 12.9, 14.2, 15.1]


def verdict_of(scores, **of_claim):
    (verdict,) = judge(load(replicates(scores)), [claim(**of_claim)])
    return verdict


def test_a_clear_difference_supports_the_claim_and_contradicts_its_opposite():
    scores = {"a": CLEAR_A, "b": CLEAR_B}
    supported, opposite = verdict_of(scores), verdict_of(scores, better="b", worse="a")
    assert (supported.verdict, opposite.verdict) == ("supported", "contradicted")
    assert supported.effect == pytest.approx(np.mean(CLEAR_B) - np.mean(CLEAR_A)) == -opposite.effect
    assert supported.interval[0] < supported.effect < supported.interval[1]
    assert (supported.n, supported.p) == (5, opposite.p)


def test_a_score_to_be_maximised_turns_the_effect_round():
    assert verdict_of({"a": CLEAR_A, "b": CLEAR_B}, direction="max").verdict == "contradicted"
    assert verdict_of({"a": CLEAR_B, "b": CLEAR_A}, direction="max").verdict == "supported"


def test_pairing_by_seed_sees_what_the_means_alone_hide():
    a = np.array([100.0, 300.0, 200.0, 500.0, 400.0])
    shift = np.array([5.0, 5.2, 4.8, 5.1, 4.9])
    assert verdict_of({"a": list(a), "b": list(a + shift)}).verdict == "supported"
    assert verdict_of({"a": list(a), "b": list((a + shift)[::-1])}).verdict == "undecided"


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ({"a": [1.0], "b": [9.0]}, "1 paired seed; a test needs at least 2"),
        ({"a": [1.0] * 3, "b": [9.0] * 3}, "all differences are equal"),
        ({"a": CLEAR_A, "b": CLEAR_A}, "equal scores on every seed"),
        ({"a": CLEAR_A, "b": [*CLEAR_B[:4], None]}, "1 of 5 seeds of arm 'b' not done (1 failed)"),
        ({"a": CLEAR_A, "b": [*CLEAR_B[:4], float("nan")]}, "no finite fvd for seed 4"),
        ({"a": CLEAR_A, "b": [*CLEAR_B[:4], float("inf")]}, "no finite fvd for seed 4"),
        ({"a": CLEAR_A, "b": CLEAR_B[:4]}, "seed 4 is in one of the two arms only"),
        ({"a": CLEAR_A}, "arm 'b' has no replicate"),
        ({"a": [None, None], "b": [None, None]}, "0 paired seeds; 2 of 2 seeds of arm 'a' not done"),
        ({"a": [1e308, -1e308, 1.0], "b": [-1e308, 1e308, 2.0]}, "1 paired seed"),
    ],
)
def test_what_is_not_shown_is_undecided_with_a_reason(scores, told):
    verdict = verdict_of(scores)
    assert (verdict.verdict, verdict.p) == ("undecided", None)
    assert told in verdict.reason
    json.dumps(verdict.as_json(), allow_nan=False)


def test_an_undecided_test_estimates_the_seeds_that_would_be_needed():
    verdict = verdict_of({"a": [1.0, 2.0, 3.0], "b": [2.0, 2.5, 4.5]})
    assert verdict.verdict == "undecided"
    assert 0.05 < verdict.p < 1
    assert "seeds would show an effect of this size with 80% power (estimate)" in verdict.reason


def test_a_missing_score_names_the_recorded_ones():
    frame = load(replicates({"a": CLEAR_A, "b": CLEAR_B}, metric="fvd[random_r3d]"))
    (verdict,) = judge(frame, [claim(metric="fvd")])
    assert verdict.verdict == "undecided"
    assert "no score 'fvd' was recorded: did you mean 'fvd[random_r3d]'?" in verdict.reason


def test_the_claims_judged_together_are_one_family():
    a = [0.0, 0.0, 0.0, 0.0]
    scores = {"a": a, "b": [1.0, 1.2, 0.9, 2.6], "c": [1.0, -1.0, 0.5, -0.3]}
    alone = judge(load(replicates(scores)), [claim("a", "b")])[0]
    both = judge(load(replicates(scores)), [claim("a", "b"), claim("a", "c")])
    assert both[0].p == pytest.approx(2 * alone.p)
    assert (alone.verdict, both[0].verdict) == ("supported", "undecided")
    assert "adjusted for 2 claims" in both[0].reason
    assert both[0].interval == alone.interval


@pytest.mark.parametrize("column", ["data_digest", "protocol"])
def test_results_of_different_data_or_protocols_are_refused(column):
    rows = replicates({"a": CLEAR_A}) + replicates({"b": CLEAR_B}, **{column: "other"})
    with pytest.raises(RunError, match=rf"different {column}.*\(arm a\); other \(arm b\)"):
        judge(load(rows), [claim()])
    unconcerned = rows + replicates({"c": CLEAR_B})
    assert judge(load(unconcerned), [claim("a", "c")])[0].verdict == "supported"


def test_the_verdict_in_json_has_the_agreed_keys():
    scores = {"a": CLEAR_A, "b": CLEAR_B}
    told = json.loads(json.dumps(verdict_of(scores).as_json()))
    assert list(told) == ["axis", "better", "worse", "metric", "verdict", "effect", "interval", "n", "p", "reason"]
    assert len(told["interval"]) == 2


def shifted(generator, seeds):  # each seed moves all arms alike, as shared data order and noise do
    return generator.normal(100, 20, size=seeds) + generator.normal(0, 5, size=(4, seeds))


def skewed(generator, seeds):
    return np.exp(generator.normal(4, 0.5, size=(4, seeds)))


@pytest.mark.parametrize("world", [shifted, skewed])
@pytest.mark.parametrize("seeds", [3, 5])
def test_where_nothing_differs_at_most_one_experiment_in_twenty_gets_any_false_verdict(world, seeds):
    generator = np.random.default_rng(seeds)
    claims = [claim("a", other) for other in "bcd"]
    frame = load(replicates(dict.fromkeys("abcd", [0.0] * seeds)))
    false = 0
    for _ in range(EXPERIMENTS):
        false += any(v.verdict != "undecided" for v in judge(frame.assign(fvd=world(generator, seeds).ravel()), claims))
    assert false <= five_percent_of(EXPERIMENTS)


def test_over_many_experiments_without_a_difference_the_family_keeps_its_five_percent():
    generator = np.random.default_rng(7)
    false = 0
    for _ in range(6000):
        a, *others = shifted(generator, 4)
        p_values = holm([paired_test(other - a).p for other in others])
        false += min(p_values) <= 0.05
    assert false <= five_percent_of(6000)


def test_a_real_difference_is_found():
    generator = np.random.default_rng(0)
    frame = load(replicates({"a": [0.0] * 5, "b": [0.0] * 5}))
    found = 0
    for _ in range(100):
        scores = generator.normal(100, 20, size=5) + generator.normal([[0.0], [12.0]], 3, size=(2, 5))
        found += judge(frame.assign(fvd=scores.ravel()), [claim()])[0].verdict == "supported"
    assert found / 100 > 0.9  # 2.8 standard deviations of the difference at five seeds
