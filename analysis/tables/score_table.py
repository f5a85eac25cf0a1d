"""Scores by arm as a table: numbers first, then the same table for terminal, Markdown, LaTeX, CSV and HTML."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from analysis.results.floors import Floor, Floors, below, floors_of, left_out
from analysis.results.mixed_code import lines, mixed_code_of
from analysis.results.results_frame import DONE, paired_scores, protocol_of, scores_by_arm
from analysis.results.stopped import NOTE, reasons
from analysis.results.table_runs import ArmRuns
from analysis.tables import best_arms, terminal
from analysis.tables.best_arms import AS_BEST, BEST
from analysis.tables.unlike_losses import unlike_losses
from registry.experiment.claims import Direction, direction_of

BASELINE = "baseline"
ROUNDING = 1e-9  # of a mean; a spread no larger than this is none
NOTHING = "–"  # noqa: RUF001 - the en dash of an empty cell

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {character: "\\" + character for character in "&%$#_{}"}


@dataclass(frozen=True)
class Summary:
    """The scores by arm.

    `rows` has a line per floor and then one per arm, in the order of the frame, with the columns `arm`, `kind`
    (`floor` or `arm`), `done` and `planned` (seeds, or draws of a floor), `stopped` (why an arm was stopped early; only
    there where one was), and per metric its mean, `<metric> sd` (n - 1), `<metric> delta`, the mean difference to the
    baseline over the seeds that both have, `<metric> mark` (`analysis.tables.best_arms`), and `<metric> protocol`. A
    number that is not defined is missing, and so is a difference of losses that are not compared
    (`analysis.tables.unlike_losses`). `protocols` maps each metric to the fingerprint that all its scores share;
    `notes` say what the numbers do not; `runs`, where they were asked for, are those behind them.
    """

    rows: pd.DataFrame
    protocols: dict[str, str | None]
    notes: tuple[str, ...]
    runs: tuple[ArmRuns, ...] = ()

    @property
    def captions(self) -> list[str]:
        """The protocol of each metric and the notes, a line each."""
        told = [f"{metric}: protocol {name}" for metric, name in self.protocols.items() if name is not None]
        return [*told, *self.notes]

    def __repr__(self) -> str:
        return to_text(self, terminal.columns_here())

    def _repr_html_(self) -> str:
        return to_html(self)

    def of(self, metric: str) -> "Summary":
        """The part about one metric, without the notes."""
        measured = (self.rows["kind"] == "arm") | self.rows[metric].notna()
        return Summary(self.rows[measured], {metric: self.protocols[metric]}, ())


def summary(
    frame: pd.DataFrame,
    metrics: Sequence[str],
    floors: Floors = (),
    directions: Mapping[str, Direction] = MappingProxyType({}),
) -> Summary:
    """Mean, spread and difference to the baseline for every arm, below the floors of the same protocols.

    Args:
        frame: as `analysis.results.results_frame.load` gives it.
        metrics: full names of scores.
        floors: the records of floors.json.
        directions: score -> which way it is better; the best arm by it is marked, and what cannot be told from that.

    Raises:
        RunError: a metric was measured on different data or by different protocols.
    """
    arms = list(dict.fromkeys(frame["arm"]))
    unlike = {metric: own for metric in metrics if (own := unlike_losses(frame, metric, BASELINE))}
    protocols = {metric: None if metric in unlike else protocol_of(frame, arms, metric) for metric in metrics}
    by_kind: dict[str, dict[str, Floor]] = {}
    for metric in metrics:
        for floor in floors_of(floors, metric, protocols[metric]):
            by_kind.setdefault(floor.name, {})[metric] = floor
    rows = [_floor_row(name, own, protocols) for name, own in by_kind.items()]
    by_arm = {metric: scores_by_arm(frame, [*arms, BASELINE], metric) for metric in metrics}
    rows += [_arm_row(str(arm), own, by_arm, protocols) for arm, own in frame.groupby("arm", sort=False)]
    behind = ("sd", "delta", "mark", "protocol")
    columns = [name for metric in metrics for name in (metric, *(f"{metric} {x}" for x in behind))]
    for metric in metrics:
        marked = {} if metric in unlike else best_arms.best_arms(frame, metric, direction_of(metric, directions))
        for row in rows:
            row[f"{metric} mark"] = marked.get(row["arm"], "")
            if metric in unlike and row["arm"] in unlike[metric].keys:
                row[f"{metric} delta"] = math.nan
    notes = [*(_counts(name, own) for name, own in by_kind.items()), *map(str, unlike.values())]
    of_arms = [row for row in rows if row["kind"] == "arm"]
    for metric in metrics:
        if others := left_out(floors, metric, protocols[metric]):
            notes.append(f"{metric}: floors of another protocol are left out: {', '.join(others)}")
        notes += below(floors, metric, protocols[metric], {row["arm"]: row[metric] for row in of_arms})
        notes += _without_score(metric, {row["arm"]: row["done"] for row in of_arms}, by_arm[metric])
    notes += lines(mixed_code_of(frame))
    told = (best_arms.left_out_note(frame, one, direction_of(one, directions)) for one in metrics if one not in unlike)
    notes += filter(None, told)
    if any(row[f"{metric} mark"] for row in rows for metric in metrics):
        notes.append(best_arms.NOTE)
    about = ["arm", "kind", "done", "planned"]
    if stopped := reasons(frame):
        rows = [{**row, "stopped": stopped.get(row["arm"], "")} for row in rows]
        about.append("stopped")
        notes.append(NOTE)
    return Summary(pd.DataFrame(rows, columns=[*about, *columns]), protocols, tuple(notes))


def _floor_row(name: str, own: dict[str, Floor], protocols: dict[str, str | None]) -> dict[str, Any]:
    draws = max(floor.values.size for floor in own.values())
    row: dict[str, Any] = {"arm": f"floor: {name}", "kind": "floor", "done": draws, "planned": draws}
    for metric, protocol in protocols.items():
        floor = own.get(metric)
        row[metric], row[f"{metric} sd"] = (floor.mean, floor.sd) if floor else (math.nan, math.nan)
        row[f"{metric} delta"], row[f"{metric} protocol"] = math.nan, protocol
    return row


def _arm_row(
    arm: str, own: pd.DataFrame, by_arm: dict[str, dict[str, pd.Series]], protocols: dict[str, str | None]
) -> dict[str, Any]:
    row: dict[str, Any] = {"arm": arm, "kind": "arm", "done": int((own["state"] == DONE).sum()), "planned": len(own)}
    for metric, protocol in protocols.items():
        scores = by_arm[metric][arm]
        scores = scores[np.isfinite(scores)]
        pairs = paired_scores([scores, by_arm[metric][BASELINE]])
        row[metric], row[f"{metric} sd"] = scores.mean(), scores.std(ddof=1)
        row[f"{metric} delta"] = (pairs[:, 0] - pairs[:, 1]).mean() if len(pairs) and arm != BASELINE else math.nan
        row[f"{metric} protocol"] = protocol
    return row


def _without_score(metric: str, done: Mapping[str, int], scores: Mapping[str, pd.Series]) -> list[str]:
    """A line on the arms of which some seeds are done and have no finite score; an arm without any shows none."""
    missing = {arm: number - int(np.isfinite(scores[arm]).sum()) for arm, number in done.items()}
    told = [f"{missing[arm]} of {number} seeds of {arm}" for arm, number in done.items() if 0 < missing[arm] < number]
    return [f"{metric}: no finite score in {', '.join(told)}; its numbers are of the others"] if told else []


def _counts(name: str, own: dict[str, Floor]) -> str:
    counts = list(dict.fromkeys(floor.counts for floor in own.values()))
    draws = sorted({floor.values.size for floor in own.values()})
    return f"floor: {name}: {' or '.join(map(str, draws))} draw{'' if draws == [1] else 's'} of {' or '.join(counts)}"


def to_text(table: Summary, width: int, title: str = "") -> str:
    """The summary for the terminal, no wider than so many columns: one table, or one per metric where that is wider."""
    whole = _boxed(table, width, title)
    if len(whole) == 1 or len(table.protocols) == 1:
        return "\n".join([terminal.as_text(whole), *(terminal.wrapped(line, width) for line in table.captions)])
    each = [to_text(table.of(metric), width, title) for metric in table.protocols]
    return "\n".join([*each, *(terminal.wrapped(note, width) for note in table.notes)])


def _boxed(table: Summary, width: int, title: str) -> list[Table]:
    header, rows = _cells(table)
    return terminal.fitting(header, rows, width, title=title, keys=2, look=terminal.Look(boxed=True))


def to_markdown(table: Summary) -> str:
    """The summary as a Markdown table with aligned columns."""
    header, rows = _cells(table)
    text = markdown(header, [[_strong(cell, "**", "**") for cell in row] for row in rows])
    below = f"\n{'; '.join(map(_bold, table.captions))}\n" if table.captions else ""
    return f"{text}\n{below}{_comment(table)}"


def _strong(cell: str, before: str, behind: str) -> str:
    """A cell of the best arm in bold, instead of its sign."""
    return f"{before}{cell.removesuffix(' *')}{behind}" if cell.endswith(" *") else cell


def _bold(caption: str) -> str:
    """The caption of a form that shows the best arm in bold."""
    return caption.replace("* best", "bold: best", 1)


def _comment(table: Summary) -> str:
    """The runs behind the table as a comment of HTML, which Markdown has too; empty where they were not asked for."""
    told = "\n".join(map(str, table.runs)).replace("--", "- -")  # two dashes would end it
    return f"\n<!-- runs, each training/seed/evaluation:\n{told}\n-->\n" if told else ""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, the first of them to the left."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (header, *rows)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(header))]
    rule = [("-" * width) if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    padded = [
        [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in (lines[0], rule, *lines[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def to_latex(table: Summary) -> str:
    """The summary as a LaTeX tabular; it needs the package booktabs."""
    header, rows = _cells(table)
    shown = [[_strong(cell, r"\textbf{", "}") for cell in map(_latex, line)] for line in (header, *rows)]
    lines = [" & ".join(line) + r" \\" for line in shown]
    body = [lines[0], r"\midrule", *lines[1:]]
    columns = "l" + "r" * (len(header) - 1)
    text = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]
    runs = [f"% {line}" for one in table.runs for line in str(one).splitlines()]
    return "\n".join([*text, *(f"% {_bold(line)}" for line in table.captions), *runs, ""])


def to_html(table: Summary) -> str:
    """The summary as an HTML table, to stand in a page: with a header row, a row header an arm, and captions below."""
    header, rows = _cells(table)
    top = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    body = [
        f'<tr><th scope="row">{html.escape(first)}</th>{"".join(map(_html_cell, rest))}</tr>' for first, *rest in rows
    ]
    notes = "".join(f"<p>{html.escape(line)}</p>" for line in table.captions)
    whole = "\n".join(["<table>", f"<thead><tr>{top}</tr></thead>", "<tbody>", *body, "</tbody>", "</table>"])
    return f"{whole}\n{notes}\n{_comment(table)}" if notes else f"{whole}\n{_comment(table)}"


def _html_cell(cell: str) -> str:
    return f"<td>{_strong(html.escape(cell), '<strong>', ' *</strong>')}</td>"


def to_csv(table: Summary) -> str:
    """The numbers of the summary in full precision; the runs behind an arm are columns of its row."""
    rows, runs = table.rows, {own.arm: own for own in table.runs}
    if runs:
        own = [runs.get(str(arm)) for arm in rows["arm"]]
        rows = rows.assign(runs=[" ".join(one.runs) if one else "" for one in own],
                           commits=[" ".join(one.commits) if one else "" for one in own])  # fmt: skip
    return rows.to_csv(index=False)


def with_spread(mean: float, sd: float) -> str:
    """`mean ± sd`, the spread to two significant digits and the mean to the same place.

    Where there is no spread but that of rounding, the mean has four significant digits, and the spread is written as 0.
    """
    if math.isnan(mean):
        return NOTHING
    if math.isnan(sd):
        return f"{mean:.4g}"
    if sd <= ROUNDING * abs(mean):
        places = 3 - math.floor(math.log10(abs(mean))) if mean else 3
        decimals, sd = max(0, places), 0.0
    else:
        decimals = min(12, max(0, 1 - math.floor(math.log10(sd))))
    return f"{mean:.{decimals}f} ± {sd:.{decimals}f}"


def _cells(table: Summary) -> tuple[list[str], list[list[str]]]:
    header = ["arm", "seeds", *(name for metric in table.protocols for name in (metric, "Δ baseline"))]
    rows = []
    for row in table.rows.to_dict("records"):
        seeds = (
            f"{row['done']} draw{'' if row['done'] == 1 else 's'}"
            if row["kind"] == "floor"
            else f"{row['done']}/{row['planned']}"
        )
        arm = f"{row['arm']} ({row['stopped']})" if row.get("stopped") else str(row["arm"])
        cells = [arm, seeds]
        for metric in table.protocols:
            delta = row[f"{metric} delta"]
            sign = {BEST: " *", AS_BEST: " ≈"}.get(row[f"{metric} mark"], "")
            cells += [
                with_spread(row[metric], row[f"{metric} sd"]) + sign,
                NOTHING if math.isnan(delta) else f"{delta:+#.3g}",
            ]
        rows.append(cells)
    return header, rows


def _latex(text: str) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in text)
    for symbol, command in {"±": r"$\pm$", "Δ": r"$\Delta$", "≈": r"$\approx$", NOTHING: "--"}.items():
        escaped = escaped.replace(symbol, command)
    return escaped
