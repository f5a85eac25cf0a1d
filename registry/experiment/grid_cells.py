"""The points of a grid, as a claim about one of its axes sees them.

A claim about an axis of a grid is about the axis's main effect: at each point of the other axes it compares the arms
that differ on this axis alone, and the differences are averaged. In an experiment that mixes a grid with `ablate`,
`zip` or `arms`, a claim is judged over the grid where the grid has every value that the claim names, and nothing but
the grid's arms enter; else the claim is judged as one of `ablate`: the baseline and the arms that differ from it on
this axis alone.
"""

from collections.abc import Mapping, Sequence

from registry.experiment.expand import Draft, axis_names
from registry.experiment.experiment_file import ExperimentFile

Point = tuple[tuple[str, str], ...]  # (axis, label) for each of the grid's other axes


def grid_cells(axis: str, drafts: Sequence[Draft], file: ExperimentFile) -> dict[Point, dict[str, Draft]]:
    """Return the points of the grid's other axes -> label on this axis -> the draft; empty for an axis of no grid."""
    names = axis_names(file)
    axes = [names[key] for key in file.experiment.grid]
    cells: dict[Point, dict[str, Draft]] = {}
    for draft in drafts:
        if axis in axes and draft.place[0] == "grid":
            point = tuple((other, draft.axes[other]) for other in axes if other != axis)
            cells.setdefault(point, {}).setdefault(draft.axes[axis], draft)
    return cells


def cells_for(
    labels: Sequence[str], alone: Mapping[str, Draft], grid: Mapping[Point, Mapping[str, Draft]]
) -> Mapping[Point, Mapping[str, Draft]]:
    """Return the drafts that a claim about these labels is judged by.

    All points of the grid where the grid has every one of the labels; else the baseline and those that differ from it
    on this axis alone, as one point that is empty; none where these have not all of the labels either.
    """
    if grid and all(label in cell for cell in grid.values() for label in labels):
        return grid
    return {(): alone} if all(label in alone for label in labels) else {}


def apart(axis: str, labels: Sequence[str], alone: Mapping[str, Draft]) -> str:
    """Return why a claim about these labels of an axis of the grid has no arms to be judged by.

    Args:
        axis: of the claim.
        labels: that it names.
        alone: arms that differ from the baseline on this axis alone; empty: only the grid can judge it.
    """
    missing = [label for label in labels if label not in alone]
    if not alone:
        return f"the grid has not all of {', '.join(map(repr, labels))} of axis {axis}: name values that stand in it"
    return (
        f"{', '.join(map(repr, missing))} of axis {axis} {'are' if len(missing) > 1 else 'is'} in the grid alone, and "
        f"the grid has not all of {', '.join(map(repr, labels))}: name values that stand in the grid together"
    )
