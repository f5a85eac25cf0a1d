"""The error rates of looks, on fewer experiments than in docs/statistics.md, and that they are the rule's own."""

import numpy as np
import pytest

from analysis.results.results_frame import load
from analysis.statistics.t_tests import holm
from analysis.studies.look_simulations import (
    ALPHA,
    DESIGN,
    FIXED_SHARES,
    GROWN,
    differences,
    ends,
    errors,
    holm_of,
    p_values,
    paid,
    savings,
    until_decided,
)
from analysis.studies.simulations import NOISE, worst_chance
from analysis.verdicts.judging import judge
from analysis.verdicts.looks import History
from registry.runs.looks import Look
from registry.schema.seeds import UntilDecided
from tests.fixtures.replicates import claim, replicates

EXPERIMENTS = 4000


@pytest.mark.parametrize("claims", [1, 3])
@pytest.mark.parametrize("noise", NOISE)
def test_looks_that_are_paid_for_are_wrong_as_rarely_as_one_and_others_are_not(noise, claims):
    found = errors(NOISE[noise], 1.0, claims, EXPERIMENTS)
    for share in (found.once, found.paid, found.until_decided, found.every_third, found.anytime):
        assert share <= worst_chance(ALPHA, EXPERIMENTS)
    assert found.naive > worst_chance(ALPHA, EXPERIMENTS)


def test_unequal_noise_alone_makes_looks_no_more_wrong():
    found = errors(NOISE["normal"], 3.0, 3, EXPERIMENTS)
    assert max(found.paid, found.until_decided) <= worst_chance(ALPHA, EXPERIMENTS)


def test_a_design_until_decided_takes_fewer_seeds_than_a_fixed_one_of_equal_power():
    none, small, large = savings(DESIGN, (0.0, 1.0, 2.0), 1.0, EXPERIMENTS)
    assert min(none.saved, small.saved, large.saved) > 0.1
    assert large.saved > 0.35
    assert small.anytime.shown < small.course.shown - 0.2  # why the design is not an anytime-valid test


def test_holm_over_many_families_is_holm():
    values = np.random.default_rng(0).random((20, 4)) / 10
    assert holm_of(values).tolist() == [pytest.approx(holm(own)) for own in values.tolist()]


def test_the_simulated_looks_are_those_of_the_verdict():
    """Sixty experiments of one claim, looked at as they grow, through `judge` itself."""
    drawn = differences(NOISE["normal"], 60, 1, max(GROWN), effect=0.9)
    shown = 0
    for values in drawn[:, 0]:
        looks: list[Look] = []
        for n in GROWN:
            rows = load(replicates({"a": [0.0] * n, "b": values[:n].tolist()}))
            (answer,) = judge(rows, [claim()], history=History(looks))
            looks.append(Look(claims=(answer.paid.looks[-1],)))
            if answer.verdict != "undecided":
                break
        shown += answer.verdict != "undecided"
    assert shown / 60 == pytest.approx(paid(drawn, GROWN, FIXED_SHARES).shown)
    assert 0.2 < shown / 60 < 1


def test_the_simulated_design_is_that_of_the_verdict():
    """Forty experiments of two claims until they are decided, through `judge`: what is shown, with how many seeds."""
    design = UntilDecided(first=3, most=7)
    drawn = differences(NOISE["normal"], 40, 2, design.most, effect=0.9)
    shown, seeds = ends(drawn, design)
    for number, values in enumerate(drawn):
        looks, given_up, ended = [], {}, {}
        for n in design.looks:
            own = [values[place, : ended.get(place, n)].tolist() for place in (0, 1)]
            rows = load(replicates({"a": [0.0] * n, "b": own[0], "c": own[1]}))
            history = History(looks, 0, design, given_up)
            answers = judge(rows, [claim("a", "b"), claim("a", "c")], history=history)
            for place, answer in enumerate(answers):
                if answer.course.stage == "given up":
                    given_up.setdefault(answer.course.claim, n)
                if answer.course.stage != "open":
                    ended.setdefault(place, n)
            if len(ended) == len(answers):
                break
            seen = (own.paid.looks[-1].model_copy(update={"verdict": own.verdict}) for own in answers)
            looks.append(Look(claims=tuple(seen)))
        assert [ended[0], ended[1]] == seeds[number].tolist()
        assert [own.verdict == "supported" for own in answers] == shown[number].tolist()
    assert 0 < shown.mean() < 1
    assert len(set(seeds.ravel().tolist())) > 2


def test_p_values_are_those_of_the_first_seeds():
    drawn = differences(NOISE["normal"], 5, 2, 12)
    values, sizes = p_values(drawn, (3, 12))
    assert values.shape == sizes.shape == (2, 5, 2)
    assert sizes[0, 0, 0] == pytest.approx(drawn[0, 0, :3].mean() / drawn[0, 0, :3].std(ddof=1))
    assert until_decided(drawn, DESIGN).seeds <= DESIGN.most
