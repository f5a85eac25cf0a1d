"""Warnings of arms that were compared on their first plateau: on curves that were measured, and on made-up ones."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.results.results_frame import load
from analysis.verdicts.judging import judge
from analysis.verdicts.plateau import on_first_plateau, with_plateaus
from tests.fixtures.replicates import claim, replicates

# The quickstart's network with `all_tokens`, seed 0, every 5 steps (29 Nov 2026): it leaves its plateau at step 115.
MEASURED = [
    0.753, 0.621, 0.613, 0.583, 0.602, 0.568, 0.539, 0.526, 0.472, 0.536, 0.473, 0.556, 0.6, 0.516, 0.535, 0.54, 0.534,
    0.516, 0.432, 0.533, 0.471, 0.48, 0.483, 0.35, 0.384, 0.4, 0.429, 0.347, 0.347, 0.308, 0.338, 0.346, 0.306, 0.284,
    0.264, 0.284, 0.214, 0.271, 0.213, 0.218,
]  # fmt: skip
# The same with `s_adaln`, every 15 steps to step 395: no plateau, and flat in its second half.
LEARNED = [
    0.798, 0.555, 0.459, 0.349, 0.284, 0.196, 0.14, 0.137, 0.131, 0.131, 0.128, 0.122, 0.091, 0.104, 0.106, 0.106,
    0.101, 0.109, 0.097, 0.096, 0.085, 0.076, 0.098, 0.092, 0.097, 0.092, 0.09,
]  # fmt: skip


def stuck(losses):
    return on_first_plateau(np.arange(1.0, len(losses) + 1), np.asarray(losses, dtype=float))


def test_a_training_is_on_its_plateau_until_it_leaves_it():
    assert stuck(MEASURED[:22])
    assert not stuck(MEASURED)
    assert not stuck(LEARNED)


def curve(level, noise=0.02, points=60, seed=0):
    """A first fall from 1 to a level, reached within a tenth of the training, and noise."""
    steps = np.arange(points)
    return (
        level + (1 - level) * np.exp(-steps / (0.03 * points)) + noise * np.random.default_rng(seed).normal(size=points)
    )


@pytest.mark.parametrize("seed", range(5))
def test_what_is_flat_and_high_is_on_its_plateau_whatever_its_level(seed):
    assert stuck(curve(0.8, seed=seed))
    assert stuck(curve(0.4, 0.01, seed=seed))
    assert stuck(curve(0.5, 0.02, points=600, seed=seed) - np.linspace(0, 0.008, 600))  # hardly moves, and surely


@pytest.mark.parametrize("seed", range(5))
def test_what_learned_or_learns_or_is_not_known_is_not(seed):
    steps = np.arange(1, 61)
    noise = np.random.default_rng(seed).normal(size=60)
    assert not stuck(curve(0.1, seed=seed))  # converged, and low
    assert not stuck(0.9 * steps**-0.25 * (1 + 0.02 * noise))  # a power law
    assert not stuck(np.where(steps < 40, 0.6, 0.6 - 0.02 * (steps - 40)) + 0.4 * (steps < 4))  # leaves it at the end
    assert not stuck(curve(0.6, noise=0.3, seed=seed))  # too noisy to know
    assert not stuck(curve(0.6)[:15])  # too few
    assert not stuck(0.3 + 0.01 * noise)  # no first fall: it started from weights
    assert not stuck([np.nan] * 30)


def answers_with(of_b, step=None, state="done"):
    """Verdicts of two arms of which one logged a curve of its own, with what is warned of."""
    rows = replicates({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.5, 6.0]})
    for row in rows:
        row["state"] = state
    frame = load(rows)
    lines = [
        {"arm": arm, "seed": seed, "step": 5 * place, "loss": loss}
        for arm, losses in (("a", LEARNED), ("b", of_b))
        for seed in range(3)
        for place, loss in enumerate(losses, 1)
    ]
    answers = [replace(answer, claim=replace(answer.claim, step=step)) for answer in judge(frame, [claim()])]
    return answers, with_plateaus(answers, pd.DataFrame(lines), frame)


def test_the_warning_stands_beside_the_verdict_and_changes_nothing_else():
    (before,), (after,) = answers_with(MEASURED[:22])
    (warning,) = after.warnings
    assert warning.startswith(
        "warning: b is still on the first plateau of its loss (seeds 0, 1, 2 of 3; at the end 0.48"
    )
    assert (after.verdict, after.p, after.effect, after.reason) == (
        before.verdict,
        before.p,
        before.effect,
        before.reason,
    )
    assert after.as_json() == {**before.as_json(), "warnings": [warning]}


def test_a_claim_about_an_earlier_step_is_warned_of_what_was_so_there():
    assert answers_with(MEASURED)[1][0].warnings == ()
    (_, (early,)) = answers_with(MEASURED, step=110)
    assert "(seeds 0, 1, 2 of 3; at step 110 0.48" in early.warnings[0]


def test_trainings_that_are_not_done_or_logged_nothing_are_not_told_of():
    assert answers_with(MEASURED[:22], state="running")[1][0].warnings == ()
    (answer,) = judge(load(replicates({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.5, 6.0]})), [claim()])
    assert with_plateaus([answer], pd.DataFrame({"arm": [], "seed": [], "step": []}), pd.DataFrame()) == [answer]
