"""What a screen decides, for any arms."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from experiments.search.halving import Cut, Standing, cut, decide, ordinal

VALUES = st.one_of(st.floats(0, 10), st.just(math.nan), st.just(math.inf))
FIELDS = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), VALUES, min_size=1, max_size=30)
SHARES = st.floats(0.01, 0.99)
RUNGS = (10, 20, 30)


@given(FIELDS, SHARES)
def test_the_best_share_is_kept(values: dict[str, float], keep: float) -> None:
    made = cut(10, values, keep)
    finite = [value for value in values.values() if math.isfinite(value)]
    share = max(1, math.ceil(keep * len(values) - 1e-9))
    assert len(made.kept) == min(share, len(finite) or 1)
    assert len(set(made.kept)) == len(made.kept)
    worst = max((values[arm] for arm in made.kept), default=math.inf)
    for arm in set(values) - set(made.kept):
        assert not math.isfinite(values[arm]) or values[arm] >= worst
    assert sorted(made.order) == sorted(values)
    assert all(made.admits(values[arm]) for arm in made.kept)


@given(FIELDS, SHARES, SHARES)
def test_a_larger_share_keeps_all_of_a_smaller(values: dict[str, float], one: float, other: float) -> None:
    few, many = (cut(10, values, keep).kept for keep in sorted((one, other)))
    assert many[: len(few)] == few


@given(FIELDS, SHARES)
def test_a_place_is_told_for_each_that_goes(values: dict[str, float], keep: float) -> None:
    made = cut(10, values, keep)
    told = [made.reason(arm, values[arm]) for arm in made.order if arm not in made.kept]
    places = range(len(made.kept) + 1, len(values) + 1)
    assert told == [f"screened out at step 10, {ordinal(place)} of {len(values)}" for place in places]


def race(curves: dict[str, list[float]], keep: float, failing: dict[str, int]) -> tuple[list[Cut], set[str], set[str]]:
    """Run arms as the decisions say: what was decided, who came to the end, who was stopped.

    Args:
        curves: by arm, the value at each rung.
        keep: the share.
        failing: arm -> the rung (an index) that it fails before.
    """
    decided: dict[int, Cut] = {}
    reached = dict.fromkeys(curves, 0)
    ended: set[str] = set()
    while True:
        standings = {
            arm: Standing(dict(zip(RUNGS[: reached[arm]], curve, strict=False)), failing.get(arm) != reached[arm])
            for arm, curve in curves.items()
        }
        decision = decide(standings, RUNGS, keep, decided)
        assert decision == decide(standings, RUNGS, keep, decided), "the same files, the same decision"
        assert not set(decision.until) & set(decision.out)
        if decision.cut is not None:
            assert decision.cut.step not in decided
            decided[decision.cut.step] = decision.cut
            continue
        moved = False
        for arm, until in decision.until.items():
            if not standings[arm].able:
                continue
            goal = len(RUNGS) if until is None else RUNGS.index(until) + 1
            moved |= goal > reached[arm]
            reached[arm] = max(reached[arm], goal)
            if until is None:
                ended.add(arm)
        if not moved:
            return list(decided.values()), ended, set(decision.out)


@given(
    st.dictionaries(st.sampled_from("abcdefghijkl"), st.lists(st.floats(0, 9), min_size=3, max_size=3), min_size=1),
    SHARES,
    st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(0, 2)),
)
def test_a_race_ends_with_every_arm_accounted_for(
    curves: dict[str, list[float]], keep: float, failing: dict[str, int]
) -> None:
    cuts, ended, out = race(curves, keep, failing)
    assert not ended & out
    assert ended | out | set(failing) >= set(curves)
    assert [made.step for made in cuts] == list(RUNGS[: len(cuts)])
    for before, after in itertools.pairwise(cuts):
        assert set(after.values) <= set(before.kept)
    if not failing:
        assert ended == set(cuts[-1].kept)
        assert len(cuts) == len(RUNGS)


def test_who_comes_late_is_held_to_what_was_kept() -> None:
    made = cut(10, {"a": 1.0, "b": 2.0, "c": 3.0}, 0.5)
    assert made.kept == ("a", "b")
    late = {
        arm: Standing({10: value}, True)
        for arm, value in {"a": 1.0, "b": 2.0, "c": 3.0, "good": 1.5, "bad": 9.0}.items()
    }
    decision = decide(late | {"new": Standing({}, True)}, (10,), 0.5, {10: made})
    assert decision.cut is None
    assert decision.until == {"a": None, "b": None, "good": None, "new": 10}
    assert decision.out == {
        "c": "screened out at step 10, 3rd of 3",
        "bad": "screened out at step 10, 4th of 4, too late to be kept",
    }


def test_all_wait_for_the_slowest_unless_it_never_comes() -> None:
    there = {"a": Standing({10: 1.0}, True), "b": Standing({10: 2.0}, True)}
    assert decide(there | {"c": Standing({}, True)}, (10,), 0.5, {}).cut is None
    made = decide(there | {"c": Standing({}, False)}, (10,), 0.5, {}).cut
    assert made is not None
    assert made.values == {"a": 1.0, "b": 2.0}
    assert decide({"c": Standing({}, False)}, (10,), 0.5, {}).cut is None


def test_ordinals() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 22, 103, 111)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "103rd", "111th",
    ]  # fmt: skip
