"""Tables and verdicts as text: for the terminal, Markdown, LaTeX, CSV and JSON."""

import io
import json
import math
import shutil
from collections.abc import Callable, Sequence

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis import tables
from analysis.results import score_names
from analysis.verdicts import Verdict
from registry.errors import SpecError, did_you_mean

WRITERS: dict[str, Callable[[pd.DataFrame], str]] = {
    "md": tables.to_markdown,
    "tex": tables.to_latex,
    "csv": tables.to_csv,
}


def scores_table(frame: pd.DataFrame, metrics: Sequence[str], form: str, title: str = "") -> str:
    """The scores by arm in a form: table, json, md, tex or csv.

    Args:
        frame: as `analysis.results.load` gives it.
        metrics: names of scores; none means all but those of single noise bands.

    Raises:
        SpecError: no such score.
        RunError: an arm's replicates cannot be compared with each other.
    """
    names = score_names(frame)
    for metric in metrics:
        if metric not in names:
            raise SpecError(f"no score {metric!r}; {did_you_mean(metric, names)}")
    table = tables.summary(frame, list(metrics) or [name for name in names if "_band_" not in name])
    if form == "json":
        rows = [
            {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in row.items()}
            for row in table.to_dict("records")
        ]
        return json.dumps({"experiment": title, "arms": rows}, indent=1)
    if form in WRITERS:
        return WRITERS[form](table)
    return as_text(tables.to_rich(table, title))


def verdicts_table(experiment: str, answers: Sequence[Verdict], form: str) -> str:
    """The verdicts as JSON, or as a table with the reason of each below it."""
    if form == "json":
        return json.dumps({"experiment": experiment, "claims": [answer.as_json() for answer in answers]}, indent=1)
    if not answers:
        return f"{experiment}: makes no claim; add `claim: {{axis: …, better: …, worse: …}}` to the experiment"
    shown = Table(title=escape(f"{experiment}: verdict"), title_justify="left")
    for name in ("claim", "metric", "verdict", "effect", "95 % interval", "n", "p (Holm)"):
        shown.add_column(name, justify="left" if name in ("claim", "metric", "verdict") else "right")
    for answer in answers:
        interval = f"{answer.interval[0]:.3g} to {answer.interval[1]:.3g}" if answer.interval else tables.NOTHING
        shown.add_row(
            escape(f"{answer.better} better than {answer.worse} ({answer.axis})"),
            escape(answer.metric),
            answer.verdict,
            f"{answer.effect:+.3g}" if answer.effect is not None else tables.NOTHING,
            interval,
            str(answer.n),
            f"{answer.p:.2g}" if answer.p is not None else tables.NOTHING,
        )
    reasons = [f"{answer.better} / {answer.worse}: {answer.verdict}: {answer.reason}" for answer in answers]
    return "\n".join([as_text(shown), "effect: mean paired difference; positive supports the claim", *reasons])


def as_text(table: Table) -> str:
    """A rich table as plain text, as wide as the terminal, or 120 columns in a log."""
    out = io.StringIO()
    Console(file=out, width=max(80, shutil.get_terminal_size((120, 24)).columns)).print(table)
    return out.getvalue().rstrip()
