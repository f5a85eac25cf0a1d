"""How often looks at growing data are wrong, what they find, and how many seeds they take, by simulation.

Simulated are the paired differences of claims of order, in units of their standard deviation, many experiments at
once; levels, and what goes on, are those of `analysis.statistics.spending` and `analysis.verdicts.futility`, of which
`verdict` takes the levels. A family of three has three arms against one baseline.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.statistics import spending
from analysis.statistics.power import one_sided_power
from analysis.studies.simulations import NOISE, Draw
from analysis.verdicts.futility import HOPELESS, chance_to_differ
from analysis.verdicts.looks import OF_WHAT_IS_LEFT
from registry.schema.seeds import UntilDecided

Floats = NDArray[np.float64]
DESIGN = UntilDecided(first=3, most=12)
EVERY_THIRD = UntilDecided(first=3, most=12, every=3)
ALPHA = 0.05
FIXED_SHARES = tuple(OF_WHAT_IS_LEFT * (1 - OF_WHAT_IS_LEFT) ** look for look in range(5))
UNEQUAL: Mapping[str, float] = {"equal noise": 1.0, "arms three times as noisy": 3.0}
EFFECTS, MEANT_FOR = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0), 1.0
MOST_CLAIMS_AT_ONCE = 100_000  # of all experiments that are simulated at once
GROWN = (3, 5, 8, 12, 18)  # seeds of a fixed design that is made larger as long as nothing is shown


@dataclass(frozen=True)
class Course:
    """What came of simulated experiments.

    Args:
        shown: the share with any claim shown.
        seeds: the mean number of seeds of an arm.
    """

    shown: float
    seeds: float


def differences(
    noise: Draw, experiments: int, claims: int, seeds: int, unequal: float = 1.0, effect: float = 0.0
) -> Floats:
    """Return (experiments, claims, seeds): arms less the baseline, in units of their standard deviation.

    Args:
        noise: of one arm, with variance one.
        experiments: how many.
        claims: arms against the baseline, whose noise they share.
        seeds: of each arm.
        unequal: how many times as noisy as the baseline the arms are.
        effect: of every arm.
    """
    generator = np.random.default_rng([seeds, claims, 5])
    arms = noise(generator, (experiments, claims, seeds)) * unequal
    found: Floats = (arms - noise(generator, (experiments, 1, seeds))) / np.sqrt(1 + unequal**2) + effect
    return found


def p_values(drawn: Floats, looks: Sequence[int]) -> tuple[Floats, Floats]:
    """Return (looks, …) two-sided p-values of Student's t over the first seeds, and the effects in spreads."""
    values, sizes = [], []
    for n in looks:
        own = drawn[..., :n]
        size = own.mean(axis=-1) / own.std(axis=-1, ddof=1)
        values.append(2 * special.stdtr(n - 1, -np.abs(size) * np.sqrt(n)))
        sizes.append(size)
    return np.array(values), np.array(sizes)


def plain(drawn: Floats, looks: Sequence[int]) -> Course:
    """Return what comes of tests at the full level at every look, until one shows something."""
    values, _ = p_values(drawn, looks)
    hit = (values <= ALPHA / drawn.shape[1]).any(axis=2)
    return _course(hit, looks)


def paid(drawn: Floats, looks: Sequence[int], shares: Sequence[float]) -> Course:
    """Return what comes of looks that share the level, until one shows something."""
    values, _ = p_values(drawn, looks)
    levels = spending.levels_at(ALPHA / drawn.shape[1], tuple(looks), tuple(shares))
    return _course((values <= np.array(levels)[:, None, None]).any(axis=2), looks)


def _course(hit: Any, looks: Sequence[int]) -> Course:
    """Return the course of experiments that end at their first hit, from (looks, experiments) booleans."""
    ends = np.where(hit.any(axis=0), hit.argmax(axis=0), len(looks) - 1)
    return Course(float(hit.any(axis=0).mean()), float(np.array(looks)[ends].mean()))


def shares_of(design: UntilDecided) -> list[float]:
    """Return the share of the level that each look of a design spends."""
    spent = [spending.spent_by(n, design.most) for n in design.looks]
    return np.diff([0.0, *spent]).tolist()


def until_decided(drawn: Floats, design: UntilDecided) -> Course:
    """Return what comes of a design "until decided"; the baseline goes on with the last claim's arm.

    `seeds` is the mean over the claims' arms.
    """
    shown, seeds = ends(drawn, design)
    return Course(float(shown.any(axis=1).mean()), float(seeds.mean()))


def ends(drawn: Floats, design: UntilDecided) -> tuple[NDArray[np.bool_], Floats]:
    """Return (experiments, claims) which claims a design "until decided" shows, and with how many seeds each ends.

    Holm's method is over the claims at each look; a claim ends when it is shown, or hopeless.
    """
    experiments, claims, _ = drawn.shape
    values, sizes = p_values(drawn, design.looks)
    looks, shares = tuple(design.looks), tuple(shares_of(design))
    overall, nominal = spending.levels(looks, shares)
    best = np.ones((experiments, claims))
    going = np.ones((experiments, claims), dtype=bool)
    seeds = np.full((experiments, claims), float(design.most))
    for look, n in enumerate(looks):
        now = spending.overall_of(values[look], overall, nominal[look])
        best = np.where(going, np.minimum(best, now), best)
        shown = holm_of(best) <= ALPHA
        left = np.maximum(1, (~shown).sum(axis=1, keepdims=True))
        last = np.exp(np.interp(np.log(ALPHA / left), np.log(overall), np.log(nominal[-1])))
        hopeless = chance_to_differ(sizes[look], n, design.most, last) < HOPELESS
        ends = going & (shown | hopeless)
        seeds[ends] = n
        going &= ~ends
    return holm_of(best) <= ALPHA, seeds


def mean_seeds(
    claims: Sequence[Sequence[str]], design: UntilDecided, effect: float, experiments: int = 1000
) -> dict[str, float]:
    """Return the mean number of seeds of each arm, simulated as if all claims were of order, with normal noise.

    Args:
        claims: the arms of each; an arm goes on with the last of its claims.
        design: how seeds are added.
        effect: of every claim, in units of the spread of its paired difference.
        experiments: how many are simulated, fewer where there are many claims.
    """
    number = max(MOST_CLAIMS_AT_ONCE // len(claims), 1)
    drawn = differences(NOISE["normal"], min(experiments, number), len(claims), design.most, effect=effect)
    _, seeds = ends(drawn, design)
    own = {arm: [place for place, arms in enumerate(claims) if arm in arms] for arms in claims for arm in arms}
    return {arm: float(seeds[:, places].max(axis=1).mean()) for arm, places in own.items()}


def holm_of(values: Floats) -> Floats:
    """Return Holm's adjusted p-values over the last axis."""
    order = np.argsort(values, axis=-1)
    many = values.shape[-1]
    stepped = np.take_along_axis(values, order, axis=-1) * np.arange(many, 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(stepped, axis=-1))
    found = np.empty_like(values)
    np.put_along_axis(found, order, adjusted, axis=-1)
    return found


def anytime(drawn: Floats, looks: Sequence[int], scale: float = 1.0) -> Course:
    """Return what comes of a test that may be looked at whenever: the t-test's e-value, shown from 1 / alpha.

    The right-Haar mixture over the spread with a normal prior of `scale` on the effect in spreads (J. N. Rouder et al.,
    2009; as an e-value: M. F. Pérez-Ortiz, T. Lardy, R. de Heide and P. D. Grünwald, arXiv:2208.07610).
    """
    _, sizes = p_values(drawn, looks)
    n = np.array(looks, dtype=np.float64)[:, None, None]
    t2, wide = sizes**2 * n, 1 + n * scale**2
    e_values = np.sqrt(1 / wide) * ((1 + t2 / (n - 1)) / (1 + t2 / ((n - 1) * wide))) ** (n / 2)
    return _course((e_values >= drawn.shape[1] / ALPHA).any(axis=2), looks)


def seeds_for(effect: float, power: float) -> float:
    """Return how many seeds a fixed design needs for a power, between whole ones; infinite for no effect."""
    if effect == 0:
        return float("inf")
    powers = [one_sided_power(effect, n, ALPHA / 2) for n in range(2, 200)]
    return float(np.interp(power, powers, np.arange(2, 200)))


@dataclass(frozen=True)
class Saving:
    """A design "until decided" and a fixed one that finds an effect as often.

    Args:
        effect: in spreads of the paired difference.
        course: of the design.
        anytime: of the anytime-valid test with the same looks.
        fixed: seeds of the fixed design.
    """

    effect: float
    course: Course
    anytime: Course
    fixed: float

    @property
    def saved(self) -> float:
        """The share of replicates that the design saves."""
        return 1 - self.course.seeds / self.fixed


def savings(design: UntilDecided, effects: Sequence[float], meant: float, experiments: int) -> list[Saving]:
    """Return what a design saves, against the fixed design that has its power at the effect that it is meant for.

    Nobody knows the effect before, so the fixed design has as many seeds whatever the effect turns out to be.
    """
    noise = NOISE["normal"]

    def course(effect: float) -> Course:
        return until_decided(differences(noise, experiments, 1, design.most, effect=effect), design)

    fixed = seeds_for(meant, course(meant).shown)
    return [
        Saving(
            effect, course(effect),
            anytime(differences(noise, experiments, 1, design.most, effect=effect), design.looks), fixed,
        )
        for effect in effects
    ]  # fmt: skip


@dataclass(frozen=True)
class LookErrors:
    """The shares of simulated experiments without any effect in which anything is shown.

    Args:
        once: one look at eight seeds.
        naive: a look at each of `GROWN`, each at the full level.
        paid: the same looks, which share the level as those at a fixed design do.
        until_decided: the design "until decided", a look a seed.
        every_third: the same with a look every three seeds.
        anytime: an anytime-valid test at the looks of the design.
    """

    once: float
    naive: float
    paid: float
    until_decided: float
    every_third: float
    anytime: float


def errors(noise: Draw, unequal: float, claims: int, experiments: int) -> LookErrors:
    """Return how often looks are wrong.

    Args:
        noise: of an arm.
        unequal: how many times as noisy as the baseline the others are.
        claims: of the family.
        experiments: how many are simulated.
    """
    drawn = differences(noise, experiments, claims, max(GROWN), unequal)
    return LookErrors(
        plain(drawn, (8,)).shown,
        plain(drawn, GROWN).shown,
        paid(drawn, GROWN, FIXED_SHARES).shown,
        until_decided(drawn, DESIGN).shown,
        until_decided(drawn, EVERY_THIRD).shown,
        anytime(drawn, DESIGN.looks).shown,
    )
