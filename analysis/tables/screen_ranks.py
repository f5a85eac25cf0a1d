"""The order of arms at the rungs of a screen by a score, beside their order when they are scored in full."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

FEWEST = 3  # arms that a rank correlation is told of
SHOWN = 12  # arms that an order names


@dataclass(frozen=True)
class Rung:
    """What a screen saw at a rung.

    Args:
        step: of the rung.
        metric: by which arms were compared.
        order: arms, the best first.
    """

    step: int
    metric: str
    order: Sequence[str]


def rank_lines(rungs: Sequence[Rung], full: Mapping[str, float]) -> list[str]:
    """Return a line for each rung: the order there, the order in full, and how far they agree.

    How far is left out for few arms, and where all of them score the same.

    Args:
        rungs: in the order of their steps.
        full: arm -> its mean in full, turned so that lower is better; arms without a result are left out.
    """
    lines = []
    for rung in rungs:
        both = [arm for arm in rung.order if arm in full]
        final = sorted(both, key=full.__getitem__)
        told = f"screen: at step {rung.step} by {rung.metric}: {_listed(rung.order)}"
        told += f"; of these, scored in full: {_listed(final)}" if both else "; none of these is scored in full yet"
        if len(both) >= FEWEST:
            places = pd.Series(range(len(both)), index=both, dtype=float)
            agreement = places.corr(pd.Series(full)[both].rank())  # Spearman's: Pearson's of the ranks
            if math.isfinite(agreement):
                told += f" (rank correlation of the {len(both)}: {agreement:.2f})"
        lines.append(told)
    return lines


def _listed(arms: Sequence[str]) -> str:
    more = f" and {len(arms) - SHOWN} more" if len(arms) > SHOWN else ""
    return " < ".join(arms[:SHOWN]) + more
