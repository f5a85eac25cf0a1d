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
from analysis.tables.listing import listed
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
    scores = {arm: own for arm, own in _planned(frame, metric).items() if _takes_part(own)}
    if direction is None or len(scores) < 2:
        return {}
    sign = 1 if direction == "min" else -1
    best = min(scores, key=lambda arm: sign * float(scores[arm].mean()))
    others = [arm for arm in scores if arm != best]
    adjusted = holm([_p(scores[best], scores[arm]) for arm in others])
    near = {arm: AS_BEST for arm, p in zip(others, adjusted, strict=True) if p is None or p > alpha}
    return {best: BEST, **near}


def left_out_note(frame: pd.DataFrame, metric: str, direction: Direction | None) -> str:
    """Return which arms `best_arms` leaves out, or why it marks none; empty where it leaves out none.

    Empty, too, where there is nothing to compare: nobody knows which way is better, no seed is scored, or one arm is
    all that there is. The arguments are those of `best_arms`.
    """
    planned = _planned(frame, metric)
    counts = {arm: int(np.isfinite(own).sum()) for arm, own in planned.items()}
    if direction is None or len(planned) < 2 or not any(counts.values()):
        return ""
    out = [f"{arm} ({counts[arm]} of {len(own)})" for arm, own in planned.items() if not _takes_part(own)]
    if not out:
        return ""
    if len(planned) - len(out) < 2:
        told = "no best mean is marked: that takes two arms with two planned seeds or more, all scored"
    else:
        told = "the best is one of the arms whose planned seeds are all scored"
    return f"{metric}: {told}; left out: {listed(out)}"


def _planned(frame: pd.DataFrame, metric: str) -> dict[str, pd.Series]:
    """The scores of every arm by planned seed, missing where a seed is not done."""
    return scores_by_arm(frame, list(dict.fromkeys(frame["arm"])), metric)


def _takes_part(scores: pd.Series) -> bool:
    return len(scores) > 1 and bool(np.isfinite(scores).all())


def _p(best: pd.Series, other: pd.Series) -> float | None:
    pairs = paired_scores([best, other])
    return paired_test(pairs[:, 1] - pairs[:, 0], size=float(np.abs(pairs).max())).p if len(pairs) else None
