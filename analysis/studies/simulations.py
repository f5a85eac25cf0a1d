"""How often the rule of `analysis.verdicts.judging` is right: simulated experiments, judged by the rule itself.

    python -m analysis.studies.simulation_tables --out docs/statistics.md [--experiments N]

writes the tables of docs/statistics.md anew, between their two marks. A simulated score is
100 + what its seed does to all arms alike (sd 10) + the arm's effect + noise (sd 5).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results.results_frame import load
from analysis.statistics.power import seeds_to_be_within, seeds_to_differ, seeds_to_improve
from analysis.statistics.t_tests import EquivalenceTest, PairedTest, t_interval
from analysis.verdicts.judging import judge
from analysis.verdicts.looks import OF_WHAT_IS_LEFT, History
from analysis.verdicts.verdict import Verdict
from registry.experiment.claims import ResolvedClaim
from registry.schema.claim import Margin

SEEDS = (3, 5, 8)
LEVEL, SHARED, SPREAD = 100.0, 10.0, 5.0
DIFFERENCE_SD = SPREAD * math.sqrt(2)  # of the paired difference of two arms
RESAMPLES = 1000  # of the bootstrap
ALPHA = 0.05
NEXT_LEVEL = ALPHA * OF_WHAT_IS_LEFT * (1 - OF_WHAT_IS_LEFT)  # that a fixed design's second look has for one claim

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]


def _skewed(generator: np.random.Generator, size: tuple[int, ...]) -> NDArray[np.float64]:
    return (np.exp(generator.normal(size=size)) - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)


NOISE: Mapping[str, Draw] = {
    "normal": lambda generator, size: generator.normal(size=size),
    "skewed (log-normal)": _skewed,
    "heavy-tailed (t, 3 degrees)": lambda generator, size: generator.standard_t(3, size=size) / math.sqrt(3),
}


def worst_chance(share: float, experiments: int) -> float:
    """The largest share that chance alone would show for a true `share`: three binomial standard errors above it."""
    return share + 3 * math.sqrt(share * (1 - share) / experiments)


def order(better: str, worse: str) -> ResolvedClaim:
    """A claim of order between two simulated arms."""
    return ResolvedClaim("order", "arm", (better, worse), (better, worse), "fvd", "min")


def equivalence(first: str, second: str, margin: Margin) -> ResolvedClaim:
    """A claim of equivalence of two simulated arms."""
    return ResolvedClaim("equivalence", "arm", (first, second), (first, second), "fvd", "min", margin)


def trend(*arms: str) -> ResolvedClaim:
    """A claim that scores improve along these simulated arms."""
    return ResolvedClaim("trend", "arm", arms, arms, "fvd", "min")


def over_grid(claim: ResolvedClaim) -> ResolvedClaim:
    """Return the claim as one about the main effect over a grid: arms a, b stand at its points as a1, b1 and a2, b2."""
    arms = tuple(f"{arm}{point}" for point in "12" for arm in claim.arms)
    return replace(claim, arms=arms, points=((("other", "1"),), (("other", "2"),)))


@dataclass(frozen=True)
class Scenario:
    """Experiments whose truth is known.

    Args:
        name: what the truth is.
        effects: arm -> what it adds to the score.
        claims: made about these arms (one that is `over_grid`: about these arms at either point).
        wrong: claim's kind -> the answers that the truth makes false.
        at_both_points: the spread of what a seed does to an arm at both points of a grid alike.
    """

    name: str
    effects: Mapping[str, float]
    claims: tuple[ResolvedClaim, ...]
    wrong: Mapping[str, tuple[str, ...]]
    at_both_points: float = 0.0

    def is_false(self, answers: Sequence[Verdict]) -> bool:
        """Whether any of the verdicts is false."""
        return any(answer.verdict in self.wrong[answer.claim.kind] for answer in answers)


_EQUAL = dict.fromkeys("abcd", 0.0)
ANY = ("supported", "contradicted")
_EDGE = 5.0  # of the margin of equivalence: 5 % of the level
_ABSOLUTE, _SHARE = Margin(value=_EDGE, unit="score"), Margin(value=_EDGE / LEVEL, unit="share")
SCENARIOS = (
    Scenario("A/A, 1 claim of order", _EQUAL, (order("a", "b"),), {"order": ANY}),
    Scenario("A/A, 3 claims of order", _EQUAL, tuple(order("a", x) for x in "bcd"), {"order": ANY}),
    Scenario("A/A, trend of 4 arms", _EQUAL, (trend(*"abcd"),), {"trend": ANY}),
    Scenario(
        "equivalence called supported, true difference = margin",
        {"a": 0.0, "b": _EDGE},
        (equivalence("a", "b", _ABSOLUTE),),
        {"equivalence": ("supported",)},
    ),
    Scenario(
        "the same, margin as a share of the first's score",
        {"a": 0.0, "b": _EDGE},
        (equivalence("a", "b", _SHARE),),
        {"equivalence": ("supported",)},
    ),
    Scenario(
        "equivalence called contradicted, true difference = margin",
        {"a": 0.0, "b": _EDGE},
        (equivalence("a", "b", _ABSOLUTE),),
        {"equivalence": ("contradicted",)},
    ),
    Scenario(
        "all three kinds at once, none of them true",
        {**_EQUAL, "e": _EDGE},
        (order("a", "b"), trend(*"abcd"), equivalence("a", "e", _ABSOLUTE)),
        {"order": ANY, "trend": ANY, "equivalence": ("supported",)},
    ),
    Scenario(
        "trend of 4 arms called supported, last step worse by 1 sd",
        {"a": 0.0, "b": -3 * DIFFERENCE_SD, "c": -6 * DIFFERENCE_SD, "d": -5 * DIFFERENCE_SD},
        (trend(*"abcd"),),
        {"trend": ("supported", "contradicted")},
    ),
    Scenario(
        "the same, last step without effect",
        {"a": 0.0, "b": -6 * DIFFERENCE_SD, "c": -12 * DIFFERENCE_SD, "d": -12 * DIFFERENCE_SD},
        (trend(*"abcd"),),
        {"trend": ("supported", "contradicted")},
    ),
)
# Grids of two points, at both of which a seed does the same to an arm: taken for more seeds than there are, they would
# show anything. In the first the points disagree by more than noise makes, so that either by itself shows an effect.
GRIDS = (
    Scenario(
        "grid of 2 points with opposite effects, 1 claim of order",
        {"a1": 0.0, "b1": 4 * SPREAD, "a2": 0.0, "b2": -4 * SPREAD},
        (over_grid(order("a", "b")),),
        {"order": ANY},
        at_both_points=2 * SPREAD,
    ),
    Scenario(
        "grid of 2 points, all three kinds at once, none of them true",
        {f"{arm}{point}": _EDGE * (arm == "e") for point in "12" for arm in "abcde"},
        tuple(map(over_grid, (order("a", "b"), trend(*"abcd"), equivalence("a", "e", _ABSOLUTE)))),
        {"order": ANY, "trend": ANY, "equivalence": ("supported",)},
        at_both_points=2 * SPREAD,
    ),
)


def false_share(scenario: Scenario, noise: Draw, seeds: int, experiments: int) -> float:
    """The share of simulated experiments in which any verdict is false."""
    generator = np.random.default_rng([seeds, 1])
    found = (scenario.is_false(answers) for answers in _judged(scenario, noise, seeds, experiments, generator))
    return sum(found) / experiments


def supported_share(scenario: Scenario, seeds: int, experiments: int, alpha: float = ALPHA) -> float:
    """The share of simulated experiments with normal noise in which the first claim is supported, at a level."""
    generator = np.random.default_rng([seeds, 2])
    judged = _judged(scenario, NOISE["normal"], seeds, experiments, generator, alpha=alpha)
    return sum(answers[0].verdict == "supported" for answers in judged) / experiments


def _judged(
    scenario: Scenario, noise: Draw, seeds: int, experiments: int, generator: np.random.Generator, **how: Any
) -> Iterator[list[Verdict]]:
    """Yield the verdicts of each simulated experiment; `how` are further arguments of `judge`."""
    template = _template(tuple(scenario.effects), seeds)
    effects = np.array(list(scenario.effects.values()))[:, None]
    for _ in range(experiments):
        scores = _scores(effects, noise, seeds, generator)
        if scenario.at_both_points:
            arms, of_arm = np.unique([arm[0] for arm in scenario.effects], return_inverse=True)
            scores += scenario.at_both_points * noise(generator, (len(arms), seeds))[of_arm]
        yield _answers(template.assign(fvd=scores.ravel()), scenario.claims, **how)


def _answers(frame: pd.DataFrame, claims: Sequence[ResolvedClaim], **how: Any) -> list[Verdict]:
    """Return the verdicts; of claims about two steps, arms that end in a step's number are what they are there."""
    steps = {step for claim in claims for step in claim.steps}
    arms = frame["arm"].str
    at = {step: frame[arms.endswith(str(step))] for step in steps}
    by_step = {step: own.assign(arm=own["arm"].str[:-1]) for step, own in at.items()}
    return judge(frame, claims, by_step=by_step, **how)


def _scores(
    effects: NDArray[np.float64],
    noise: Draw,
    seeds: int,
    generator: np.random.Generator,
    spread: float | NDArray[np.float64] = SPREAD,
) -> NDArray[np.float64]:
    """(arms, seeds) float64: one simulated experiment."""
    shared = SHARED * generator.normal(size=seeds)
    scores: NDArray[np.float64] = LEVEL + shared + effects + spread * noise(generator, (len(effects), seeds))
    return scores


@cache
def _template(arms: tuple[str, ...], seeds: int) -> pd.DataFrame:
    """A finished experiment, whose scores are yet to be put in."""
    about = {"experiment": "simulated", "axes": {}, "identity": "", "state": "done", "folder": ""}
    result = {"scores": {"fvd": 0.0}, "data_digest": "d", "protocols": {"fvd": "p"}}
    frame = load({**about, "arm": arm, "seed": seed, "result": result} for arm in arms for seed in range(seeds))
    return frame.astype(dict.fromkeys(("arm", "state", "data_digest"), object))  # each is read a million times


@dataclass(frozen=True)
class Coverage:
    """How often 95 % intervals hold the truth: of an arm's mean score, and of the paired difference of two arms.

    In the last two, one arm is three times as noisy as the other, so that the differences are as skewed as the noise.
    """

    t_mean: float
    t_difference: float
    t_unequal: float
    bootstrap_mean: float
    bootstrap_unequal: float


def coverage(noise: Draw, seeds: int, experiments: int) -> Coverage:
    """Nominal 95 % intervals of simulated experiments against the truth; those of differences come from verdicts."""
    generator = np.random.default_rng([seeds, 3])
    claims, template = [order("b", "a")], _template(("a", "b"), seeds)
    held = np.zeros(5)
    for _ in range(experiments):
        alone = LEVEL + SPREAD * noise(generator, (seeds,))
        equal = _scores(np.zeros((2, 1)), noise, seeds, generator)
        unequal = _scores(np.zeros((2, 1)), noise, seeds, generator, spread=np.array([[3 * SPREAD], [SPREAD]]))
        intervals = (
            (t_interval(alone), LEVEL),
            *((judge(template.assign(fvd=scores.ravel()), claims)[0].interval, 0.0) for scores in (equal, unequal)),
            (percentile_bootstrap(alone, generator), LEVEL),
            (percentile_bootstrap(unequal[0] - unequal[1], generator), 0.0),
        )
        held += [interval is not None and interval[0] <= truth <= interval[1] for interval, truth in intervals]
    return Coverage(*(held / experiments).tolist())


def percentile_bootstrap(values: NDArray[np.float64], generator: np.random.Generator) -> tuple[float, float]:
    """The 95 % percentile interval of the mean over resamples of a few values: what no verdict here is made of."""
    means = values[generator.integers(0, len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True)
class Power:
    """A true effect, the seeds that the estimate asks for to show it, and the simulated power with these and fewer.

    All three are at `NEXT_LEVEL`, the level of a second look, which is what `verdict` asks for at the first one;
    `at_once` are the seeds of a single test at `ALPHA`.
    """

    claim: str
    seeds: int
    power: float
    power_with_fewer: float
    at_once: int


def powers(experiments: int) -> list[Power]:
    """Return the seeds that `verdict` asks for at its first look, were mean and spread known, and what they find.

    Found is the share of simulated experiments whose effect is shown at the level of the second look.
    """
    found = []
    for size in (0.8, 1.2, 2.0):
        effects = {"a": 0.0, "b": size * DIFFERENCE_SD}
        scenario = Scenario("", effects, (order("a", "b"),), {})
        asked = partial(seeds_to_differ, size, 1.0)
        found.append(_power(f"order, effect {size:g} sd", scenario, asked, experiments))
    for size in (1.0, 1.5, 2.5):
        margin = Margin(value=size * DIFFERENCE_SD, unit="score")
        scenario = Scenario("", {"a": 0.0, "b": 0.0}, (equivalence("a", "b", margin),), {})
        side = PairedTest(0, size, 1.0, None, None, None)
        test = EquivalenceTest(PairedTest(0, 0.0, 1.0, None, None, None), side, side)
        asked = partial(seeds_to_be_within, test)
        found.append(_power(f"equivalence, margin {size:g} sd, no difference", scenario, asked, experiments))
    for size in (0.8, 1.2, 2.0):
        effects = {arm: -place * size * DIFFERENCE_SD for place, arm in enumerate("abcd")}
        scenario = Scenario("", effects, (trend(*"abcd"),), {})
        asked = partial(seeds_to_improve, [PairedTest(0, size, 1.0, None, None, None)] * 3)
        found.append(_power(f"trend of 4 arms, every step {size:g} sd", scenario, asked, experiments))
    return found


def _power(claim: str, scenario: Scenario, asked: Callable[..., int | None], experiments: int) -> Power:
    seeds, at_once = asked(alpha=NEXT_LEVEL), asked(alpha=ALPHA)
    assert seeds is not None
    assert at_once is not None
    with_all, with_fewer = (supported_share(scenario, n, experiments, NEXT_LEVEL) for n in (seeds, seeds - 1))
    return Power(claim, seeds, with_all, with_fewer, at_once)


@dataclass(frozen=True)
class Estimates:
    """What the first look at a claim says of the seeds that would decide it.

    `undecided` is the share of experiments that it leaves so; the others are percentiles (10th, 50th, 90th) of the
    seeds that it asks for in these, infinite where these are more than `MOST_SEEDS`.
    """

    undecided: float
    low: float
    middle: float
    high: float


def estimates(size: float, pilot: int, experiments: int) -> Estimates:
    """Return what a first look with `pilot` seeds asks for, where the effect of an order is `size` sd."""
    generator = np.random.default_rng([pilot, 4])
    scenario = Scenario("", {"a": 0.0, "b": size * DIFFERENCE_SD}, (order("a", "b"),), {})
    judged = _judged(scenario, NOISE["normal"], pilot, experiments, generator, history=History())
    asked = [answer.seeds_needed or math.inf for (answer,) in judged if answer.verdict == "undecided"]
    quantiles = np.quantile(asked, (0.1, 0.5, 0.9), method="nearest") if asked else (math.nan,) * 3
    return Estimates(len(asked) / experiments, *map(float, quantiles))
