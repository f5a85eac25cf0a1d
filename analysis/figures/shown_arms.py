"""Which arms a figure shows: all, or the baseline and the best where there are more than can be told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from analysis.results.results_frame import scores_by_arm
from analysis.tables.score_table import BASELINE
from registry.experiment.claims import VALIDATION_LOSS, Direction, direction_of

MOST = 24  # curves that differ in colour or in the style of their line; as many rows of scores are two screens


@dataclass(frozen=True)
class ShownArms:
    """The arms of a figure.

    Args:
        names: of the arms, in the order in which they are shown.
        note: which these are, where others are left out; else empty.
    """

    names: tuple[str, ...]
    note: str = ""


def shown_arms(frame: pd.DataFrame, metric: str, direction: Direction | None) -> ShownArms:
    """Return all arms in their order, or, of more than `MOST`, the baseline and then the best by the mean over seeds.

    Arms without the score come last, in the order of the experiment; so do all where nobody knows which way the score
    is better.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
        metric: full name of the score.
        direction: which way it is better.
    """
    arms = [str(arm) for arm in dict.fromkeys(frame["arm"])]
    if len(arms) <= MOST:
        return ShownArms(tuple(arms))
    sign = {"min": 1.0, "max": -1.0, None: np.nan}[direction]
    means = {arm: sign * float(own.mean()) for arm, own in scores_by_arm(frame, arms, metric).items()}
    scored = {arm: mean for arm, mean in means.items() if np.isfinite(mean)}
    best = sorted(arms, key=lambda arm: (arm != BASELINE, arm not in scored, scored.get(arm, 0.0)))
    which = f"the best by {metric}" if scored else "the first"
    which = f"the baseline and {which}" if BASELINE in arms else which
    return ShownArms(tuple(best[:MOST]), f"{MOST} of {len(arms)} arms, {which}; the table has all")


def shown_in_all(
    frame: pd.DataFrame, names: Sequence[str], directions: Mapping[str, Direction] = MappingProxyType({})
) -> ShownArms:
    """Return the arms of what shows no score, such as learning curves and videos: those shown by the first score.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
        names: of its scores; one that nobody knows the direction of, and the validation loss, count where no other is.
        directions: score -> which way it is better.
    """
    known = sorted(names, key=lambda name: (direction_of(name, directions) is None, name.startswith(VALIDATION_LOSS)))
    first = known[0] if known else ""
    return shown_arms(frame, first, direction_of(first, directions))
