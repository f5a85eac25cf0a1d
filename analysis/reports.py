"""The files that stand at the end of a launch: the table of scores and the verdict, to read without a command."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis import rendering
from analysis.floors import Floors
from analysis.verdicts import Verdict
from registry.runs.files import write_atomically

FOLDER = "report"  # in that of the experiment


def write(folder: Path, experiment: str, frame: pd.DataFrame, floors: Floors, answers: Sequence[Verdict]) -> list[Path]:
    """Write table.md, table.csv, verdict.txt and verdict.json; returns the paths.

    Args:
        folder: of the experiment.
        experiment: its name.
        frame: its replicates, as `analysis.results.load` gives them.
        floors: its floors.
        answers: to its claims.
    """
    texts = {
        "table.md": rendering.scores_table(frame, (), "md", experiment, floors),
        "table.csv": rendering.scores_table(frame, (), "csv", experiment, floors),
        "verdict.txt": rendering.verdicts_table(experiment, answers, "table"),
        "verdict.json": rendering.verdicts_table(experiment, answers, "json"),
    }
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_atomically(place / name, text.rstrip("\n") + "\n")
    return [place / name for name in texts]
