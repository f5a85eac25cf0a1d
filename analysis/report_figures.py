"""The figures of a report: which there are, and how each is drawn at a width; for pictures, pages and papers alike."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.effect_figures import effects_figure
from analysis.figures import ShownFigure, curves_figure, scores_figure
from analysis.floors import Floors
from analysis.results import done, score_names
from analysis.verdicts import Verdict
from registry.experiment.claims import VALIDATION_LOSS
from registry.runs.stored import read_metrics


@dataclass(frozen=True)
class Drawing:
    """A figure that may be drawn.

    Args:
        kind: effects, scores, steps (a score against training steps) or curves (what was logged).
        name: of its file, without a suffix.
        title: what it shows.
        draw: at a width in inches, or as wide as it needs; raises RunError where it cannot be drawn yet.
    """

    kind: str
    name: str
    title: str
    draw: Callable[..., ShownFigure]


def drawings(
    frame: pd.DataFrame,
    floors: Floors = (),
    by_step: Mapping[int, pd.DataFrame] | None = None,
    answers: Sequence[Verdict] = (),
) -> Iterator[Drawing]:
    """Yield the figures of a report: effects, scores by arm, scores against steps, and learning curves.

    Args:
        frame: its replicates, as `analysis.results.load` gives them.
        floors: the records of its floors.json.
        by_step: step -> the evaluations at that step, in the same form.
        answers: to its claims.
    """
    yield Drawing("effects", "effects", "Effects that the claims are about", partial(effects_figure, answers))
    for metric in score_names(frame):
        if "_band_" not in metric:
            draw = partial(scores_figure, frame, metric, floors=floors)
            yield Drawing("scores", plain_name(metric), f"{metric} by arm", draw)
    yield from _by_step(by_step or {})
    lines = {(arm, int(seed)): read_metrics(Path(folder).parent.parent)
             for arm, seed, folder in zip(frame["arm"], frame["seed"], frame["folder"], strict=True)}  # fmt: skip
    for key in ("loss", "validation_loss"):
        draw = partial(curves_figure, lines, key, log=True)
        yield Drawing("curves", f"curve-{key}", f"{key.replace('_', ' ').capitalize()} during training", draw)


def _by_step(by_step: Mapping[int, pd.DataFrame]) -> Iterator[Drawing]:
    """Each score against the training steps: a curve with a band for each arm, as the paper's figures show FVD."""
    for metric in dict.fromkeys(name for frame in by_step.values() for name in score_names(frame)):
        if metric == VALIDATION_LOSS or "_band_" in metric:
            continue  # the loss curves have it
        lines: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for step, frame in by_step.items():
            ended = done(frame)
            if metric in ended:
                for arm, seed, value in zip(ended["arm"], ended["seed"], ended[metric], strict=True):
                    lines.setdefault((arm, int(seed)), []).append({"step": step, metric: value})
        draw = partial(curves_figure, lines, metric)
        yield Drawing("steps", f"curve-{plain_name(metric)}", f"{metric} against training steps", draw)


def plain_name(name: str) -> str:
    """Return a name as files have it."""
    return re.sub(r"[^A-Za-z0-9=._-]+", "-", name).strip("-")
