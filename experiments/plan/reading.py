"""What a plan's run folders say: its replicates as a frame, its floors, and the answers to its claims."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.results import results_frame
from analysis.results.curves import curves
from analysis.tables.screen_ranks import Rung, rank_lines
from analysis.verdicts import judging
from analysis.verdicts.looks import History
from analysis.verdicts.plateau import LOSS, with_plateaus
from analysis.verdicts.recorded_looks import seen
from analysis.verdicts.verdict import Verdict
from experiments.plan.plan import Plan
from experiments.plan.screening import rungs_folder
from registry.errors import SpecError
from registry.experiment.claims import Direction, scores_of
from registry.experiment.evaluate_at import early_steps
from registry.experiment.rungs import score_of
from registry.runs.attempts import numbered
from registry.runs.floors import own_floors, owner_of
from registry.runs.records import read_json
from registry.runs.replicate import replicate_of


def frame_of(plan: Plan, step: int | None = None, *, selected: bool = False) -> pd.DataFrame:
    """Return the plan's replicates as `results_frame.load` gives them, all or those of the selected arms.

    Args:
        plan: whose replicates.
        step: the training step of their evaluations; None: that at which each arm is compared.
        selected: only those of the selected arms.

    Raises:
        SpecError: no arm is evaluated at that step.
        RunError: a run folder was edited, or an axis has the name of another column.
    """
    if step is None:
        return results_frame.load(
            replicate.row() for replicate in (plan.replicates if selected else plan.all_replicates)
        )
    arms, seeds = (plan.selected if selected else plan.arms), plan.seeds_by_identity()
    steps = {arm.name: [*early_steps(plan.file.experiment, arm.spec), arm.spec.step] for arm in arms}
    there = [arm for arm in arms if step in steps[arm.name]]
    if not there:
        known = ", ".join(map(str, sorted({one for own in steps.values() for one in own})))
        raise SpecError(f"no arm is evaluated at step {step}, but at {known} (evaluate_at)")
    return results_frame.load(
        replicate_of(plan.name, arm, seed, plan.runs, step if step != arm.spec.step else None).row()
        for arm in there
        for seed in seeds[arm.identity]
    )


def frames_by_step(plan: Plan) -> dict[int, pd.DataFrame]:
    """Return the evaluations at each step, in ascending order; nothing where trainings are evaluated once."""
    early = {arm.name: early_steps(plan.file.experiment, arm.spec) for arm in plan.arms}
    if not any(early.values()):
        return {}
    steps = sorted({step for arm in plan.arms for step in (*early[arm.name], arm.spec.step)})
    return {step: frame_of(plan, step) for step in steps}


def floors_of(plan: Plan) -> list[dict[str, Any]]:
    """Return the noise floors that the experiment has measured, without those resampled from what is no arm of it."""
    return own_floors(plan.folder, map(owner_of, plan.all_replicates))


def directions_of(plan: Plan) -> dict[str, Direction]:
    """Return which way each score of the experiment is better; without those that are best at neither end."""
    every = scores_of(plan.file.experiment.base, plan.file.parts).values()
    return {name: direction for name, direction in every if direction is not None}


def ranks_of(plan: Plan, frame: pd.DataFrame) -> list[str]:
    """Return a line for each decided rung of a screen by a score: the order of arms there, and when scored in full.

    Args:
        plan: of the experiment.
        frame: its replicates, as `analysis.results.results_frame.load` gives them.
    """
    screen = plan.file.experiment.scored_screen
    if screen is None:
        return []
    names = {arm.identity: arm.name for arm in plan.arms}
    made = [found for path in numbered(rungs_folder(plan)) if (found := read_json(path))]
    rungs = [Rung(one["step"], one["metric"], [names.get(own, own) for own in one["order"]]) for one in made]
    score, direction = score_of(plan.file, screen)
    score = results_frame.full_name(frame, score)
    if score not in frame:
        return rank_lines(rungs, {})
    means = frame.groupby("arm")[score].mean().dropna() * (1 if direction == "min" else -1)
    return rank_lines(rungs, {str(arm): float(mean) for arm, mean in means.items()})


def meanings_of(plan: Plan) -> list[str]:
    """Return what the numbers of the plan's metrics say, a line each, where a metric has to say it."""
    names = dict.fromkeys(metric.name for arm in plan.arms for metric in arm.spec.scoring.metrics)
    metrics = [plan.file.parts.find("metric", name) for name in names]
    return [f"{metric.name}: {metric.fact('meaning')}" for metric in metrics if metric.fact("meaning")]


@dataclass(frozen=True)
class Frames:
    """The replicates of a plan, read once.

    Args:
        last: where each arm is compared.
        by_step: at each step that they are evaluated at; empty where they are evaluated once.
    """

    last: pd.DataFrame
    by_step: Mapping[int, pd.DataFrame]


def frames_of(plan: Plan) -> Frames:
    """Return all the plan's replicates, at every step."""
    return Frames(frame_of(plan), frames_by_step(plan))


def answers_of(plan: Plan, *, selected: bool = False, harmless: str = "", read: Frames | None = None) -> list[Verdict]:
    """Return a verdict for each of the plan's claims, or each that is about selected arms alone: a look, which counts.

    All claims are judged, whichever are returned: which ones are asked for changes no level.

    Args:
        plan: whose claims.
        selected: return only those about selected arms.
        harmless: why it does not matter that arms were made by different code; empty: such verdicts are refused.
        read: the plan's replicates where they have been read already.

    Raises:
        RunError: a claim compares scores of different data or protocols.
    """
    names, claims = {arm.name for arm in plan.selected}, plan.claims
    known = read.by_step if read is not None else {}
    steps = {step for claim in claims for step in claim.steps}
    by_step = {step: known[step] if step in known else frame_of(plan, step) for step in steps}
    last, floors = read.last if read is not None else frame_of(plan), floors_of(plan)

    def judged(history: History) -> list[Verdict]:
        return judging.judge(last, claims, floors=floors, harmless=harmless, by_step=by_step, history=history)

    answers = seen(plan.folder, last, plan.file.experiment.until_decided, judged)
    claimed = {arm for claim in claims for arm in claim.arms}
    trainings = ((own.arm, own.seed, own.training) for own in plan.all_replicates if own.arm in claimed)
    answers = with_plateaus(answers, curves(trainings, [LOSS]), last)
    return [answer for answer in answers if not selected or set(answer.claim.arms) <= names]
