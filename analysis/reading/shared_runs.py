"""Which runs two sides of a comparison have in common: the same evaluations, or evaluations of the same trainings.

Experiments share trainings and evaluations whose specs are equal, and results are copied and passed on. What is on both
sides is not independent.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.reading.results_source import ResultsSource
from analysis.tables.listing import listed
from registry.runs.places import EVALUATIONS

SAME, OF_SAME = "the same runs", "of the same trainings"


def shared_runs(left: ResultsSource, right: ResultsSource, arms: Sequence[str]) -> dict[str, str]:
    """Return arm -> `SAME`, `OF_SAME` where some are of the same trainings, or nothing.

    A run is its folder, whatever links lead there, or all that it recorded, seconds included, where it was copied.

    Args:
        left, right: the two sides.
        arms: that both have.

    Raises:
        RunError: a run folder was edited.
    """
    sides = [{(row["arm"], row["seed"]): row for row in side.rows(None) if row["result"]} for side in (left, right)]
    found = {}
    for arm in arms:
        ours, theirs = ({seed: row for (owner, seed), row in side.items() if owner == arm} for side in sides)
        same = sum(_same(ours[seed], theirs[seed]) for seed in ours.keys() & theirs.keys())
        trainings, others = ({_training(row) for row in side.values()} for side in (ours, theirs))
        if same and same == len(ours) == len(theirs):
            found[arm] = SAME
        else:
            found[arm] = OF_SAME if same or trainings & others else ""
    return found


def sharing_notes(runs: Mapping[str, str]) -> list[str]:
    """Return a line for the arms that are the same runs on both sides, and one for those of the same trainings.

    Args:
        runs: as `shared_runs` returns it.
    """
    same, of_same = ([arm for arm, what in runs.items() if what == kind] for kind in (SAME, OF_SAME))
    notes = [f"{listed(same)}: the same runs on both sides: there is nothing to compare"] if same else []
    told = "both sides have runs of the same trainings, which are not independent: no interval"
    return [*notes, f"{listed(of_same)}: {told}"] if of_same else notes


def _same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return Path(ours["folder"]).resolve() == Path(theirs["folder"]).resolve() or ours["result"] == theirs["result"]


def _training(row: Mapping[str, Any]) -> Path:
    """The folder of the training that a run is an evaluation of; that of the run where this is not to be seen."""
    folder = Path(row["folder"]).resolve()
    return folder.parent.parent if folder.parent.name == EVALUATIONS else folder
