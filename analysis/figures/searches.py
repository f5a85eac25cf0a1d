"""Figures of a search: values over trials, importances, the Pareto front, and values over each key.

They are drawn here and not by `optuna.visualization.matplotlib` (5.0), which draws through pyplot and switches the
style of the whole process, cuts the names of keys, lets those of choices overlap, and shows neither what was pruned
or failed nor which trial a point of the front is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.arm_figures import COLOURS, GREY, NAMES, plain
from analysis.figures.text import LINE, fold, legend_below, width_of

Scale = Literal["linear", "log", "choices"]  # how the values of a key lie
BLUE, ORANGE, GREEN = COLOURS[:3]


def draw(
    folder: Path,
    trials: pd.DataFrame,
    scales: Mapping[str, Scale],
    directions: Mapping[str, str],
    importances: Mapping[str, Mapping[str, float]],
    best: Sequence[int],
) -> list[Path]:
    """Every figure that the trials allow, as PNG files; returns their paths.

    Args:
        folder: where they are written.
        trials: a row per trial: `trial` (its number), `state`, `pruned_at` (a step, or missing), a column per key of
            the space and one per objective (missing unless complete).
        scales: how each key was searched.
        directions: `min` or `max` of each objective.
        importances: objective -> key -> share; empty where there are too few trials.
        best: numbers of the best trial, or of the Pareto front.
    """
    if not (trials["state"] == "complete").any():
        return []
    figures = {f"history-{_file(name)}": history_figure(trials, name, way) for name, way in directions.items()}
    figures |= {f"slices-{_file(name)}": slices_figure(trials, name, scales, best) for name in directions}
    if importances:
        figures["importances"] = importances_figure(importances)
    if len(directions) > 1:
        figures["pareto"] = pareto_figure(trials, directions, best)
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=150, metadata={"Software": None})
    return paths


def history_figure(trials: pd.DataFrame, objective: str, direction: str) -> Figure:
    """The objective of every complete trial, the best so far, and where trials were pruned or failed."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    done = trials[trials["state"] == "complete"]
    axes.plot(done["trial"], done[objective], "o", ms=5, mfc="none", mec=BLUE, mew=1.2, label="complete")
    best = done[objective].cummin() if direction == "min" else done[objective].cummax()
    axes.step(done["trial"], best, where="post", color=ORANGE, lw=1.6, label="best so far")
    for state, sign, colour in (("pruned", "|", GREY), ("failed", "x", GREEN)):
        own = trials[trials["state"] == state]["trial"]
        if len(own):
            foot = axes.get_xaxis_transform()
            axes.plot(own, np.full(len(own), 0.02), sign, color=colour, ms=8, transform=foot, label=state)
    axes.set_xlabel("trial")
    axes.set_ylabel(fold(f"{objective} ({'lower' if direction == 'min' else 'higher'} is better)", 3.4))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(trials["trial"].min() - 0.5, trials["trial"].max() + 0.5)
    legend_below(figure, axes)
    plain(axes, grid="y")
    return figure


def importances_figure(importances: Mapping[str, Mapping[str, float]]) -> Figure:
    """A bar per key and objective: its share in deciding which trials are among the best (PED-ANOVA)."""
    keys = list(dict.fromkeys(key for own in importances.values() for key in own))
    names = [fold(key, NAMES) for key in keys]
    row = max(0.4 * len(importances), LINE * max(name.count("\n") + 1 for name in names) + 0.1)
    figure = Figure(figsize=(4.6 + max(1.8, *map(width_of, names)), 1.2 + row * len(keys)), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(importances)
    for place, (objective, own) in enumerate(importances.items()):
        at = np.arange(len(keys)) + (place - (len(importances) - 1) / 2) * height
        shares = [own.get(key, 0.0) for key in keys]
        axes.barh(at, shares, height=0.9 * height, color=COLOURS[place % len(COLOURS)], label=objective)
    axes.set_yticks(range(len(keys)), names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("importance (PED-ANOVA, shares of one)")
    if len(importances) > 1:
        legend_below(figure, axes)
    plain(axes, grid="x")
    return figure


def pareto_figure(trials: pd.DataFrame, directions: Mapping[str, str], best: Sequence[int]) -> Figure:
    """Complete trials over pairs of objectives; those that none beats in every objective are marked and numbered."""
    names = list(directions)
    pairs = [(names[0], other) for other in names[1:]]
    figure = Figure(figsize=(5.4 * len(pairs), 4.4), layout="constrained")
    done = trials[trials["state"] == "complete"]
    front = done[done["trial"].isin(best)]
    for axes, (x, y) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        axes.plot(done[x], done[y], "o", ms=5, mfc="none", mec=GREY, mew=1.0)
        ordered = front.sort_values([x, y])
        if len(names) == 2:
            axes.step(ordered[x], ordered[y], where="post" if directions[x] == "min" else "pre", color=ORANGE, lw=1.0)
        axes.plot(ordered[x], ordered[y], "D", ms=6, color=ORANGE, label="Pareto front")
        for number, a, b in zip(ordered["trial"], ordered[x], ordered[y], strict=True):
            axes.annotate(str(number), (a, b), textcoords="offset points", xytext=(5, 4), fontsize=8, color=GREY)
        for name, label in ((x, axes.set_xlabel), (y, axes.set_ylabel)):
            label(fold(f"{name} ({'lower' if directions[name] == 'min' else 'higher'} is better)", 3.6))
        plain(axes, grid="both")
    legend_below(figure, axes)
    return figure


def slices_figure(trials: pd.DataFrame, objective: str, scales: Mapping[str, Scale], best: Sequence[int]) -> Figure:
    """A panel per key: the objective of complete trials over the key's value."""
    done = trials[trials["state"] == "complete"]
    across = min(3, len(scales))
    down = -(-len(scales) // across)
    choices = {key: _choices(done[key]) for key, scale in scales.items() if scale == "choices"}
    below = max((own.inches for own in choices.values()), default=0.0)
    figure = Figure(figsize=(3.4 * across, (2.9 + below) * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes, (key, scale) in zip(panels, scales.items(), strict=False):
        _slice(axes, done, key, choices.get(key, scale), objective, best)
    for axes in panels[len(scales) :]:
        axes.set_axis_off()
    for axes in panels[::across]:
        axes.set_ylabel(fold(objective, 2.4))
    return figure


@dataclass(frozen=True)
class _Choices:
    """The choices of a key beneath a panel: as values, as names folded to their room, and how these are written."""

    values: list[str]
    names: list[str]
    rotation: int
    inches: float  # how high the names are


def _choices(values: pd.Series) -> _Choices:
    """The names side by side where each has room for a word, else upright."""
    labels = sorted(map(str, values.unique()))
    room = 2.5 / max(1, len(labels))
    if all(width_of(word) <= room for label in labels for word in re.split(r"[ ,=_()]", label)):
        names = [fold(label, room) for label in labels]
        return _Choices(labels, names, 0, LINE * max((name.count("\n") + 1 for name in names), default=0))
    names = [fold(label, 1.8) for label in labels]
    return _Choices(labels, names, 90, max(map(width_of, names)))


def _slice(
    axes: Axes, done: pd.DataFrame, key: str, scale: Scale | _Choices, objective: str, best: Sequence[int]
) -> None:
    if isinstance(scale, _Choices):
        places = [scale.values.index(str(value)) for value in done[key]]
        at = pd.Series(places, index=done.index, dtype=float)
        axes.set_xticks(range(len(scale.names)), scale.names, rotation=scale.rotation, parse_math=False)
        axes.set_xlim(-0.5, len(scale.names) - 0.5)
    else:
        at = done[key].astype(float)
        axes.set_xscale(scale)
    chosen = done["trial"].isin(best)
    axes.plot(at[~chosen], done[objective][~chosen], "o", ms=5, mfc="none", mec=BLUE, mew=1.2)
    axes.plot(at[chosen], done[objective][chosen], "D", ms=6, color=ORANGE)
    axes.set_xlabel(fold(key, 2.8), parse_math=False)
    plain(axes, grid="y")


def _file(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-")
