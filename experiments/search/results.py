"""What a search has found so far: its trials as rows, the best, and what matters. Nothing is written, nobody asked."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from experiments.plan.plan import Plan
from experiments.search.goals import FOLDER, Goal, goals_of, open_study, search_of
from experiments.search.study import JOURNAL, Study, Trial
from registry.errors import RunError
from registry.runs.attempts import SUBMISSIONS, latest
from registry.runs.places import folder_name
from registry.runs.records import Submission
from registry.schema.labels import label_of

FEWEST = 10  # complete trials that importances are estimated from


def rows(study: Study, goals: list[Goal]) -> list[dict[str, Any]]:
    """One row a trial: number, state, values by key, objectives, where it was pruned, and why it failed."""
    return [_row(trial, goals) for trial in study.trials()]


def jobs_of(plan: Plan, row: dict[str, Any]) -> list[str]:
    """The Slurm jobs that a running trial was sent as, one a seed."""
    if row["state"] != "running" or row["identity"] is None:
        return []
    links = sorted((plan.folder / folder_name(row["arm"], row["identity"])).glob("seed-*"))
    sent = [latest(link.resolve().parent.parent / SUBMISSIONS, Submission) for link in links]
    return [submission.job for submission in sent if submission and submission.job]


def _row(trial: Trial, goals: list[Goal]) -> dict[str, Any]:
    scores = trial.scores or (None,) * len(goals)
    return {
        "trial": trial.number, "state": trial.state, "again_of": trial.again_of,
        "values": {key: label_of(value) for key, value in trial.values.items()},
        "objectives": {goal.name: score for goal, score in zip(goals, scores, strict=True)},
        "pruned_at": max(trial.reported, default=None) if trial.state == "pruned" else None,
        "arm": trial.arm, "identity": trial.identity or None, "error": trial.failed.get("why"),
    }  # fmt: skip


def summary(plan: Plan, study: Study) -> dict[str, Any]:
    """All that `search --show` says, as plain values."""
    goals = goals_of(plan)
    found = [{**row, "jobs": jobs_of(plan, row)} for row in rows(study, goals)]
    complete = sum(row["state"] == "complete" for row in found)
    enough = complete >= FEWEST
    return {
        "experiment": plan.name,
        "objectives": {goal.name: goal.direction for goal in goals},
        "trials": found,
        "best": study.best() if complete else [],
        "importances": {goal.name: study.importances(n) for n, goal in enumerate(goals)} if enough else {},
        "note": "" if enough else f"importances: too few trials ({complete} complete, {FEWEST} are needed)",
    }


def read(plan: Plan) -> Study:
    """The study of an experiment, to look at.

    Raises:
        RunError: nothing was searched yet.
        SpecError: the experiment has no search, or another one than its trials were made with.
    """
    search_of(plan)
    if not (plan.folder / FOLDER / JOURNAL).exists():
        raise RunError(f"{plan.folder / FOLDER}: nothing was searched yet; run `search {plan.file.path}`")
    return open_study(plan)


def for_figures(plan: Plan, found: dict[str, Any]) -> dict[str, Any]:
    """A summary as `analysis.figures.searches.draw` takes it."""
    scales = {
        key: "choices" if dimension.choices is not None else "log" if dimension.log else "linear"
        for key, dimension in search_of(plan).space.items()
    }
    return {
        "folder": plan.folder / FOLDER, "trials": _frame(found, scales), "scales": scales,
        "directions": found["objectives"], "importances": found["importances"], "best": found["best"],
    }  # fmt: skip


def _frame(found: dict[str, Any], scales: Mapping[str, str]) -> pd.DataFrame:
    flat = []
    for row in found["trials"]:
        values = {key: float(v) if scales[key] != "choices" else v for key, v in row["values"].items()}
        flat.append({name: row[name] for name in ("trial", "state", "pruned_at")} | values | row["objectives"])
    made = pd.DataFrame(flat, columns=["trial", "state", "pruned_at", *scales, *found["objectives"]])
    return made.astype(dict.fromkeys(found["objectives"], "float64"))
