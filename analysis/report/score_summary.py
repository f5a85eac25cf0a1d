"""The table of scores of a report: of the scores that all arms can be compared by, with why others are left out."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from analysis.figures.report_figures import Results
from analysis.results.results_frame import protocol_of
from analysis.tables.score_table import BASELINE, Summary, summary
from analysis.tables.unlike_losses import unlike_losses
from registry.errors import RunError
from registry.runs.resolved_experiment import ResolvedExperiment


def score_summary(about: ResolvedExperiment, results: Results, tuning: Sequence[str] = ()) -> Summary:
    """Return the scores by arm; one of different data or protocols is left out, and a note says so.

    Args:
        about: what the report is of.
        results: what it says.
        tuning: the lines on arms that were tuned, where they are not told beside the table.
    """
    refused = {metric: why for metric in results.scores if (why := _refusal(results.frame, metric))}
    kept = [metric for metric in results.scores if metric not in refused]
    table = summary(results.frame, kept, results.floors, about.directions)
    return replace(table, notes=(*refused.values(), *table.notes, *tuning, *about.meanings))


def _refusal(frame: pd.DataFrame, metric: str) -> str:
    """Why a score of these arms cannot stand in one table; empty where it can."""
    try:
        if not unlike_losses(frame, metric, BASELINE):
            protocol_of(frame, list(dict.fromkeys(frame["arm"])), metric)
    except RunError as error:
        return "; ".join(map(str.strip, str(error).splitlines()))
    return ""
