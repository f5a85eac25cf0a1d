"""Every picture of an experiment, drawn from its plain files into `figures/` of its report."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.arm_figures import samples_figure
from analysis.figures.report_figures import Results, drawings, samples_files
from analysis.results.results_frame import DONE
from registry.errors import RunError
from registry.runs.arrays import ArrayFile, DamagedError
from registry.runs.records import read_json

Form = Literal["png", "pdf", "svg"]
PAPER: tuple[Form, ...] = ("pdf", "svg")  # forms for a paper
COLUMN = 5.5  # inches: a column of text of a paper
CONTACT_SHEET = Path("previews") / "contact_sheet.png"  # of a run folder: its samples beside real clips, by class
DOTS = 150  # an inch
MOST_DOTS = 60_000  # of a side: matplotlib draws no picture of more than 65,535
SHOWN = 6  # sampled clips beside real ones, where there is no contact sheet


def draw(folder: Path, results: Results, form: Form = "png") -> list[Path]:
    """Draw effects, scores by arm and against steps, loss curves, and sampled beside real clips; return the files.

    What cannot be drawn yet (no finished replicate, arms that cannot be compared) is left out.

    Args:
        folder: of the report.
        results: what it says.
        form: of the files. `pdf` and `svg` are for a paper: as wide as a column of text, with their letters in them;
            samples are pixels in any form, and left out there.
    """
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    drawn = []
    for drawing in drawings(results):
        path = figures / f"{drawing.name}.{form}"
        with contextlib.suppress(RunError):
            _save(drawing.draw() if form == "png" else drawing.draw(width=COLUMN), path)
            drawn.append(path)
    return drawn if form != "png" else [*drawn, *_samples(figures, results.frame)]


def paper_forms(folder: Path, asked: Sequence[Form]) -> list[Form]:
    """Return the forms for a paper that a report has its figures in: those asked for, and those that it has already.

    Figures that stayed as they were while the report went on would say something else than the report.
    """
    return [form for form in PAPER if form in asked or any((folder / "figures").glob(f"*.{form}"))]


def _samples(figures: Path, frame: pd.DataFrame) -> Iterator[Path]:
    files = samples_files(map(str, frame["arm"]))
    for arm, rows in frame[frame["state"] == DONE].groupby("arm", sort=False):
        folder, path = Path(rows.iloc[0]["folder"]), figures / files[str(arm)]
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


def _save(figure: Figure, path: Path) -> None:
    """Write a figure: a picture, coarser where hundreds of arms make it very large, or with its fonts in the file."""
    # Type 42 embeds the font's outlines (journals refuse type 3); in SVG letters are drawn as outlines.
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": path.stem}):
        date = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix)
        figure.savefig(path, dpi=min(DOTS, MOST_DOTS / max(figure.get_size_inches())), metadata=date)
