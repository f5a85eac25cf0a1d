"""What the seeds show about one claim, before the family of claims is looked at.

Every test pairs the arms by seed. Order: the mean difference, two-sided. Equivalence: two one-sided tests of the
difference against the edges of the margin. Trend: every step by itself, of which the least sure decides
(intersection-union, R. L. Berger, Technometrics 24, 1982); that scores get worse, by each seed's slope on the rank.
Claims that compare effects, over another axis or between two steps, are weighed as in `analysis.verdicts.effects_over`.
A claim about an axis of a grid is about its main effect: per seed, scores are averaged over the grid's other axes
first, which averages the paired differences, and the slopes, over them. So n counts seeds, whatever the grid's size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results.floors import Floors, below, unit_of
from analysis.results.results_frame import paired_scores, protocol_of, scores_by_arm
from analysis.statistics import power
from analysis.statistics.scatter import scatter_warnings
from analysis.statistics.t_tests import EquivalenceTest, PairedTest, equivalence_test, paired_test, slopes_on_rank
from analysis.verdicts import effects_over
from analysis.verdicts.effects_over import EffectAt, Growth, Part
from analysis.verdicts.readiness import pairs, waits_for
from registry.experiment.claims import ResolvedClaim

AGREEMENT = 1e-5  # of a seed's largest score: scores of two trainings are hardly ever so near to each other
EQUAL = "the arms have equal scores on every seed"
NOT_REACHED = (
    ", so what the arms differ in has not reached the scores, and more seeds would show the same; averaged weights "
    "that are still the initial ones (learning.ema_decay) look like this, and so does a key that nothing reads"
)

Answer = Literal["supported", "contradicted", "undecided", "refused"]  # refused: made by different code


@dataclass(frozen=True)
class Step(Part):
    """The mean paired difference from one arm of a trend to the next; positive is an improvement.

    `p` is two-sided and of this step alone; `shown` is set where the improvement is shown at the level of its claim.
    """

    worse: str
    better: str
    effect: float | None
    interval: tuple[float, float] | None
    p: float | None = None
    shown: bool = False


@dataclass(frozen=True)
class PointEffect:
    """The mean effect at one point of the grid's other axes (axis -> value), by itself."""

    at: Mapping[str, str]
    effect: float


@dataclass(frozen=True)
class Evidence:
    """What the paired scores say about a claim.

    `test` holds the effect, in the score's unit: the mean difference that supports the claim (order), second less
    first (equivalence), the mean improvement per step (trend), the mean over the values of the other axis (an order
    that holds over it), or how much greater the second effect is (interaction, change). `p` is None where `obstacle`
    says why no test is made. `leaning` is the answer that the data lean to, and given where `p` is small enough.
    `points` has the effect at each point that a main effect is averaged over, and is empty for any other claim.
    `agreement` says that the arms' scores are all but the same, where they are; `warnings` name arms that score below
    a floor of their own, or whose seeds scatter oddly. Where effects are compared, `values` has them, and `growth` how
    that of an order goes on.
    """

    test: PairedTest
    p: float | None
    leaning: Answer
    obstacle: str
    protocol: str | None = None
    floor: float | None = None
    equivalence: EquivalenceTest | None = None
    margin: float | None = None
    steps: tuple[Step, ...] = ()
    step_tests: tuple[PairedTest, ...] = ()
    points: tuple[PointEffect, ...] = ()
    values: tuple[EffectAt, ...] = ()
    value_tests: tuple[PairedTest, ...] = ()
    growth: Growth | None = None
    agreement: str = ""
    warnings: tuple[str, ...] = ()

    def seeds_needed(self, alpha: float) -> int | None:
        """An estimate of the seeds that would show what the data lean to, None beyond `power.MOST_SEEDS`."""
        every = self.step_tests or self.value_tests
        if every and self.leaning == "supported":
            return power.seeds_to_improve(every, alpha=alpha)
        if self.value_tests:
            worst = min(self.value_tests, key=lambda test: test.mean or 0.0)
            return power.seeds_to_differ(worst.mean or 0.0, worst.sd or 0.0, alpha=alpha / len(self.value_tests))
        if self.equivalence is None:
            return power.seeds_to_differ(self.test.mean or 0.0, self.test.sd or 0.0, alpha=alpha)
        needed = power.seeds_to_be_within if self.leaning == "supported" else power.seeds_to_be_beyond
        return needed(self.equivalence, alpha=alpha)


def weigh(frame: pd.DataFrame, claim: ResolvedClaim, floors: Floors = (), alpha: float = 0.05) -> Evidence:
    """Test one claim, by itself.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
        claim: about arms of the frame.
        floors: the records of floors.json.
        alpha: the intervals cover `1 - alpha`.

    Raises:
        RunError: the claim compares scores of different data or protocols.
    """
    protocol = protocol_of(frame, claim.arms, claim.metric)
    floor = unit_of(floors, claim.metric, protocol)
    by_arm = scores_by_arm(frame, claim.arms, claim.metric)
    by_point = paired_scores([by_arm[arm] for arm in claim.arms]).reshape(-1, len(claim.points), len(claim.labels))
    waits = waits_for(frame, claim, by_arm)
    obstacle = f"{pairs(len(by_point))}; {waits}" if waits else ""
    size = float(np.abs(by_point).max()) if by_point.size else 0.0
    means = {arm: float(own.mean()) for arm, own in by_arm.items()}
    warnings = (*below(floors, claim.metric, protocol, means), *scatter_warnings(claim.metric, claim.cells, by_point))
    with np.errstate(over="ignore", invalid="ignore"):
        scores = by_point.mean(axis=1)
        points = _points(claim, by_point)
    agreement = _agreement(by_point.reshape(-1, len(claim.labels)) if claim.over else scores)
    if claim.kind == "equivalence":
        found = _equivalence(claim, scores, obstacle, protocol, floor, alpha)
    else:
        if agreement and not obstacle:
            obstacle = f"{pairs(len(scores))}; {agreement}"
        if claim.over:
            with np.errstate(over="ignore", invalid="ignore"):
                by_value = effects_over.effects_by_value(claim, _effects(claim, by_point))
            found = _compared(claim, by_value, size, obstacle, alpha)
            if claim.kind == "holds_over":
                found = replace(found, growth=effects_over.growth(frame, claim, by_value, size, alpha))
        else:
            found = _improvement(claim, scores, size, obstacle, alpha)
    return replace(found, protocol=protocol, floor=floor, points=points, agreement=agreement, warnings=warnings)


def _effects(claim: ResolvedClaim, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (…, labels) -> (…): the effect that each row of scores shows, in the sense of the claim's kind."""
    if claim.kind == "equivalence":
        return scores[..., 1] - scores[..., 0]
    improving = _improving(claim, scores)
    return improving[..., 0] - improving[..., 1] if len(claim.labels) == 2 else slopes_on_rank(improving)


def _improving(claim: ResolvedClaim, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores with the sign by which higher is better."""
    return -scores if claim.direction == "min" else scores


def _points(claim: ResolvedClaim, by_point: NDArray[np.float64]) -> tuple[PointEffect, ...]:
    """Return the mean effect at each point, where there are several, from scores (seeds, points, labels)."""
    if len(claim.points) == 1 or not len(by_point):
        return ()
    means = _effects(claim, by_point).mean(axis=0)
    if not np.isfinite(means).all():
        return ()
    return tuple(PointEffect(dict(point), float(mean)) for point, mean in zip(claim.points, means, strict=True))


def _improvement(
    claim: ResolvedClaim,
    scores: NDArray[np.float64],
    size: float,
    obstacle: str,
    alpha: float,
) -> Evidence:
    """Test a claim of order or of trend by scores (seeds, labels)."""
    with np.errstate(over="ignore", invalid="ignore"):
        test = paired_test(_effects(claim, scores), alpha=alpha, size=size)
        tests: tuple[PairedTest, ...] = ()
        if claim.kind == "trend":
            tests = effects_over.tests_of_each(np.diff(_improving(claim, scores), axis=1), size, alpha)
    obstacle = obstacle or _untestable(test)
    leaning: Answer = "supported" if (test.mean or 0.0) > 0 else "contradicted"
    neighbours = zip(claim.labels, claim.labels[1:], tests, strict=False)
    steps = tuple(Step(worse, better, own.mean, own.interval, own.p) for worse, better, own in neighbours)
    p = max(step.p_better for step in steps) if steps and leaning == "supported" else test.p
    return Evidence(test, None if obstacle else p, leaning, obstacle, steps=steps, step_tests=tests)


def _compared(
    claim: ResolvedClaim, by_value: NDArray[np.float64], size: float, obstacle: str, alpha: float
) -> Evidence:
    """Test a claim that compares effects by these (seeds, values)."""
    tests = effects_over.tests_of_each(by_value, size, alpha)
    values = tuple(
        EffectAt(value, own.mean, own.interval, own.p) for value, own in zip(claim.compared, tests, strict=True)
    )
    if claim.kind != "holds_over":
        with np.errstate(over="ignore", invalid="ignore"):
            test = paired_test(by_value[:, 1] - by_value[:, 0], alpha=alpha, size=size)
        obstacle = obstacle or _untestable(test)
        return Evidence(test, None if obstacle else test.p, "supported", obstacle, values=values)
    with np.errstate(over="ignore", invalid="ignore"):
        test = paired_test(by_value.mean(axis=1), alpha=alpha, size=size)
    obstacle = obstacle or _untestable(test)
    holds = all((own.mean or 0.0) > 0 for own in tests)
    p = max(value.p_better for value in values) if holds else effects_over.p_fails(tests)
    leaning: Answer = "supported" if holds else "contradicted"
    return Evidence(test, None if obstacle else p, leaning, obstacle, values=values, value_tests=tests)


def _agreement(scores: NDArray[np.float64]) -> str:
    """What to say where the arms' scores (seeds, arms) agree on every seed to `AGREEMENT`; empty where they do not."""
    if not scores.size:
        return ""
    with np.errstate(over="ignore", invalid="ignore"):
        differences = np.abs(scores - scores[:, :1]).max(axis=1)
    if not differences.any():
        return EQUAL + NOT_REACHED
    if (differences <= AGREEMENT * np.abs(scores).max(axis=1)).all():
        return f"the arms' scores agree to {AGREEMENT:g} of their size on every seed{NOT_REACHED}"
    return ""


def _equivalence(
    claim: ResolvedClaim,
    scores: NDArray[np.float64],
    obstacle: str,
    protocol: str | None,
    floor: float | None,
    alpha: float,
) -> Evidence:
    assert claim.margin is not None
    first, second = scores.T
    unit, value = claim.margin.unit, claim.margin.value
    share = value if unit == "share" else 0.0
    fixed = value * (floor or 0.0) if unit == "floor" else value if unit == "score" else 0.0
    test = equivalence_test(first, second, margin=fixed, share=share, alpha=alpha)
    margin: float | None = fixed + share * float(first.mean()) if len(scores) else None
    if unit == "floor" and floor is None:
        margin = None
        obstacle = obstacle or (
            f"{pairs(len(scores))}; the margin is {claim.margin}, and there is no floor of real halves clearly above "
            f"zero for {claim.metric} by protocol {protocol or 'not recorded'}"
        )
    elif margin is not None and margin <= 0:
        margin = None
        obstacle = obstacle or (
            f"{pairs(len(scores))}; {claim.margin} of a mean score of {first.mean():.3g} is no margin: "
            "give it in the score's unit"
        )
    obstacle = obstacle or _untestable(test.difference)
    within, beyond = test.p_within, test.p_beyond
    if not obstacle and (within is None or beyond is None):
        obstacle = f"{pairs(len(scores))}; the spread between seeds is unknown"
    inside = margin is not None and abs(test.difference.mean or 0.0) < margin
    p = None if obstacle else within if inside else beyond
    leaning: Answer = "supported" if inside else "contradicted"
    return Evidence(test.difference, p, leaning, obstacle, equivalence=test, margin=margin)


def _untestable(test: PairedTest) -> str:
    if test.p is not None:
        return ""
    if test.n < 2:
        return f"{pairs(test.n)}; a test needs at least 2, and rarely shows anything below 5"
    if test.mean is None:
        return f"{pairs(test.n)}; the scores are too large to be subtracted"
    if test.mean == 0:
        return f"{pairs(test.n)}; {EQUAL}{NOT_REACHED}"
    return f"{pairs(test.n)}; all differences are equal, so the spread between seeds is unknown"
