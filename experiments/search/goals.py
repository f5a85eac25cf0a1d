"""What a search is after: its objectives as they are measured, and what all its trials must have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.network_counts import count_network
from experiments.plan.plan import Plan
from experiments.search.study import Study
from registry.errors import SpecError
from registry.experiment.claims import VALIDATION_LOSS, Direction, recorded_name, scores_of
from registry.runs.replicate import Replicate
from registry.schema.differences import differing
from registry.schema.labels import label_of
from registry.schema.search import COUNTED, Search

FOLDER = "search"  # in that of the experiment


@dataclass(frozen=True)
class Goal:
    """An objective as it is measured.

    Args:
        name: as the file calls it.
        score: its name in a result; of counted ones the same.
        direction: `min` or `max`.
    """

    name: str
    score: str
    direction: Direction


def search_of(plan: Plan) -> Search:
    """The experiment's search.

    Raises:
        SpecError: it has none.
    """
    if plan.file.experiment.search is None:
        raise SpecError(
            f"{plan.file.path}: the experiment has no search; add one, such as "
            "`search: {space: {learning.learning_rate: {low: 1e-4, high: 1e-2, log: true}}, objective: fvd}`"
        )
    return plan.file.experiment.search


def goals_of(plan: Plan) -> list[Goal]:
    """The search's objectives, each with its score and direction."""
    known = {**scores_of(plan.file.experiment.base, plan.file.parts), **{name: (name, "min") for name in COUNTED}}
    found = []
    for objective in search_of(plan).objective:
        score, direction = known[objective.metric]
        found.append(Goal(objective.metric, score, objective.direction or direction or "min"))
    return found


def seeds_of(plan: Plan) -> tuple[int, ...]:
    """The seeds of each trial."""
    return search_of(plan).seeds or plan.file.experiment.all_seeds[:1]


def open_study(plan: Plan, writing: bool = False) -> Study:
    """The study of the experiment, made if this process is its controller.

    Raises:
        SpecError: its earlier trials cannot be compared with what the file asks for now.
    """
    search, goals = search_of(plan), goals_of(plan)
    study = Study(plan.folder / FOLDER, plan.name, search, [goal.direction for goal in goals], writing)
    now = about(plan)
    if not study.about and writing:
        study.set_about(now)
    then = study.about or now
    wrong = [f"{key}: {old} then, {new} now" for key, old, new in differing(then, now)]
    if wrong:
        raise SpecError([
            f"{plan.file.path}: the trials in {plan.folder / FOLDER} cannot be compared with new ones: they were made",
            *(f"  with {line}" for line in wrong),
            "give the experiment another name, or remove that folder (run folders stay, and cost nothing again)",
        ])  # fmt: skip
    return study


def about(plan: Plan) -> dict[str, Any]:
    """What all trials have in common, as JSON has it: without it their scores mean something else."""
    search = search_of(plan)
    base = plan.arms[0].spec.science()
    for key in search.space:
        *parents, last = key.split(".")
        place: Any = base
        for step in parents:
            place = place.get(step) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(last, None)
    space = {
        key: [label_of(choice) for choice in dimension.choices]
        if dimension.choices is not None
        else f"a span of {'integers' if dimension.whole else 'numbers'}{', log' if dimension.log else ''}"
        for key, dimension in search.space.items()
    }
    return {
        "space": space, "seeds": list(seeds_of(plan)),
        "objectives": [[goal.name, goal.direction] for goal in goals_of(plan)],
        "reported": reported_metric(search), "base": base,
    }  # fmt: skip


def reported_metric(search: Search) -> str | None:
    """The metric that the journal keeps by step; Optuna has none where there are several objectives."""
    if len(search.objective) > 1:
        return None
    return search.pruning.metric if search.pruning else VALIDATION_LOSS


def score_of(goal: Goal, replicates: Sequence[Replicate]) -> float | None:
    """An objective's value: the mean over the seeds, or a count of the network."""
    if goal.name in COUNTED:
        counts = count_network(replicates[0].spec)
        return float(counts.parameters if goal.name == "parameters" else counts.evaluated)
    found = []
    for replicate in replicates:
        result = replicate.result()
        scores = result.scores if result else {}
        name = recorded_name(goal.score, scores)
        if name not in scores:
            return None
        found.append(float(scores[name]))
    return sum(found) / len(found)
