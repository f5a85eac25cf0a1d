"""Whether every selected arm of a plan can be assembled, told before anything runs."""

from typing import Any

from experiments.plan.assembling import assemble
from experiments.plan.fitting import refuse_too_large
from experiments.plan.plan import Plan
from experiments.plan.starts import refuse_unfit
from registry.errors import SpecError
from registry.experiment.arm import Arm
from registry.schema.resources import Shape


def check(plan: Plan, with_data: bool = False, cluster: Shape | None = None) -> list[dict[str, Any]]:
    """Assemble every selected arm without memory; a row an arm: its name, identity and parameters.

    Args:
        plan: what to check.
        with_data: whether the data must be named by now; a `data.path` may also come later, on the command line.
        cluster: what the user's file says of the cluster, where it is known.

    Raises:
        SpecError: shapes that do not go together, files that are not there, or steps that need more memory than is
            stated; one line each.
    """
    found = counted(plan, with_data)
    refuse_too_large(plan, cluster)
    return [
        {"experiment": plan.name, "arm": arm.name, "identity": None if plan.untuned else arm.identity,
         "parameters": counts.parameters}
        for arm, counts in found
    ]  # fmt: skip


def counted(plan: Plan, with_data: bool = False) -> list[tuple[Arm, Any]]:
    """What `check` does, with the counts of each selected arm's network."""
    found, lines = assemble(plan.file, [(arm, []) for arm in plan.selected], with_data)
    if lines:
        raise SpecError(lines)
    refuse_unfit(plan)
    return found
