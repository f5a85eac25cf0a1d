"""How often chance sets off the warnings of `analysis.statistics.scatter`, of simulated arms that differ in nothing."""

from dataclasses import dataclass

import numpy as np

from analysis.statistics.scatter import FEWEST_TO_SCATTER, GAPS, UNEQUAL, two_groups
from analysis.studies.simulations import Draw

SEEDS = (FEWEST_TO_SCATTER, *GAPS, 7, 8, 12)


@dataclass(frozen=True)
class Alarms:
    """The share of arms whose seeds are told to fall into two groups, and of pairs told to scatter unlike."""

    two_groups: float
    unequal: float


def alarms(noise: Draw, seeds: int, experiments: int) -> Alarms:
    """Return how often arms with nothing but noise are warned of.

    Args:
        noise: of the scores.
        seeds: of an arm.
        experiments: simulated pairs of arms.
    """
    scores = noise(np.random.default_rng([seeds, 5]), (experiments, 2, seeds))
    spreads = scores.std(axis=-1, ddof=1)
    found = sum(two_groups(own) is not None for own in scores[:, 0])
    unequal = spreads.max(axis=1) > UNEQUAL * spreads.min(axis=1)
    return Alarms(found / experiments, float(unequal.mean()))
