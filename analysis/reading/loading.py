"""Where results lie -> `ExperimentResults`: an experiment's file, its folder, the folder of all runs, or MLflow."""

import os
from collections.abc import Sequence
from pathlib import Path

from analysis.reading.experiment_results import ExperimentResults
from analysis.reading.run_folders import RunFolders
from analysis.results.mlflow_names import without_secrets
from registry.errors import RunError, SpecError, did_you_mean
from registry.experiment.experiment_file import load_experiment
from registry.paths import expanded
from registry.runs.places import TRAININGS
from registry.runs.resolved_experiment import FOLDER as REPORTS
from registry.runs.resolved_experiment import LINK, newest_resolved, read_resolved

RUNS = "runs"  # the folder of all runs, where none is named


def open_results(
    source: str | os.PathLike[str],
    runs: str | os.PathLike[str] | None = None,
    overrides: Sequence[str] | None = None,
    experiment: str | None = None,
    origin: str | None = None,
) -> ExperimentResults:
    """Return the results of an experiment: what `analysis.load` says."""
    if "://" in os.fspath(source):
        if runs is not None:
            told = without_secrets(os.fspath(source))
            raise SpecError(f"{told}: is a tracking URI; `runs` goes with an experiment's file")
        from analysis.reading.mlflow_results import open_tracked  # mlflow, which takes seconds to import

        tracked = open_tracked(os.fspath(source), overrides, experiment, origin)
        return ExperimentResults(tracked, tracked.resolved)
    if experiment is not None:
        raise SpecError(f"{source}: is no tracking URI; `experiment` names one of several in MLflow")
    if origin is not None:
        raise SpecError(f"{source}: is no tracking URI; `origin` names one of several runs folders in MLflow")
    place = expanded(source)
    if place.is_file():
        file = load_experiment(place)
        if file.problems:
            raise SpecError(file.problems)
        name = file.experiment.name
        folder = _runs_of(place, runs, name) / name
    elif place.is_dir():
        if runs is not None:
            raise SpecError(f"{place}: is a folder of runs already; `runs` goes with an experiment's file")
        folder = _experiment_in(place)
    else:
        raise RunError(f"{place}: no such file or folder; give an experiment's file, or a folder of runs")
    resolved = newest_resolved(folder, overrides)
    if resolved is None:
        raise RunError(f"{folder}: holds no launched experiment; launch it with `python run.py launch FILE`")
    return ExperimentResults(RunFolders(folder, resolved), resolved)


def open_reported(folder: Path) -> ExperimentResults:
    """Return the results that an experiment's `report` is about; without one, those of its file without overrides.

    Launches with overrides that make other arms, seeds or claims have reports of their own, and are left out here.

    Args:
        folder: of the experiment, among the runs.

    Raises:
        RunError: it has no report, and was never launched without overrides.
    """
    digest = (folder / LINK).resolve().name
    for resolved in read_resolved(folder):
        if resolved.digest == digest:
            return ExperimentResults(RunFolders(folder, resolved), resolved)
    return open_results(folder, overrides=())


def _runs_of(file: Path, runs: str | os.PathLike[str] | None, name: str) -> Path:
    """Return the folder of all runs in which an experiment of this name was launched."""
    if runs is not None:
        place = expanded(runs)
        if not (place / name).is_dir():
            known = ", ".join(launched(place)) or "not one"
            raise RunError(f"{place}: holds no runs of {name!r}; experiments that were launched in it: {known}")
        return place
    here = Path.cwd()
    looked = [folder / RUNS for folder in dict.fromkeys((here, *here.parents, *file.resolve().parents))]
    for place in looked:
        if (place / name).is_dir():
            return place
    raise RunError(
        f"no runs of {name!r} in {looked[0]}, nor in a folder `{RUNS}` further up: launch it with "
        f"`python run.py launch {file}`, or say where its runs are: analysis.load({str(file)!r}, runs=…)"
    )


def _experiment_in(place: Path) -> Path:
    """Return the folder of the one experiment that a folder is or holds."""
    if (place / REPORTS).is_dir():
        return place
    names = launched(place)
    if len(names) == 1:
        return place / names[0]
    if names:
        raise RunError(
            f"{place}: holds {len(names)} experiments; load one of {', '.join(str(place / n) for n in names)}"
        )
    if (place.parent / TRAININGS).is_dir():
        raise RunError(f"{place}: holds no launched experiment; {did_you_mean(place.name, launched(place.parent))}")
    raise RunError(f"{place}: holds no launched experiment")


def launched(runs: Path) -> list[str]:
    """Return the names of the experiments that were launched in a folder of all runs."""
    return sorted(path.parent.name for path in runs.glob(f"*/{REPORTS}"))
