import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.results.results_frame import load
from analysis.tables.rendering import verdicts_table
from analysis.verdicts.judging import judge
from registry.errors import RunError
from tests.fixtures.replicates import claim, equivalent, floor, improving, replicates

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
        ({"a": [1e308, -1e308, 1.0], "b": [-1e308, 1e308, 2.0]}, "too large to be subtracted"),
    ],
)
def test_what_is_not_shown_is_undecided_with_a_reason(scores, told):
    verdict = verdict_of(scores)
    assert (verdict.verdict, verdict.p) == ("undecided", None)
    assert told in verdict.reason
    json.dumps(verdict.as_json(), allow_nan=False)


@pytest.mark.parametrize("off", [0.0, 9e-6, -9e-6])
def test_arms_that_agree_are_told_so_and_no_seeds_are_counted(off):
    """Weights that are still the initial ones score every architecture 9.951; a test of rounding finds anything."""
    a = [9.951, 9.948, 9.953, 9.95]
    b = [score * (1 + off * share) for score, share in zip(a, (1.0, 0.9, 0.95, 0.97), strict=True)]
    for scores, own in (({"a": a, "b": b}, claim()), ({"a": a, "b": b, "c": a}, improving("a", "b", "c"))):
        (verdict,) = judge(load(replicates(scores)), [own])
        assert (verdict.verdict, verdict.p) == ("undecided", None)
        assert verdict.reason.startswith("4 paired seeds; the arms")
        assert "what the arms differ in has not reached the scores" in verdict.reason
        assert "seeds would be needed" not in verdict.reason
    (far,) = judge(load(replicates({"a": a, "b": [score * (1 + 1.5e-5) for score in a]})), [claim()])
    assert "has not reached" not in far.reason


def test_equivalent_arms_that_agree_are_told_so_beside_the_verdict():
    a = [9.951, 9.948, 9.953, 9.95]
    b = [score + off for score, off in zip(a, (1e-5, -1e-5, 2e-5, -2e-5), strict=True)]
    frame = load(replicates({"a": a, "b": b}))
    within, tight = (judge(frame, [equivalent(margin=margin)])[0] for margin in (0.1, 1e-5))
    assert (within.verdict, tight.verdict) == ("supported", "undecided")
    for verdict in (within, tight):
        assert "agree to 1e-05 of their size on every seed" in verdict.reason
        assert "seeds would be needed" not in verdict.reason


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


def test_a_score_named_by_its_weights_is_found_by_its_base_name():
    frame = load(replicates({"a": CLEAR_A, "b": CLEAR_B}, metric="fid[3c1f09aa]"))
    (verdict,) = judge(frame, [claim(metric="fid")])
    assert verdict.p is not None
    assert verdict.as_json()["metric"] == "fid[3c1f09aa]"


def test_the_claims_judged_together_are_one_family():
    a = [0.0, 0.0, 0.0, 0.0]
    scores = {"a": a, "b": [1.0, 1.2, 0.9, 2.6], "c": [1.0, -1.0, 0.5, -0.3]}
    alone = judge(load(replicates(scores)), [claim("a", "b")])[0]
    both = judge(load(replicates(scores)), [claim("a", "b"), claim("a", "c")])
    assert both[0].p == pytest.approx(2 * alone.p)
    assert (alone.verdict, both[0].verdict) == ("supported", "undecided")
    assert "adjusted for 2 claims" in both[0].reason
    assert both[0].interval == alone.interval


@pytest.mark.parametrize(("column", "what"), [("data_digest", "data"), ("protocol", "protocols")])
def test_results_of_different_data_or_protocols_are_refused(column, what):
    rows = replicates({"a": CLEAR_A}) + replicates({"b": CLEAR_B}, **{column: "other"})
    with pytest.raises(RunError, match=rf"different {what}.*\(arm a\); other \(arm b\)"):
        judge(load(rows), [claim()])
    unconcerned = rows + replicates({"c": CLEAR_B})
    assert judge(load(unconcerned), [claim("a", "c")])[0].verdict == "supported"


def test_the_verdict_in_json_has_the_agreed_keys():
    scores = {"a": CLEAR_A, "b": CLEAR_B}
    told = json.loads(json.dumps(verdict_of(scores).as_json()))
    assert list(told) == [
        "axis", "better", "worse", "metric", "verdict", "effect", "interval", "n", "p", "reason",
        "kind", "protocol", "effect_in_floors",
    ]  # fmt: skip
    assert len(told["interval"]) == 2
    assert (told["kind"], told["protocol"], told["effect_in_floors"]) == ("order", "p", None)


NEAR_A = [10.3, 10.9, 11.2, 9.6, 10.2]


def test_equivalence_is_supported_within_the_margin_contradicted_beyond_it_and_else_undecided():
    frame = load(replicates({"a": [10.0, 11.0, 11.0, 10.0, 10.0], "b": NEAR_A}))
    within, edge, beyond = (judge(frame, [equivalent(margin=margin)])[0] for margin in (1.0, 0.2, 0.01))
    assert (within.verdict, edge.verdict, beyond.verdict) == ("supported", "undecided", "undecided")
    assert within.effect == pytest.approx(np.mean(NEAR_A) - 10.4)  # the second less the first
    assert "within the margin, ±1; p = " in within.reason
    assert "seeds would" in edge.reason
    (far,) = judge(load(replicates({"a": CLEAR_A, "b": CLEAR_B})), [equivalent(margin=1.0)])
    assert far.verdict == "contradicted"
    assert far.interval[0] > 1.0
    assert "beyond the margin" in far.reason


def test_a_margin_may_be_a_share_of_the_first_or_a_number_of_floors():
    frame = load(replicates({"a": [10.0, 11.0, 11.0, 10.0, 10.0], "b": NEAR_A}))
    floors = [floor([1.8, 2.2]), floor([100.0, 101.0], protocol="q")]
    share, floored = judge(
        frame, [equivalent(margin=0.1, unit="share"), equivalent(margin=0.5, unit="floor")], 0.05, floors
    )
    assert (share.verdict, share.margin) == ("supported", pytest.approx(1.04))
    assert (floored.verdict, floored.margin) == ("supported", pytest.approx(1.0))
    assert floored.effect_in_floors == pytest.approx(floored.effect / 2.0)


@pytest.mark.parametrize(
    "floors",
    [
        [],
        [floor([1.0, 1.1], protocol="q")],
        [floor([-1.0, -1.1])],
        [floor([1.0, 1.1], "resampled")],
        [floor([1.0])],
        [floor([0.0, 1.0])],
    ],
)
def test_a_margin_in_floors_that_were_not_measured_is_no_test(floors):
    (verdict,) = judge(load(replicates({"a": CLEAR_A, "b": CLEAR_B})), [equivalent(unit="floor")], floors=floors)
    assert (verdict.verdict, verdict.p, verdict.margin, verdict.effect_in_floors) == ("undecided", None, None, None)
    assert "there is no floor of real halves clearly above zero for fvd by protocol p" in verdict.reason


def test_a_share_of_a_score_below_zero_is_no_margin():
    scores = {"a": [-1.0, -2.0, -1.5], "b": [-1.1, -2.3, -1.2]}
    (verdict,) = judge(load(replicates(scores)), [equivalent(margin=0.05, unit="share")])
    assert (verdict.verdict, verdict.p) == ("undecided", None)
    assert "5% of a mean score of -1.5 is no margin" in verdict.reason


IMPROVING = {"a": [40.0, 43.0, 39.0, 45.0], "b": [30.0, 34.0, 31.0, 33.0], "c": [20.0, 22.0, 24.0, 21.0]}


def test_a_trend_is_the_slope_of_every_seed_with_its_steps():
    (trend,) = judge(load(replicates(IMPROVING)), [improving("a", "b", "c")], floors=[floor([3.9, 4.1])])
    assert trend.verdict == "supported"
    slopes = [-np.polyfit(range(3), scores, 1)[0] for scores in zip(*IMPROVING.values(), strict=True)]
    assert trend.effect == pytest.approx(np.mean(slopes))
    assert trend.effect_in_floors == pytest.approx(np.mean(slopes) / 4)
    assert [(step.worse, step.better, step.effect) for step in trend.steps] == [("a", "b", 9.75), ("b", "c", 10.25)]
    assert "steps: a to b +9.75 (" in trend.reason
    assert judge(load(replicates(IMPROVING)), [improving("c", "b", "a")])[0].verdict == "contradicted"
    assert judge(load(replicates(IMPROVING)), [improving("c", "b", "a", direction="max")])[0].verdict == "supported"


def test_a_trend_is_supported_only_where_every_step_is_shown():
    scores = {
        **IMPROVING,
        "d": [score + shift for score, shift in zip(IMPROVING["c"], [2.0, 2.2, 1.9, 2.1], strict=True)],
    }
    (trend,) = judge(load(replicates(scores)), [improving(*"abcd")])
    assert (trend.verdict, trend.p) == ("undecided", 1.0)
    assert [step.shown for step in trend.steps] == [True, True, False]
    assert "improves on the whole; steps a-b, b-c shown, c-d not; steps: a to b +9.75 (" in trend.reason
    assert "a step that gets worse on average is not shown to improve by more seeds" in trend.reason
    unsure = {**IMPROVING, "d": [21.0, 20.0, 24.5, 20.0]}
    (trend,) = judge(load(replicates(unsure)), [improving(*"abcd")])
    assert (trend.verdict, trend.p) == ("undecided", trend.steps[-1].p)
    assert "seeds would show steps of this size" in trend.reason


def test_the_steps_of_a_trend_are_a_family_of_their_own_where_not_all_are_shown():
    """One step of two at p = 0.04 is not shown, since neither is at 0.025; with both at 0.04 the trend is."""
    b = np.zeros(4)
    noise = np.array([-1.0, 1.0, -1.0, 1.0])
    size = stats.t.isf(0.02, 3) * noise.std(ddof=1) / 2  # whose p is 0.04
    for far, shown in ((size, [True, True]), (0.1, [False, False])):
        scores = {"a": list(b + size + noise), "b": list(b), "c": list(b - far - noise)}
        (trend,) = judge(load(replicates(scores)), [improving("a", "b", "c")])
        assert trend.steps[0].p == pytest.approx(0.04)
        assert [step.shown for step in trend.steps] == shown
        assert trend.verdict == ("supported" if all(shown) else "undecided")


def test_a_trend_waits_for_every_arm():
    (trend,) = judge(load(replicates({**IMPROVING, "b": [30.0, 34.0, None, 33.0]})), [improving("a", "b", "c")])
    assert (trend.verdict, trend.p) == ("undecided", None)
    assert "3 paired seeds; 1 of 4 seeds of arm 'b' not done (1 failed)" in trend.reason


def test_claims_of_all_kinds_are_one_family():
    frame = load(replicates(IMPROVING))
    claims = [claim("c", "b"), equivalent("a", "b", margin=20.0), improving("a", "b", "c")]
    alone = [judge(frame, [own])[0].p for own in claims]
    together = [verdict.p for verdict in judge(frame, claims)]
    smallest = min(range(3), key=alone.__getitem__)
    assert together[smallest] == pytest.approx(3 * alone[smallest])


def test_verdicts_of_all_kinds_as_json_and_as_text():
    frame = load(replicates(IMPROVING))
    answers = judge(
        frame, [claim("c", "b"), equivalent("a", "b"), improving("a", "b", "c")], floors=[floor([3.9, 4.1])]
    )
    told = json.loads(verdicts_table("x", answers, "json"))["claims"]
    assert [own["kind"] for own in told] == ["order", "equivalence", "trend"]
    assert (told[1]["equivalent"], told[1]["margin"], told[1]["margin_in_score"]) == (["a", "b"], "1", 1.0)
    assert told[2]["improving"] == ["a", "b", "c"]
    assert list(told[2]["steps"][0]) == ["worse", "better", "effect", "interval", "p", "shown"]
    shown = verdicts_table("x", answers, "table", width=160)
    for text in (
        "c better than b: ",
        "a equivalent to b within 1: contradicted",
        "improving from a to b to c: supported",
        "fvd: protocol p",
        "in floors: the effect divided by",
    ):
        assert text in shown
    assert "makes no claim" in verdicts_table("x", [], "table")


POINTS = ((("patch", "2"),), (("patch", "4"),))


def over(of_one_point, arms):
    """A claim as one over a grid, whose arms are named point by point."""
    return replace(of_one_point, arms=tuple(arms), points=POINTS)


def grid(**by_point):
    """Scores of arms at two points: a=([...], [...]) are those of a2 and a4."""
    return load(
        replicates({f"{arm}{at}": own for arm, both in by_point.items() for at, own in zip("24", both, strict=True)})
    )


def test_a_main_effect_is_the_mean_over_the_points_of_the_paired_differences_and_n_is_seeds():
    frame = grid(a=([1.0, 2.0, 4.0], [8.0, 9.0, 9.5]), b=([2.0, 3.0, 6.0], [8.5, 9.5, 10.5]))
    (found,) = judge(frame, [over(claim(), ["a2", "b2", "a4", "b4"])])
    per_seed = [(1.0 + 0.5) / 2, (1.0 + 0.5) / 2, (2.0 + 1.0) / 2]
    assert (found.n, found.effect) == (3, pytest.approx(np.mean(per_seed)))
    assert found.p == pytest.approx(stats.ttest_1samp(per_seed, 0).pvalue)
    told = found.as_json()
    assert (told["averaged_over"], told["at"]) == ({"patch": ["2", "4"]}, {})
    assert told["points"] == [
        {"at": {"patch": "2"}, "effect": pytest.approx(4 / 3)}, {"at": {"patch": "4"}, "effect": pytest.approx(2 / 3)},
    ]  # fmt: skip
    assert "effect at 2 points: +0.667 (patch=4) to +1.33 (patch=2)" in found.reason
    assert "averaged over patch in 2, 4" in verdicts_table("x", [found], "table")


def test_points_that_disagree_show_no_main_effect_where_a_slice_would():
    frame = grid(a=(CLEAR_A, CLEAR_B), b=(CLEAR_B, [*CLEAR_A[1:], 0.5]))
    (found,) = judge(frame, [over(claim(), ["a2", "b2", "a4", "b4"])])
    assert found.verdict == "undecided"
    assert [judge(frame, [claim(f"a{at}", f"b{at}")])[0].verdict for at in "24"] == ["supported", "contradicted"]
    assert found.points[0].effect > 9
    assert found.points[1].effect < -9


def test_equivalence_and_trend_over_a_grid_are_those_of_the_averaged_scores():
    generator = np.random.default_rng(0)
    scores = generator.normal([[[30.0]], [[20.0]], [[10.0]]], 1.0, size=(3, 2, 4))
    frame = grid(**{arm: own.tolist() for arm, own in zip("abc", scores, strict=True)})
    means = load(replicates({arm: own.mean(axis=0).tolist() for arm, own in zip("abc", scores, strict=True)}))
    for one, arms in (
        (equivalent(margin=0.5, unit="share"), ["a2", "b2", "a4", "b4"]),
        (improving("a", "b", "c"), ["a2", "b2", "c2", "a4", "b4", "c4"]),
    ):
        (of_grid,), (of_means,) = judge(frame, [over(one, arms)]), judge(means, [one])
        assert (of_grid.verdict, of_grid.n) == (of_means.verdict, 4)
        assert (of_grid.effect, of_grid.p) == (pytest.approx(of_means.effect), pytest.approx(of_means.p))
        assert (of_grid.margin, len(of_grid.steps)) == (pytest.approx(of_means.margin), len(of_means.steps))
        json.dumps(of_grid.as_json(), allow_nan=False)


def test_a_main_effect_waits_for_every_point():
    frame = grid(a=([1.0, 2.0, 4.0], [8.0, None, 9.5]), b=([2.0, 3.0, 6.0], [8.5, 9.5, 10.5]))
    (found,) = judge(frame, [over(claim(), ["a2", "b2", "a4", "b4"])])
    assert (found.verdict, found.p, found.n) == ("undecided", None, 2)
    assert "2 paired seeds; 1 of 3 seeds of arm 'a4' not done (1 failed)" in found.reason
    (huge,) = judge(grid(a=([1e308], [1e308]), b=([-1e308], [-1e308])), [over(claim(), ["a2", "b2", "a4", "b4"])])
    assert (huge.verdict, huge.points) == ("undecided", ())


def test_a_verdict_warns_of_an_arm_below_a_floor_of_its_own():
    frame = load(replicates({"a": CLEAR_A, "b": CLEAR_B, "c": [0.1] * 5}))
    answers = judge(frame, [claim(), equivalent(margin=30.0), improving("c", "b", "a")], floors=[floor([3.9, 4.1])])
    line = "warning: fvd: a scores 3, below its own floor (real halves 4)"
    assert [[warning.split(":")[2] for warning in answer.warnings] for answer in answers] == [
        [" a scores 3, below its own floor (real halves 4)"],
        [" a scores 3, below its own floor (real halves 4)"],
        [" c scores 0.1, below its own floor (real halves 4)", " a scores 3, below its own floor (real halves 4)"],
    ]
    shown = verdicts_table("x", answers, "table")
    assert shown.count(line) == 1
    assert json.loads(verdicts_table("x", answers, "json"))["claims"][0]["warnings"][0].startswith(line)
    assert "warnings" not in judge(frame, [claim()])[0].as_json()


def test_a_real_difference_is_found():
    generator = np.random.default_rng(0)
    frame = load(replicates({"a": [0.0] * 5, "b": [0.0] * 5}))
    found = 0
    for _ in range(100):
        scores = generator.normal(100, 20, size=5) + generator.normal([[0.0], [12.0]], 3, size=(2, 5))
        found += judge(frame.assign(fvd=scores.ravel()), [claim()])[0].verdict == "supported"
    assert found / 100 > 0.9  # 2.8 standard deviations of the difference at five seeds
