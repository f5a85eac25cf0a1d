"""Which arm of a table is best by a score, and which cannot be told from it: for reading, and no verdict.

The rule: among the arms whose planned seeds are all done, two or more, the best mean is best. Each of the others is
set against it by Student's t over the seeds that both have, two-sided, and the p-values are adjusted by Holm over these
arms; what is above `alpha`, or cannot be tested, is not distinguishable. The best was picked by the same scores,
which makes some of the others look worse than they are; claims, written down before, are judged by
`analysis.verdicts.judging`.
"""

import numpy as np
import pandas as pd

from analysis.results.results_frame import paired_scores, scores_by_arm
from analysis.statistics.t_tests import holm, paired_test
from registry.experiment.claims import Direction

BEST, AS_BEST = "best", "not distinguishable"
NOTE = (
    "* best mean, ≈ not distinguishable from it: t-test over shared seeds, Holm over the arms, p > 0.05; "
    "for reading, `verdict` judges claims"
)


def best_arms(frame: pd.DataFrame, metric: str, direction: Direction | None, alpha: float = 0.05) -> dict[str, str]:
    """Return arm -> `BEST` or `AS_BEST`, for the arms that are either; nothing where fewer than two can be compared.

    Args:
        frame: as `results_frame.load` gives it; the score of all its arms was measured by one protocol.
        metric: full name of the score.
        direction: which way it is better; None: nobody knows, and nothing is marked.
        alpha: the chance that any arm that is as good as the best goes without a mark, if the best were picked before.
    """
    planned = scores_by_arm(frame, list(dict.fromkeys(frame["arm"])), metric)  # missing where a seed is not done
    scores = {arm: own for arm, own in planned.items() if len(own) > 1 and np.isfinite(own).all()}
    if direction is None or len(scores) < 2:
        return {}
    sign = 1 if direction == "min" else -1
    best = min(scores, key=lambda arm: sign * float(scores[arm].mean()))
    others = [arm for arm in scores if arm != best]
    adjusted = holm([_p(scores[best], scores[arm]) for arm in others])
    near = {arm: AS_BEST for arm, p in zip(others, adjusted, strict=True) if p is None or p > alpha}
    return {best: BEST, **near}


def _p(best: pd.Series, other: pd.Series) -> float | None:
    pairs = paired_scores([best, other])
    return paired_test(pairs[:, 1] - pairs[:, 0], size=float(np.abs(pairs).max())).p if len(pairs) else None
