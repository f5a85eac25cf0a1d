"""Warnings of how seeds scatter: one arm's much more than another's, or in two groups. They change no verdict.

Student's t takes differences for normal. Where one arm is three times as noisy as another and its scores are skewed, or
where some seeds went another way than the rest, a verdict is false more often than it says (docs/statistics.md).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.statistics.t_tests import ROUNDING

UNEQUAL = 3.0  # times the standard deviation
FEWEST_TO_SCATTER = 3  # seeds
# How many times as wide as the wider of two groups the gap between them is, by the number of seeds. With few seeds gaps
# are wide by chance: so one arm in about a hundred is told falsely, whatever the number of seeds.
GAPS: Mapping[int, float] = {4: 8.0, 5: 5.0, 6: 4.0}
GAP = 3.0  # with seven seeds or more


def scatter_warnings(metric: str, cells: Sequence[Sequence[str]], scores: NDArray[np.float64]) -> list[str]:
    """Return a warning for the two arms compared whose seeds scatter most unlike, and for each arm of two groups.

    Args:
        metric: full name of the score.
        cells: the arms of each point, one for each label.
        scores: of seeds that all arms have (seeds, points, labels).
    """
    found = list(_unequal(metric, cells, scores))
    told = set[str]()
    for point, cell in enumerate(cells):
        for place, arm in enumerate(cell):
            groups = two_groups(scores[:, point, place])
            if groups is not None and arm not in told:
                told.add(arm)
                low, high = groups
                found.append(
                    f"warning: {metric}: the seeds of {arm} fall into two groups, {len(low)} from {low[0]:.4g} to "
                    f"{low[-1]:.4g} and {len(high)} from {high[0]:.4g} to {high[-1]:.4g}: a mean of two kinds of "
                    "training says little of either; look at their curves"
                )
    return found


def _unequal(metric: str, cells: Sequence[Sequence[str]], scores: NDArray[np.float64]) -> Iterator[str]:
    if len(scores) < FEWEST_TO_SCATTER:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        spreads = scores.std(axis=0, ddof=1)
        least = ROUNDING * np.abs(scores).max(initial=0.0)
    ratios = [
        (float(max(one, other) / min(one, other)), *((cell[a], cell[b]) if one >= other else (cell[b], cell[a])))
        for point, cell in enumerate(cells)
        for a, b in combinations(range(len(cell)), 2)
        for one, other in ((spreads[point, a], spreads[point, b]),)
        if np.isfinite(one) and np.isfinite(other) and min(one, other) > least
    ]
    if ratios and (widest := max(ratios))[0] > UNEQUAL:
        ratio, wide, narrow = widest
        chance = chance_of_ratio(ratio, len(scores))
        yield (
            f"warning: {metric}: seeds of {wide} scatter {ratio:.3g} times as much as those of {narrow} (n = "
            f"{len(scores)}; of normal arms that scatter alike, chance makes so much of {chance:.2g}): if the scores "
            "are skewed too, a verdict on them is false more often than it says"
        )


def chance_of_ratio(ratio: float, n: int) -> float:
    """Return how often the standard deviations of two arms of n seeds are so far apart by chance.

    Scores are taken for normal, of equal spread and independent; what seeds do to both arms alike makes it rarer.

    Args:
        ratio: of the larger to the smaller standard deviation.
        n: seeds of either arm.
    """
    return min(1.0, 2 * float(special.fdtrc(n - 1, n - 1, ratio**2)))


def two_groups(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the two groups that values fall into, in ascending order, None where they do not.

    They do where the gap between two groups of at least two each is `GAP` times as wide as the wider group, or more
    with fewer than seven values (`GAPS`). Fewer than four values never do, nor does one that stands apart by itself.

    Args:
        values: finite scores, one per seed.
    """
    ordered = np.sort(values)
    n = len(ordered)
    times = GAPS.get(n, GAP)
    least = ROUNDING * float(np.abs(ordered).max(initial=0.0))
    splits = range(2, n - 1)
    with np.errstate(over="ignore", invalid="ignore"):
        gaps = [(float(ordered[at] - ordered[at - 1]), at) for at in splits]
        if not gaps:
            return None
        gap, at = max(gaps)
        low, high = ordered[:at], ordered[at:]
        width = max(float(low[-1] - low[0]), float(high[-1] - high[0]))
    return (low, high) if gap > max(times * width, least) and np.isfinite(gap) else None
