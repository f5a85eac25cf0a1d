"""Experiments that one command launches one behind the other: what a later one wants of an earlier one's trainings."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.plan.plan import Plan
from registry.runs.replicate import Replicate, replicate_of

Later = Mapping[Path, Mapping[Path, int]]  # training -> its evaluations -> the step of each


def with_later_evaluations(plans: Sequence[Plan]) -> list[Plan]:
    """Return the plans, each with what those behind it evaluate on the way of a training that it makes first.

    A training keeps its newest checkpoints alone. Evaluated at an earlier step when it has ended, it would be trained
    to there once more.

    Args:
        plans: in the order in which they are launched.
    """
    if len(plans) < 2:
        return list(plans)
    found, later = list[Plan](), defaultdict[Path, dict[Path, int]](dict)
    for plan in reversed(plans):
        found.append(replace(plan, shared_early=_shared_early(plan, later)))
        for one in plan.work:
            later[one.training][one.folder] = one.spec.step
    return found[::-1]


def _shared_early(plan: Plan, later: Later) -> dict[str, frozenset[int]]:
    """The earlier steps of each arm at which an evaluation of others is one that the arm would have as well."""
    if plan.file.experiment.screen is not None:
        return {}  # its rungs say where its trainings pause
    arms = {arm.name: arm for arm in plan.selected}
    found = defaultdict[str, set[int]](set)

    def is_same(replicate: Replicate, step: int, evaluation: Path) -> bool:
        early = replicate_of(plan.name, arms[replicate.arm], replicate.seed, plan.runs, step)
        return early.folder == evaluation

    for replicate in plan.replicates:
        for evaluation, step in later.get(replicate.training, {}).items():
            if step < replicate.spec.step and is_same(replicate, step, evaluation):
                found[replicate.arm].add(step)
    return {name: frozenset(steps) for name, steps in found.items()}
