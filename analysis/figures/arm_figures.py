"""Figures: scores by arm, curves by arm, and real beside sampled frames. No global state of matplotlib is touched."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator
from numpy.typing import NDArray

from analysis.figures.shown_arms import shown_arms
from analysis.figures.text import LINE, SIZE, fold, legend_below, width_of
from analysis.results.floors import REAL_HALVES, Floors, floors_of
from analysis.results.results_frame import protocol_of, scores_by_arm
from analysis.statistics.t_tests import t_interval
from registry.errors import RunError
from registry.experiment.claims import Direction

# Okabe and Ito's colours, told apart by colour-blind readers too; black stays for what is not an arm.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", ":", "-.")  # a second sign, for print and for more arms than colours
GREY = "#5f5f5f"
GRID = "#e3e3e3"
NAMES = 2.6  # inches: how wide names beside an axis are at most
SHOWN_DOTS = 110  # an inch, of a figure in a notebook
MOST_STEPS = 500  # of a curve: more would be drawn over each other
FEW = 8  # steps of a curve: each is a point, and stands below the axis


class ShownFigure(Figure):
    """A figure that a notebook shows where it is the value of a cell, without pyplot and its global state."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=SHOWN_DOTS)
        return content.getvalue()


class PlainNumbers(LogFormatter):
    """Labels of a logarithmic axis as numbers are read and typed: 0.02, not a power of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label of a tick, empty where there is to be none."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def scores_figure(
    frame: pd.DataFrame,
    metric: str,
    *,
    alpha: float = 0.05,
    floors: Floors = (),
    direction: Direction | None = None,
    width: float | None = None,
) -> ShownFigure:
    """A line per arm: a dot per seed, the mean, and Student's interval of the mean; the floor of real halves in grey.

    Of very many arms the baseline and the best are shown (`analysis.figures.shown_arms`), and the caption says so.

    Args:
        frame: the replicates, as `analysis.results.results_frame.load` gives them.
        metric: full name of the score.
        alpha: the intervals cover `1 - alpha`.
        floors: the records of floors.json.
        direction: which way the score is better, where that is known.
        width: of the figure in inches; None: as the names of the arms need.

    Raises:
        RunError: no replicate has this score, or the arms were measured on different data or by different protocols.
    """
    arms = list(dict.fromkeys(frame["arm"]))
    protocol = protocol_of(frame, arms, metric)
    all_scores = {arm: own[np.isfinite(own)] for arm, own in scores_by_arm(frame, arms, metric).items()}
    if not any(len(scores) for scores in all_scores.values()):
        raise RunError(f"no replicate that is done has the score {metric!r}")
    shown = shown_arms(frame, metric, direction)
    arms, by_arm = list(shown.names), {arm: all_scores[arm] for arm in shown.names}
    room = NAMES if width is None else min(NAMES, 0.4 * width)
    names = [fold(f"{arm}\nn = {len(by_arm[arm])}", room) for arm in arms]
    row = max(0.45, LINE * max(name.count("\n") + 1 for name in names) + 0.1)
    figure = ShownFigure(
        figsize=(width or 4.6 + max(1.8, *map(width_of, names)), 1.3 + row * len(arms)), layout="constrained"
    )
    axes = figure.add_subplot()
    for place, scores in enumerate(by_arm.values()):
        colour, values = COLOURS[place % len(COLOURS)], scores.to_numpy()
        above = np.full(len(values), place - 0.2)
        axes.plot(values, above, "o", ms=5, mfc="none", mec=colour, mew=1.2)
        if len(values):
            axes.plot(values.mean(), place, "D", ms=6.5, color=colour, zorder=3)
        if interval := t_interval(values, alpha=alpha):
            axes.plot(interval, (place, place), "-", lw=1.8, color=colour, solid_capstyle="butt", zorder=2)
    axes.set_yticks(range(len(arms)), names, parse_math=False)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    told = f"circle: seed, diamond: mean, line: {1 - alpha:.0%} interval"
    for floor in floors_of(floors, metric, protocol):
        if floor.kind == REAL_HALVES:
            spread = floor.sd if np.isfinite(floor.sd) else 0.0
            axes.axvspan(floor.mean - spread, floor.mean + spread, color=GREY, alpha=0.25, lw=0, zorder=0)
            axes.axvline(floor.mean, color=GREY, lw=1.2, zorder=1)
            told += ", grey: real halves ± sd"
    told += f"\n{shown.note}" if shown.note else ""
    named = f"{metric}, protocol {protocol}" if protocol else metric
    caption(figure, f"{named}\n{told}")
    plain(axes, grid="x")
    axes.locator_params(axis="x", nbins=5)  # numbers of many digits run into each other
    return figure


def curves_figure(
    metrics_by_replicate: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]],
    key: str,
    *,
    log: bool = False,
    note: str = "",
    width: float = 6.4,
) -> ShownFigure:
    """A curve per arm over the training steps: the mean of its seeds, and the band from the lowest to the highest.

    Args:
        metrics_by_replicate: (arm, seed) -> the lines of its metrics.jsonl, each with `step`; lines without `key`
            are passed over. Where seeds have got to different steps, each step uses those that have it.
        key: what to draw, e.g. `loss`.
        log: draw the values on a logarithmic axis.
        note: which arms these are, where there are more; stands below the axis.
        width: of the figure, in inches.

    Raises:
        RunError: no line has this key.
    """
    records = [
        {"arm": arm, "seed": seed, "step": line["step"], "value": line[key]}
        for (arm, seed), lines in metrics_by_replicate.items()
        for line in lines
        if key in line
    ]
    if not records:
        raise RunError(f"no metrics of any replicate have {key!r}")
    figure = ShownFigure(figsize=(width, 0.35 * width + 1.56), layout="constrained")
    axes = figure.add_subplot()
    # A resumed replicate may have written a step again: its last line counts.
    lines = pd.DataFrame(records).drop_duplicates(["arm", "seed", "step"], keep="last")
    most, longest = 1, 1
    for place, (arm, own) in enumerate(lines.groupby("arm", sort=False)):
        colour, style = COLOURS[place % len(COLOURS)], STYLES[place // len(COLOURS) % len(STYLES)]
        by_step = own.groupby("step")["value"].agg(["mean", "min", "max"])
        by_step = by_step.iloc[:: -max(1, -(-len(by_step) // MOST_STEPS))][::-1]  # evenly, the last one among them
        seeds, steps = own["seed"].nunique(), len(by_step)
        most, longest = max(most, seeds), max(longest, steps)
        form = (style if steps > 1 else "") + ("o" if steps <= FEW else "")  # a line through one point cannot be seen
        axes.plot(by_step.index, by_step["mean"], form, color=colour, lw=1.6, ms=5, label=f"{arm} (n = {seeds})")
        if seeds > 1 and steps > 1:
            axes.fill_between(by_step.index, by_step["min"], by_step["max"], color=colour, alpha=0.18, lw=0)
        elif seeds > 1:
            axes.vlines(by_step.index, by_step["min"], by_step["max"], color=colour, alpha=0.5, lw=3)
    drawn = ("line", "band") if longest > 1 else ("point", "bar")
    told = f"   ({drawn[0]}: mean of the seeds, {drawn[1]}: lowest to highest)" if most > 1 else ""
    below = f"training step{told}" + (f"\n{note}" if note else "")
    axes.set_xlabel(fold(below, width - 1.0), fontsize=SIZE, parse_math=False)
    axes.set_ylabel(key, parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, steps=[1, 2, 2.5, 5, 10]))
    if lines["step"].nunique() <= FEW:
        axes.set_xticks(sorted(lines["step"].unique()))
    axes.margins(x=0.01)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(PlainNumbers())
        axes.yaxis.set_minor_formatter(PlainNumbers())
    legend_below(figure, axes)
    plain(axes, grid="y")
    return figure


def curve_figure(
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    path: str | Path,
    *,
    limits: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> ShownFigure:
    """Scores at several numbers of clips against 1/N, and the line to infinitely many clips, as a picture at `path`.

    A point is the mean over disjoint subsets, a bar its standard deviation. A panel per curve: scores with the same
    points (a score and its limit) share one.

    Args:
        curves: score's name -> points with `share`, `n_fake`, `value` and `sd` (None for one subset).
        path: of the picture; its suffix says the form.
        limits: score's name -> `value` and `slope` of score = value + slope / share, and the `shares` it was fitted to.

    Raises:
        RunError: no score has a point.
    """
    panels: dict[tuple[tuple[float, ...], ...], list[str]] = {}
    for name, points in curves.items():
        if points:
            panels.setdefault(tuple((p["n_fake"], p["value"]) for p in points), []).append(name)
    if not panels:
        raise RunError("there is no N-curve to draw: no score was measured at several numbers of clips")
    figure = ShownFigure(figsize=(6.4, 3.4 * len(panels)), layout="constrained")
    all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for place, (axes, names) in enumerate(zip(all_axes, panels.values(), strict=True)):
        colour, points = COLOURS[place % len(COLOURS)], curves[names[0]]
        inverse = np.array([1 / point["n_fake"] for point in points])
        spread = [point["sd"] or 0.0 for point in points]
        values = [point["value"] for point in points]
        axes.errorbar(inverse, values, yerr=spread, fmt="o", ms=5, color=colour, capsize=3, lw=1.2)
        for name in names:
            if name in limits:
                _draw_limit(axes, limits[name], points, colour)
        axes.set_xticks([0.0, *inverse], ["0", *(f"1/{point['n_fake']}" for point in points)], rotation=30)
        axes.set_xlim(left=0.0)
        axes.set_ylabel(fold(names[0], 2.8))
        axes.set_xlabel("1 / clips on the scored side   (point: mean of disjoint subsets, bar: their sd)")
        plain(axes, grid="y")
    figure.savefig(path, dpi=150, metadata={"Software": None} if str(path).endswith(".png") else None)
    return figure


def draw_curves(scores: Sequence[Mapping[str, Any]], path: Path) -> Path | None:
    """The N-curves of the `scores` of a scores.json with their limits at `path`; None where no score has a curve."""
    curves = {row["metric"]: row["curve"] for row in scores if row["curve"]}
    if not curves:
        return None
    fitted = (row for row in scores if {"slope", "shares"} <= set(row["details"]))
    limits = {row["metric"]: {"value": row["value"], **row["details"]} for row in fitted}
    curve_figure(curves, path, limits=limits)
    return path


def _draw_limit(axes: Axes, limit: Mapping[str, Any], points: Sequence[Mapping[str, Any]], colour: str) -> None:
    """The line over the points that it was fitted to, and on to infinitely many clips."""
    fitted = [point for point in points if any(np.isclose(point["share"], share) for share in limit["shares"])]
    inverse = [0.0, *(1 / point["n_fake"] for point in fitted)]
    on_line = [limit["value"], *(limit["value"] + limit["slope"] / point["share"] for point in fitted)]
    axes.plot(inverse, on_line, "--", lw=1.2, color=colour, label=f"infinitely many clips: {limit['value']:.4g}")
    axes.plot(0.0, limit["value"], "D", ms=6, mfc="none", mec=colour, clip_on=False)
    axes.legend(frameon=False, fontsize=SIZE, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)


def samples_figure(
    real: NDArray[np.uint8], sampled: NDArray[np.uint8], path: str | Path, *, frames: int = 8, title: str = ""
) -> ShownFigure:
    """Real and sampled videos side by side, a row each, as a PNG at `path`.

    Args:
        real, sampled: uint8 (n, F, H, W, 3); as many rows are drawn as the smaller of the two has videos.
        frames: at most so many frames of each, evenly spread.

    Raises:
        RunError: one of the two is empty or not of this layout.
    """
    for name, videos in {"real": real, "sampled": sampled}.items():
        if videos.ndim != 5 or videos.shape[-1] != 3 or videos.dtype != np.uint8 or not videos.size:
            raise RunError(f"{name} videos must be uint8 (n, F, H, W, 3), not {videos.dtype} {videos.shape}")
    rows = min(len(real), len(sampled))
    strips = {"real": _filmstrip(real[:rows], frames), "sampled": _filmstrip(sampled[:rows], frames)}
    widths = [strip.shape[1] for strip in strips.values()]
    inches = 12.0 / sum(widths)
    height = max(strip.shape[0] for strip in strips.values()) * inches
    title = fold(title, 12.0, 11)
    above = 0.25 + 0.21 * (title.count("\n") + 1) if title else 0.2
    figure = ShownFigure(figsize=(12.4, height + above + 0.25), dpi=150, layout="constrained")
    panels = figure.subplots(1, 2, gridspec_kw={"width_ratios": widths})
    for axes, (name, strip) in zip(panels, strips.items(), strict=True):
        axes.imshow(strip, interpolation="nearest")
        axes.set_title(f"{name}, time to the right", fontsize=11, loc="left")
        axes.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=11, color=GREY, parse_math=False)
    figure.savefig(path, metadata={"Software": None})
    return figure


def _filmstrip(videos: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    """(n, F, H, W, 3) -> (height, width, 3): a row per video, white gaps, small frames enlarged by whole pixels."""
    picked = np.unique(np.linspace(0, videos.shape[1] - 1, min(most, videos.shape[1])).round().astype(int))
    enlarge = max(1, 96 // max(videos.shape[2:4]))
    tiles = videos[:, picked].repeat(enlarge, axis=2).repeat(enlarge, axis=3)
    gap = max(2, tiles.shape[2] // 24)
    tiles = np.pad(tiles, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    n, f, h, w, _ = tiles.shape
    return tiles.transpose(0, 2, 1, 3, 4).reshape(n * h, f * w, 3)[:-gap, :-gap]


def caption(figure: Figure, text: str) -> None:
    """Write below a figure of one panel what its axis shows, folded to the figure's width."""
    folded = fold(text, figure.get_figwidth() - 0.2)
    figure.set_figheight(figure.get_figheight() + LINE * (folded.count("\n") - text.count("\n")))
    figure.supxlabel(folded, fontsize=SIZE, parse_math=False)


def plain(axes: Axes, *, grid: Literal["x", "y", "both"]) -> None:
    """The house's look: no frame, a light grid along one axis, or `both`."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(color=GREY, labelsize=9)
    for spine in axes.spines.values():
        spine.set_color(GREY)
