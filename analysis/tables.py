"""Scores by arm as a table: numbers first, then the same table for terminal, Markdown, LaTeX and CSV."""

import math
from collections.abc import Sequence

import pandas as pd
from rich.markup import escape
from rich.table import Table

from analysis.results import DONE, refuse_mixed, scores_by_seed
from analysis.statistics import paired_differences
from registry.errors import RunError

BASELINE = "baseline"
NOTHING = "–"  # noqa: RUF001 - the en dash of an empty cell
NOT_COMPARABLE = "other data or protocol than the baseline: not comparable with it"

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {character: "\\" + character for character in "&%$#_{}"}


def summary(frame: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per arm, in the order of the frame.

    The columns: `arm`, `done` and `planned` (seeds), `comparable` (with the baseline: same data, same protocol), and
    per metric its mean over the seeds that are done, `<metric> sd` (n - 1) and `<metric> delta`, the mean difference
    to the baseline over the seeds that both have. A number that is not defined is missing.

    Raises:
        RunError: the replicates of one arm were measured on different data or by different protocols.
    """
    arms = list(dict.fromkeys(frame["arm"]))
    rows = []
    for arm in arms:
        refuse_mixed(frame, [arm])
        own = frame[frame["arm"] == arm]
        comparable = _comparable(frame, arm)
        row = {"arm": arm, "done": int((own["state"] == DONE).sum()), "planned": len(own), "comparable": comparable}
        for metric in metrics:
            scores = scores_by_seed(frame, arm, metric)
            difference = paired_differences(scores, scores_by_seed(frame, BASELINE, metric))
            has_delta = comparable and arm != BASELINE
            row[metric] = scores.mean()
            row[f"{metric} sd"] = scores.std(ddof=1)
            row[f"{metric} delta"] = difference.mean() if has_delta else math.nan
        rows.append(row)
    columns = [name for metric in metrics for name in (metric, f"{metric} sd", f"{metric} delta")]
    return pd.DataFrame(rows, columns=["arm", "done", "planned", "comparable", *columns])


def to_rich(table: pd.DataFrame, title: str = "") -> Table:
    """The summary for the terminal."""
    header, rows = _cells(table)
    shown = Table(title=escape(title) or None, caption=_note(table) or None)
    for name in header:
        shown.add_column(escape(name), justify="left" if name == "arm" else "right")
    for row in rows:
        shown.add_row(*map(escape, row))
    return shown


def to_markdown(table: pd.DataFrame) -> str:
    """The summary as a Markdown table with aligned columns."""
    header, rows = _cells(table)
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
    text = "\n".join(f"| {' | '.join(line)} |" for line in padded)
    return f"{text}\n\n{_note(table)}\n" if _note(table) else f"{text}\n"


def to_latex(table: pd.DataFrame) -> str:
    """The summary as a LaTeX tabular; it needs the package booktabs."""
    header, rows = _cells(table)
    lines = [" & ".join(map(_latex, line)) + r" \\" for line in (header, *rows)]
    body = [lines[0], r"\midrule", *lines[1:]]
    columns = "l" + "r" * (len(header) - 1)
    text = "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"])
    return f"{text}\n% {_note(table)}\n" if _note(table) else f"{text}\n"


def to_csv(table: pd.DataFrame) -> str:
    """The numbers of the summary in full precision."""
    return table.to_csv(index=False)


def with_spread(mean: float, sd: float) -> str:
    """`mean ± sd`, the spread to two significant digits and the mean to the same place."""
    if math.isnan(mean):
        return NOTHING
    if math.isnan(sd):
        return f"{mean:.4g}"
    decimals = 3 if sd == 0 else min(12, max(0, 1 - math.floor(math.log10(sd))))
    return f"{mean:.{decimals}f} ± {sd:.{decimals}f}"


def _cells(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    metrics = [name.removesuffix(" sd") for name in table.columns if name.endswith(" sd")]
    header = ["arm", "seeds", *(name for metric in metrics for name in (metric, "Δ baseline"))]
    rows = []
    for row in table.to_dict("records"):
        cells = [row["arm"] + ("" if row["comparable"] else " †"), f"{row['done']}/{row['planned']}"]
        for metric in metrics:
            delta = row[f"{metric} delta"]
            cells += [with_spread(row[metric], row[f"{metric} sd"]), NOTHING if math.isnan(delta) else f"{delta:+#.3g}"]
        rows.append(cells)
    return header, rows


def _comparable(frame: pd.DataFrame, arm: str) -> bool:
    try:
        refuse_mixed(frame, [BASELINE, arm])
    except RunError:
        return False
    return True


def _note(table: pd.DataFrame) -> str:
    return "" if table["comparable"].all() else f"† {NOT_COMPARABLE}"


def _latex(text: str) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in text)
    for symbol, command in {"±": r"$\pm$", "Δ": r"$\Delta$", "†": r"$\dagger$", NOTHING: "--"}.items():
        escaped = escaped.replace(symbol, command)
    return escaped
