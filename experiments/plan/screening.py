"""An experiment's screen by a score: the plan of what is sampled and scored at its rungs, and how far that is."""

from collections.abc import Mapping
from pathlib import Path

from experiments.plan.plan import Plan
from experiments.plan.stages import SCREEN, stage_plan
from registry.errors import RunError, SpecError
from registry.experiment.claims import Direction, recorded_name
from registry.experiment.rungs import RungArm, rung_arms
from registry.runs.records import State
from registry.runs.replicate import Replicate
from registry.schema.search import Screen

SUFFIX = "-screen"  # behind the experiment's name: that of its screen


def screen_of(plan: Plan) -> Screen:
    """Return what the file of an experiment that is screened by a score says of it."""
    screen = plan.file.experiment.scored_screen
    assert screen is not None, "called for experiments that have one"
    return screen


def screen_plan(plan: Plan) -> Plan:
    """Return the plan of a screen by a score: every arm at every rung, whichever are selected.

    Its trainings are those of the experiment's arms, so that an arm that goes on goes on from its rung.
    """
    about = f"Compares the arms of {plan.name} by {screen_of(plan).metric} on their way."
    runs = [one.run for one in at_rungs(plan)]  # equal ones, as the screen evaluates them, are evaluated once
    return stage_plan(plan, SCREEN, plan.name + SUFFIX, runs, {"about": about})


def rungs_folder(plan: Plan) -> Path:
    """Return the folder of what a screen has decided, a numbered file a rung; another baseline makes another screen."""
    return plan.folder / SCREEN / plan.arms[0].identity


def at_rungs(plan: Plan) -> list[RungArm]:
    """Return every arm of an experiment at every rung.

    Raises:
        SpecError: what a tuning has chosen does not go with the screen.
    """
    found, wrong = rung_arms(plan.file, plan.arms)
    if wrong:
        raise SpecError(wrong)
    return found


def owners(plan: Plan) -> Mapping[tuple[str, int], str]:
    """Return the identity of each arm of a screen, by that of the arm it belongs to, and the rung."""
    identities = {arm.name: arm.identity for arm in plan.arms}
    return {(identities[one.owner], one.step): one.run.identity for one in at_rungs(plan)}


def mean_score(replicates: list[Replicate], score: str, direction: Direction) -> float | None:
    """Return the mean score over the seeds of an arm at a rung, None where a seed has none yet.

    It is turned so that lower is better.

    Args:
        replicates: of the arm at the rung.
        score: its full name.
        direction: which way it is better.

    Raises:
        RunError: a result is without the score.
    """
    values = []
    for replicate in replicates:
        if (result := replicate.result()) is None:
            return None
        name = recorded_name(score, result.scores)
        if name not in result.scores:
            known = ", ".join(result.scores)
            raise RunError(f"{replicate.folder}: its result has no {score}, by which arms are screened, but {known}")
        values.append(result.scores[name])
    return sum(values) / len(values) * (1 if direction == "min" else -1)


def standing(plan: Plan) -> list[str]:
    """Return a line for each rung of a screen by a score that was begun: how many of its evaluations are done."""
    screen = plan.file.experiment.scored_screen
    if screen is None or plan.untuned:
        return []
    own = screen_plan(plan)
    lines = []
    for step in screen.rungs:
        there = [one for one in own.replicates if one.spec.step == step and one.folder.exists()]
        begun = [one for one in there if one.desired() is not None]
        if begun:
            done = sum(one.state is State.DONE for one in begun)
            lines.append(f"screen: at step {step} by {screen.metric}: {done} of {len(begun)} evaluations are done")
    if lines:
        lines.append(f"screen: `status {plan.file.path} --screen` shows them")
    return lines
