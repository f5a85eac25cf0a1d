"""Reporting: what stands at the end of every launch, and what a notebook or a job may ask for at any time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.figures.pictures import Form
from analysis.figures.report_figures import Results
from analysis.report import writing
from analysis.verdicts.verdict import Verdict
from experiments.launch import preparing
from experiments.plan import reading
from experiments.plan.loading import load_plan
from experiments.plan.plan import Plan
from experiments.plan.resolved_experiment import digest, resolved
from experiments.record.progress import Progress, silent
from experiments.tracking import mlflow_sync, store
from registry.errors import SpecError
from registry.runs.resolved_experiment import place_of

QUICK_FLOOR = 60.0  # seconds: a floor that takes less is measured before the report, which is then written once


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Args:
        folder: that it lies in.
        written: its files.
        answers: to all claims of the experiment.
        notes: what could not be done, a line each; nothing that was computed is lost.
        page: of the experiment on the tracking server; empty where the runs are in a file.
        tracked: whether MLflow has all.
    """

    folder: Path
    written: Sequence[Path]
    answers: Sequence[Verdict]
    notes: Sequence[str]
    page: str = ""
    tracked: bool = True


def report(
    plan: Plan,
    progress: Progress = silent,
    *,
    overridden: bool | None = None,
    harmless: str = "",
    forms: Sequence[Form] = (),
) -> Report:
    """Write the page, the figures, the table and the verdict, fill MLflow, and measure the floor of resampling.

    MLflow is filled even if nothing can be written. A floor that takes long is measured last, and then all is written
    anew. All arms and all claims are reported, whatever is selected.

    Args:
        plan: what to report.
        progress: is called while the floor is measured.
        overridden: whether the plan is another experiment than its file without overrides, so that `report` does not
            lead to what is written; None finds it out.
        harmless: as `reading.answers_of` takes it.
        forms: in which figures are drawn as well as pictures.

    Raises:
        RunError: the run folders cannot be read, or a claim compares what cannot be compared.
        OSError: the report cannot be written.
    """
    link = not (is_overridden(plan) if overridden is None else overridden)
    notes: list[str] = []

    def measure_floor() -> bool:
        try:
            return preparing.late_floor(plan, plan.all_replicates, progress)
        except Exception as error:  # the videos may be gone by now, or the memory
            notes.append(f"the floor of resampling was not measured: {error}")
            return False

    def track() -> str:
        return mlflow_sync.try_sync(plan.name, plan.all_replicates, plan.runs, progress)

    quick = preparing.late_floor_takes(plan.all_replicates) < QUICK_FLOOR
    if quick:
        measure_floor()
    try:
        written, answers = _write(plan, link, harmless, forms)
    except Exception:
        track()
        raise
    untracked = track()
    if not quick and measure_floor():
        written, answers = _write(plan, link, harmless, forms)
        untracked = untracked or track()
    if untracked:
        notes.append(f"not tracked yet: {untracked}; `sync` does it later, nothing is lost")
    uri = store.default_uri(plan.runs)
    page = mlflow_sync.address_of(plan.name, uri, uri) if store.is_server(uri) and not untracked else ""
    return Report(place_of(plan.folder, digest(plan)), written, answers, notes, page, not untracked)


def _write(plan: Plan, link: bool, harmless: str, forms: Sequence[Form]) -> tuple[list[Path], list[Verdict]]:
    read = reading.frames_of(plan)
    answers = reading.answers_of(plan, harmless=harmless, read=read)
    about = resolved(plan)
    results = Results(read.last, reading.floors_of(plan), answers, read.by_step, about.directions)
    return writing.write(plan.folder, about, results, link, forms), answers


def is_overridden(plan: Plan) -> bool:
    """Return whether the plan is another resolved experiment than its file without overrides, under the same name."""
    if not plan.overrides and not plan.start_of:
        return False
    try:
        plain = load_plan(plan.file.path, runs=plan.runs, stage=plan.stage)
    except SpecError:  # the file is sound with its overrides only
        return True
    return plain.name == plan.name and digest(plain) != digest(plan)
