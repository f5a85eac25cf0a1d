"""Every picture of an experiment, drawn from its plain files into `figures/` of its report."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import curves_figure, samples_figure, scores_figure
from analysis.floors import Floors
from analysis.results import DONE, done, score_names
from registry.errors import RunError
from registry.experiment.claims import VALIDATION_LOSS
from registry.runs.arrays import ArrayFile, DamagedError
from registry.runs.records import read_json
from registry.runs.run_folder import read_metrics

CONTACT_SHEET = Path("previews") / "contact_sheet.png"  # of a run folder: its samples beside real clips, by class
DOTS = 150  # an inch
MOST_DOTS = 60_000  # of a side: matplotlib draws no picture of more than 65,535
SHOWN = 6  # sampled clips beside real ones, where there is no contact sheet


def draw(
    folder: Path, frame: pd.DataFrame, floors: Floors = (), by_step: Mapping[int, pd.DataFrame] | None = None
) -> list[Path]:
    """Draw scores by arm and against steps, loss curves, and sampled beside real clips; return the files written.

    What cannot be drawn yet (no finished replicate, arms that cannot be compared) is left out.

    Args:
        folder: of the report.
        frame: its replicates, as `analysis.results.load` gives them.
        floors: the records of its floors.json.
        by_step: step -> the evaluations at that step, in the same form.
    """
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    drawn = [*_scores(figures, frame, floors), *_scores_by_step(figures, by_step or {})]
    return [*drawn, *_curves(figures, frame), *_samples(figures, frame)]


def _scores(figures: Path, frame: pd.DataFrame, floors: Floors) -> Iterator[Path]:
    for metric in score_names(frame):
        if "_band_" not in metric:
            yield from _drawn(figures / f"{_plain(metric)}.png", partial(scores_figure, frame, metric, floors=floors))


def _scores_by_step(figures: Path, by_step: Mapping[int, pd.DataFrame]) -> Iterator[Path]:
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
        yield from _drawn(figures / f"curve-{_plain(metric)}.png", partial(curves_figure, lines, metric))


def _curves(figures: Path, frame: pd.DataFrame) -> Iterator[Path]:
    lines = {(arm, int(seed)): read_metrics(Path(folder).parent.parent)
             for arm, seed, folder in zip(frame["arm"], frame["seed"], frame["folder"], strict=True)}  # fmt: skip
    for key in ("loss", "validation_loss"):
        yield from _drawn(figures / f"curve-{key}.png", partial(curves_figure, lines, key, log=True))


def _samples(figures: Path, frame: pd.DataFrame) -> Iterator[Path]:
    for arm, rows in frame[frame["state"] == DONE].groupby("arm", sort=False):
        folder, path = Path(rows.iloc[0]["folder"]), figures / f"samples-{_plain(str(arm))}.png"
        if (sheet := folder / CONTACT_SHEET).is_file():
            shutil.copyfile(sheet, path)
            yield path
            continue
        result = read_json(folder / "result.json") or {}
        real = _clips([Path(result.get("reference", "")) / "clips.npy"])
        sampled = _clips(sorted((folder / "samples").glob("clips-*.npy")))
        if real is not None and sampled is not None:
            title = f"{rows.iloc[0]['experiment']}: {arm}, seed {rows.iloc[0]['seed']}, step {result['step']}"
            samples_figure(real, sampled, path, title=title)
            yield path


def _clips(files: Iterable[Path]) -> np.ndarray | None:
    """The first clips of the first file that is there and not damaged."""
    for file in files:
        try:
            opened = ArrayFile(file)
            return opened.rows(range(min(SHOWN, len(opened.array))))
        except DamagedError:
            continue
    return None


def _drawn(path: Path, figure: Callable[[], Figure]) -> Iterator[Path]:
    """Draw a figure into a file, and give its path; nothing where it cannot be drawn yet."""
    try:
        _save(figure(), path)
    except RunError:
        return
    yield path


def _save(figure: Figure, path: Path) -> None:
    """Write a figure as a picture, coarser where hundreds of arms make it very large."""
    figure.savefig(path, dpi=min(DOTS, MOST_DOTS / max(figure.get_size_inches())))


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9=._-]+", "-", name).strip("-")
