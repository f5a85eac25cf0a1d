"""The evaluations that a claim is judged by: at the step that it names, or at two of which the effects are compared."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from registry.experiment.claims import ResolvedClaim

STEP = "step"  # what the effects of a change are compared over, as an axis


def rows_of(
    frame: pd.DataFrame, claim: ResolvedClaim, by_step: Mapping[int, pd.DataFrame]
) -> tuple[pd.DataFrame, ResolvedClaim]:
    """Return the replicates that a claim is judged by, and the claim about them.

    A claim that an effect changes between two steps is about twice as many arms: each as it is at either step.

    Args:
        frame: the replicates where arms are compared.
        claim: about arms of the frame.
        by_step: step -> the evaluations at that step, in the same form.
    """
    if claim.kind != "change":
        return (frame if claim.step is None else by_step[claim.step]), claim
    frames = []
    for step in claim.steps:
        own = by_step[step]
        own = own[own["arm"].isin(claim.arms)]
        frames.append(own.assign(arm=[_at(str(arm), step) for arm in own["arm"]]))
    arms = tuple(_at(arm, step) for step in claim.steps for arm in claim.arms)
    points = tuple(((STEP, str(step)), *point) for step in claim.steps for point in claim.points)
    return pd.concat(frames, ignore_index=True), replace(claim, arms=arms, points=points, over=STEP)


def _at(arm: str, step: int) -> str:
    return f"{arm} at step {step}"
