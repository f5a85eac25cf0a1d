"""What a plan's run folders say: its replicates as a frame, its floors, and the answers to its claims."""

from typing import Any

import pandas as pd

from analysis import results, verdicts
from analysis.verdicts import Verdict
from experiments.plan.plan import Plan
from registry.runs.run_folder import read_floors


def frame_of(plan: Plan, *, selected: bool = False) -> pd.DataFrame:
    """Return the plan's replicates as `analysis.results.load` gives them, all or those of the selected arms.

    Raises:
        RunError: a run folder was edited, or an axis has the name of another column.
    """
    return results.load(replicate.row() for replicate in (plan.replicates if selected else plan.all_replicates))


def floors_of(plan: Plan) -> list[dict[str, Any]]:
    """Return the noise floors that the experiment has measured."""
    return [floor.model_dump(mode="json") for floor in read_floors(plan.folder)]


def answers_of(plan: Plan, *, selected: bool = False, harmless: str = "") -> list[Verdict]:
    """Return a verdict for each of the plan's claims, or for each that is about selected arms alone.

    Args:
        plan: whose claims.
        selected: only those about selected arms.
        harmless: why it does not matter that arms were made by different code; empty: such verdicts are refused.

    Raises:
        RunError: a claim compares scores of different data or protocols.
    """
    names = {arm.name for arm in plan.selected}
    claims = [claim for claim in plan.claims if not selected or set(claim.arms) <= names]
    return verdicts.judge(frame_of(plan), claims, floors=floors_of(plan), harmless=harmless)
