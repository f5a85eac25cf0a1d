"""Tables and verdicts as text: for the terminal, Markdown, LaTeX, CSV and JSON."""

import io
import json
import math
import shutil
from collections.abc import Callable, Sequence

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from analysis import tables
from analysis.floors import Floors
from analysis.results import score_names
from analysis.verdicts import Verdict
from registry.errors import SpecError, did_you_mean

WRITERS: dict[str, Callable[[tables.Summary], str]] = {
    "md": tables.to_markdown,
    "tex": tables.to_latex,
    "csv": tables.to_csv,
}
EFFECTS = {
    "order": "effect of an order: mean paired difference; positive supports the claim",
    "equivalence": "effect of an equivalence: mean paired difference, the second less the first; small supports it",
    "trend": "effect of a trend: mean improvement per step, from each seed's slope; positive supports the claim",
}


def scores_table(frame: pd.DataFrame, metrics: Sequence[str], form: str, title: str = "", floors: Floors = ()) -> str:
    """The scores by arm in a form: table, json, md, tex or csv.

    Args:
        frame: as `analysis.results.load` gives it.
        metrics: names of scores; none means all but those of single noise bands.
        form: how to write them.
        title: the experiment's name.
        floors: the records of floors.json.

    Raises:
        SpecError: no such score.
        RunError: a score was measured on different data or by different protocols.
    """
    names = score_names(frame)
    for metric in metrics:
        if metric not in names:
            raise SpecError(f"no score {metric!r}; {did_you_mean(metric, names)}")
    table = tables.summary(frame, list(metrics) or [name for name in names if "_band_" not in name], floors)
    if form == "json":
        return json.dumps({"experiment": title, **_as_json(table)}, indent=1)
    if form in WRITERS:
        return WRITERS[form](table)
    return _for_terminal(table, title)


def _for_terminal(table: tables.Summary, title: str) -> str:
    """One table where the terminal is wide enough, else one per metric."""
    whole = tables.to_rich(table, title)
    console = Console(width=10_000, file=io.StringIO())
    if Measurement.get(console, console.options, whole).maximum <= _width() or len(table.protocols) == 1:
        return as_text(whole)
    each = [as_text(tables.to_rich(table.of(metric), title)) for metric in table.protocols]
    return "\n".join([*each, *table.notes])


def _as_json(table: tables.Summary) -> dict[str, object]:
    rows = [
        {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in row.items()}
        for row in table.rows.to_dict("records")
    ]
    by_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in ("arm", "floor")}
    return {
        "protocols": table.protocols,
        "arms": by_kind["arm"],
        "floors": by_kind["floor"],
        "notes": list(table.notes),
    }


def verdicts_table(experiment: str, answers: Sequence[Verdict], form: str, width: int | None = None) -> str:
    """The verdicts as JSON, or as a table with the reason of each below it."""
    if form == "json":
        return json.dumps({"experiment": experiment, "claims": [answer.as_json() for answer in answers]}, indent=1)
    if not answers:
        return f"{experiment}: makes no claim; add `claim: {{axis: …, better: …, worse: …}}` to the experiment"
    shown = Table(title=escape(f"{experiment}: verdict"), title_justify="left")
    for name in ("claim", "metric", "verdict", "effect", "95 % interval", "in floors", "n", "p (Holm)"):
        shown.add_column(name, justify="left" if name in ("claim", "metric", "verdict") else "right")
    for answer in answers:
        interval = f"{answer.interval[0]:.3g} to {answer.interval[1]:.3g}" if answer.interval else tables.NOTHING
        shown.add_row(
            escape(f"{answer.claim.text} ({answer.claim.axis})"),
            escape(answer.claim.metric),
            answer.verdict,
            _number(answer.effect, "+.3g"),
            interval,
            _number(answer.effect_in_floors, "+.3g"),
            str(answer.n),
            _number(answer.p, ".2g"),
        )
    kinds = dict.fromkeys(answer.claim.kind for answer in answers)
    told = [EFFECTS[kind] for kind in kinds]
    if any(answer.effect_in_floors is not None for answer in answers):
        told.append("in floors: the effect divided by the mean score of real halves against each other")
    measured = {answer.claim.metric: answer.protocol for answer in answers if answer.protocol is not None}
    told += [f"{metric}: protocol {protocol}" for metric, protocol in measured.items()]
    reasons = [f"{answer.claim.text}: {answer.verdict}: {answer.reason}" for answer in answers]
    warnings = dict.fromkeys(warning for answer in answers for warning in answer.warnings)
    return "\n".join([as_text(shown), *told, *reasons, *warnings])


def _number(value: float | None, form: str) -> str:
    return tables.NOTHING if value is None else format(value, form)


def as_text(table: Table) -> str:
    """A rich table as plain text, as wide as the terminal, or 120 columns in a log."""
    out = io.StringIO()
    Console(file=out, width=_width()).print(table)
    return out.getvalue().rstrip()


def _width() -> int:
    return max(80, shutil.get_terminal_size((120, 24)).columns)
