"""What MLflow says of an experiment: its description in Markdown, and what its page shows first."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.results.mlflow_names import metric_key
from analysis.tables.listing import listed
from experiments.tracking import arms_view
from experiments.tracking.metric_points import MetricLines
from experiments.tracking.run_contents import LONGEST
from experiments.tracking.short_table import short_table
from experiments.tracking.store import KIND, KIND_TAG
from registry.runs.replicate import Replicate
from registry.runs.resolved_experiment import ResolvedExperiment, newest_resolved, place_of

VERDICT, TABLE = "verdict.json", "table.md"  # in the folder of a report
MOST_ARMS = 30  # that are named
LONGEST_ANSWERS = 3000  # characters of the answers to all claims, reasons and all
NOTE = "mlflow.note.content"  # Markdown that MLflow's page renders, of an experiment and of a run


def resolved_of(experiment: Path, identities: set[str]) -> ResolvedExperiment | None:
    """Return the newest launched form of an experiment that has any of these arms."""
    found = newest_resolved(experiment)
    if found is None or not identities & {arm.identity for arm in found.arms.values()}:
        return None
    return found


def description(experiment: Path, resolved: ResolvedExperiment | None, first: str = "") -> str:
    """Return what an experiment is about, its verdict, where everything is, and its scores, as Markdown.

    A tag of MLflow has an end: of many scores the last rows are left out.

    Args:
        experiment: the experiment's folder.
        resolved: its launched form.
        first: what stands before all that.
    """
    if resolved is None:
        return "\n\n".join(filter(None, [first, f"Runs in `{experiment.absolute()}`."]))
    place = place_of(experiment, resolved.digest)
    parts = [part for part in (first, resolved.about.strip()) if part]
    if answers := verdicts(place):
        parts += ["### Verdict", _answers(answers)]
    parts += ["### Where it is", _where(place, resolved)]
    if table := text_of(place / TABLE).strip():
        parts += ["### Scores", ""]
        parts[-1] = short_table(table, LONGEST["tag"] - len("\n\n".join(parts)), f"`{TABLE}` of the run `report`")
    return _cut("\n\n".join(parts))


def _where(place: Path, resolved: ResolvedExperiment) -> str:
    command = " ".join(["python run.py report", resolved.file, *resolved.overrides])
    where = [f"- report: `{place.absolute()}`, and the run `report` here", f"- command: `{command}`"]
    arms = listed([f"`{name}`" for name in resolved.arms], MOST_ARMS)
    where += [f"- arms: {arms}; {resolved.told_seeds}"]
    return "\n".join(where)


def _answers(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """A line for each claim, with the reason where not all of them together are too long."""
    lines = [f"- {_claim(one)}: **{one.get('verdict', '')}**" for one in verdicts]
    whole = "\n".join(line + _because(one) for line, one in zip(lines, verdicts, strict=True))
    return whole if len(whole) <= LONGEST_ANSWERS else "\n".join([*lines, "", "Why: `verdict.txt` of the run `report`"])


def _claim(verdict: Mapping[str, Any]) -> str:
    sides = [str(verdict[side]) for side in ("better", "worse") if verdict.get(side)]
    return f"{' better than '.join(sides) or verdict.get('axis', '')} in {verdict.get('metric', '')}"


def _because(verdict: Mapping[str, Any]) -> str:
    return f" ({verdict['reason']})" if verdict.get("reason") else ""


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST["tag"] else text[: LONGEST["tag"] - 20] + "\n\n… (cut)"


def text_of(path: Path) -> str:
    """Return what a file says, nothing where it is not there."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def verdicts(place: Path) -> list[dict[str, Any]]:
    """Return the answers to the claims as a report's folder has them."""
    try:
        found = json.loads(text_of(place / VERDICT) or "[]")
    except ValueError:
        return []
    found = found.get("claims", []) if isinstance(found, dict) else found
    return [one for one in found if isinstance(one, dict)]


def describe(client: Any, experiment: Any, text: str, view: str) -> None:
    """Give an experiment its description and its view, and say that it is about training; nothing is sent twice."""
    for key, value in ((NOTE, text), (arms_view.TAG, view), (KIND_TAG, KIND)):
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)


def view(replicates: Iterable[Replicate], searched: bool) -> str:
    """Return the view of an experiment with these replicates: what scores and curves there are.

    Args:
        replicates: that are brought.
        searched: whether MLflow has trials of a search.
    """
    scores: set[str] = set()
    curves: set[str] = set()
    for replicate in replicates:
        if (result := replicate.result()) is not None:
            scores |= {metric_key(score) for score in result.scores if "_band_" not in score}
        if not curves:
            steps = Counter(name for name, _ in MetricLines.read(replicate.training / "metrics.jsonl").points())
            curves = {name for name, number in steps.items() if number > 1 and "_band_" not in name}
    first = sorted(scores, key=lambda name: (name.startswith("validation"), name))
    return arms_view.arms_view(
        [*first, "resources/seconds"], sorted(curves, key=lambda name: ("loss" not in name, name)), searched=searched
    )
