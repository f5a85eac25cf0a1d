"""What runs before an experiment's arms, its tuning or its screen by a score, as a plan of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.plan.plan import Plan
from registry.experiment.arm import Arm

TUNING = "tuning"
SCREEN = "screen"


def stage_plan(plan: Plan, stage: str, name: str, arms: Sequence[Arm], changes: Mapping[str, Any]) -> Plan:
    """Return the plan of what runs before an experiment's arms: arms without claims, floors and stages of their own.

    Args:
        plan: of the experiment.
        stage: `tuning` or `screen`.
        name: of the stage as an experiment.
        arms: of the stage; those with the same identity run once.
        changes: to the experiment as its file has it, key -> value.
    """
    nothing = {"claim": (), "floors": (), "evaluate_at": None, "screen": None, "match": None, "tune": None}
    experiment = plan.file.experiment.model_copy(update={"name": name, **nothing, **changes})
    once: dict[str, Arm] = {}
    for arm in arms:
        once.setdefault(arm.identity, arm)
    selected = list(once.values())
    return replace(
        plan, file=replace(plan.file, experiment=experiment), arms=selected, claims=[], selected=selected, only=(),
        folders=(), candidates=(), chosen={}, kept={}, shared_early={}, stage=stage, whole=plan.file,
    )  # fmt: skip
