"""Claims that compare the effect on one axis of a grid over the values of another: the arms that they are about."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from registry.errors import did_you_mean
from registry.experiment.expand import Draft
from registry.experiment.grid_cells import Point
from registry.schema.claim import Claim

Cells = Mapping[Point, Mapping[str, Draft]]  # a point of the grid's other axes -> label on the axis -> the draft
Over = Literal["holds_over", "interacts_with"]


def axis_named(written: str, names: Mapping[str, str]) -> str:
    """Return the name of the one axis whose key is, or ends in, what a claim says; what it says where none does.

    Args:
        written: `size` or `model.size`.
        names: key -> the axis's name (`registry.experiment.expand.axis_names`).
    """
    found = {name for key, name in names.items() if f".{key}".endswith(f".{written}")}
    return next(iter(found)) if len(found) == 1 else written


def key_of_over(claim: Claim) -> Over | None:
    """Return the key by which a claim names another axis, None where it names none."""
    return next((key for key in ("holds_over", "interacts_with") if getattr(claim, key) is not None), None)


def wrong_over(claim: Claim, cells: Cells, axes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the other axis that a claim names, as (key, message).

    Args:
        claim: with the names of axes.
        cells: of the claim's axis in the grid.
        axes: all of the experiment.
    """
    key = key_of_over(claim)
    if key is None:
        return
    over = getattr(claim, key)
    if over == claim.axis:
        yield key, f"{over} is the claim's own axis; name another one of the grid"
    elif over not in axes:
        yield key, f"no axis {over!r}; {did_you_mean(over, axes)}"
    elif claim.axis in axes and over not in dict(next(iter(cells), ())):
        yield key, f"{claim.axis} and {over} do not vary together; put both in `grid`"
    elif cells and len(labels_on(over, cells)) < 2:
        yield key, f"{over} has one value in the grid; an effect is compared over two at least"
    elif cells and len({label for cell in cells.values() for label in cell}) < 2:
        yield "axis", f"{claim.axis} has one value in the grid; an effect is between two"


def labels_on(over: str, cells: Cells) -> list[str]:
    """Return the labels on another axis of the grid, in the order of the grid."""
    return list(dict.fromkeys(dict(point)[over] for point in cells))


def interactions_of(claim: Claim, cells: Cells, base: Mapping[str, str]) -> list[tuple[tuple[str, str], Cells]]:
    """Return the comparisons of a claim of interaction: labels on its axis, and the points that are compared.

    Each value of the claim's axis is held against the baseline's, at each value of the other axis against the
    baseline's there; where the baseline's value does not stand in the grid, the first one takes its place. So `a`
    and `b` values make (a - 1)(b - 1) comparisons.

    Args:
        claim: with the names of axes.
        cells: of the claim's axis in the grid, whose every point has all labels.
        base: axis -> the baseline's label.
    """
    over = claim.interacts_with
    assert over is not None
    first, *others = _first(list(dict.fromkeys(label for cell in cells.values() for label in cell)), base[claim.axis])
    reference, *elsewhere = _first(labels_on(over, cells), base[over])
    found: list[tuple[tuple[str, str], Cells]] = []
    for label in others:
        for other in elsewhere:
            compared = {
                point: cell for at in (reference, other) for point, cell in cells.items() if dict(point)[over] == at
            }
            found.append(((label, first), compared))
    return found


def _first(labels: list[str], wanted: str) -> list[str]:
    """Return the labels with the wanted one in front, where it is among them."""
    return sorted(labels, key=lambda label: label != wanted)
