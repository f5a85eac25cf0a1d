"""Whether the arms of a claim are ready for a test: every planned seed of each of them done, with a score."""

from collections import Counter

import numpy as np
import pandas as pd

from analysis.results.results_frame import DONE, score_names
from analysis.results.stopped import STOPPED, reasons
from registry.errors import did_you_mean
from registry.experiment.claims import ResolvedClaim


def waits_for(frame: pd.DataFrame, claim: ResolvedClaim, by_arm: dict[str, pd.Series]) -> str:
    """Return why the arms of a claim are not ready for a test; empty where they are.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
        claim: about arms of the frame.
        by_arm: their scores by seed.
    """
    told = []
    arms, states = frame["arm"].to_numpy(), frame["state"].to_numpy()
    for arm in claim.arms:
        own = states[arms == arm]
        open_states = Counter(str(state) for state in own if state != DONE)
        if not len(own):
            told.append(f"arm {arm!r} has no replicate")
        elif STOPPED in own:
            told.append(f"arm {arm!r} was stopped early ({reasons(frame)[arm]}), which says nothing about a claim")
        elif open_states:
            named = ", ".join(f"{count} {state}" for state, count in open_states.items())
            told.append(f"{open_states.total()} of {len(own)} seeds of arm {arm!r} not done ({named})")
    if not told and claim.metric not in frame:
        told.append(f"no score {claim.metric!r} was recorded: {did_you_mean(claim.metric, score_names(frame))}")
    if not told:
        for arm, scores in by_arm.items():
            if unusable := [seed for seed, score in zip(scores.index, scores, strict=True) if not np.isfinite(score)]:
                told.append(f"arm {arm!r} has no finite {claim.metric} for seed {', '.join(map(str, unusable))}")
        seeds = [set(scores.index) for scores in by_arm.values()]
        if alone := set.union(*seeds) - set.intersection(*seeds):
            which = "one of the two arms" if len(seeds) == 2 else "some of the arms"
            told.append(f"seed {', '.join(map(str, sorted(alone)))} is in {which} only")
    return "; ".join(told)


def pairs(n: int) -> str:
    """Return a number of seeds in words: `3 paired seeds`."""
    return f"{n} paired seed{'' if n == 1 else 's'}"
