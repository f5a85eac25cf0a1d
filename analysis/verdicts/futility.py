"""Whether more seeds can still decide a claim: the chance that its design's last look shows something.

The chance is predictive: what the seeds to come may be follows from those that there are, whose mean is uncertain
(D. J. Spiegelhalter, L. S. Freedman and P. R. Blackburn, Controlled Clinical Trials 7, 1986), with a flat prior. A
claim that is given up is not shown, so giving up makes no false verdict; docs/statistics.md shows what it costs.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from analysis.statistics.t_tests import PairedTest
from analysis.verdicts.evidence import Evidence

HOPELESS = 0.1  # the chance below which a claim is given up


def chance_of(evidence: Evidence, most: int, level: float) -> float:
    """Return the most that the chance can be that a claim, or its contrary, is shown when its last seeds are there.

    Args:
        evidence: of the seeds that there are, two at least.
        most: seeds at the last look.
        level: of its two-sided test.
    """
    n = evidence.test.n
    if evidence.equivalence is not None:
        sides = [evidence.equivalence.above, evidence.equivalence.below]
        within = min(_above(side, n, most, level) for side in sides)
        beyond = sum(_above(side, n, most, level / 2, sign=-1) for side in sides)
        return min(1.0, within + beyond)
    contrary: Sequence[PairedTest] = evidence.value_tests or (evidence.test,)
    down = sum(_above(own, n, most, level / 2 / len(contrary), sign=-1) for own in contrary)
    tests: Sequence[PairedTest] = evidence.step_tests or contrary
    return min(1.0, min(_above(own, n, most, level / 2) for own in tests) + down)


def _above(test: PairedTest, n: int, most: int, level: float, sign: int = 1) -> float:
    """Return the chance that a one-sided test of a mean above (or, with -1, below) zero shows it at last."""
    if test.mean is None or not test.sd:
        return 1.0
    return float(_chance(sign * test.mean / test.sd, n, most, level))


def chance_to_differ(size: ArrayLike, n: int, most: int, level: ArrayLike) -> NDArray[np.float64]:
    """Return the chance that a two-sided test shows a mean, of means in units of their spread."""
    sizes = np.asarray(size, dtype=np.float64)
    half = np.asarray(level, dtype=np.float64) / 2
    return _chance(sizes, n, most, half) + _chance(-sizes, n, most, half)


def _chance(size: ArrayLike, n: int, most: int, level: ArrayLike) -> NDArray[np.float64]:
    sizes = np.asarray(size, dtype=np.float64)
    needed = special.stdtrit(most - 1, 1 - np.asarray(level)) / math.sqrt(most)
    if n >= most:
        return np.where(sizes >= needed, 1.0, 0.0)
    found: NDArray[np.float64] = special.stdtr(n - 1, (sizes - needed) / math.sqrt(1 / n - 1 / most))
    return found
