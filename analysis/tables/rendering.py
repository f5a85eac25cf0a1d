"""Tables and verdicts as text: for the terminal, Markdown, LaTeX, CSV, HTML and JSON."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

import pandas as pd

from analysis.results.floors import Floors
from analysis.results.mixed_code import lines as lines_of_code
from analysis.results.results_frame import score_names, shown_scores
from analysis.results.table_runs import runs_of
from analysis.results.tunings import tuning_lines
from analysis.tables import score_table, terminal
from analysis.verdicts.agreement import agreements
from analysis.verdicts.matchings import side_by_side
from analysis.verdicts.verdict import Verdict
from registry.errors import SpecError, did_you_mean
from registry.experiment.claims import Direction
from registry.runs.tunings import TunedArm

WRITERS: dict[str, Callable[[score_table.Summary], str]] = {
    "md": score_table.to_markdown,
    "tex": score_table.to_latex,
    "csv": score_table.to_csv,
    "html": score_table.to_html,
}
COLUMNS = ("metric", "verdict", "effect", "95 % interval", "in floors", "n", "p (Holm)")  # behind the claim
EFFECTS = {
    "order": "effect of an order: mean paired difference; positive supports the claim",
    "equivalence": "effect of an equivalence: mean paired difference, the second less the first; small supports it",
    "trend": "effect of a trend: mean improvement per step, by each seed's slope; its p is that of the least sure step",
    "holds_over": "effect of an order over an axis: mean over its values; p is that of the least sure value",
    "interaction": "effect of an interaction: how much greater the effect is at the second value than at the first",
    "change": "effect of a change: how much greater the effect is at the last step than at the first",
}


def scores_table(
    frame: pd.DataFrame,
    metrics: Sequence[str],
    form: str,
    title: str = "",
    floors: Floors = (),
    directions: Mapping[str, Direction] = MappingProxyType({}),
    notes: Sequence[str] = (),
) -> str:
    """The scores by arm in a form: table, json, md, tex, csv or html.

    Args:
        frame: as `analysis.results.results_frame.load` gives it.
        metrics: names of scores; none means all but those of single noise bands.
        form: how to write them.
        title: the experiment's name.
        floors: the records of floors.json.
        directions: score -> which way it is better; the best arm by it is marked.
        notes: lines to be told with the table's own.

    Raises:
        SpecError: no such score.
        RunError: a score was measured on different data or by different protocols.
    """
    names = score_names(frame)
    for metric in metrics:
        if metric not in names:
            raise SpecError(f"no score {metric!r}; {did_you_mean(metric, names)}")
    table = score_table.summary(frame, list(metrics) or shown_scores(frame), floors, directions)
    table = replace(table, notes=(*table.notes, *notes))
    if form != "table":
        table = replace(table, runs=tuple(runs_of(frame)))
    if form == "json":
        return json.dumps({"experiment": title, **_as_json(table)}, indent=1)
    if form in WRITERS:
        return WRITERS[form](table)
    return score_table.to_text(table, terminal.columns_here(), title)


def _as_json(table: score_table.Summary) -> dict[str, object]:
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
        "runs": [asdict(own) for own in table.runs],
    }


def verdicts_table(
    experiment: str,
    answers: Sequence[Verdict],
    form: str,
    width: int | None = None,
    tuned: Mapping[str, TunedArm] = MappingProxyType({}),
) -> str:
    """The verdicts as JSON, or as a table with the reason of each below it; stacked where the table is too wide.

    Args:
        experiment: its name.
        answers: to its claims.
        form: `json` or `table`.
        width: columns of the table; None asks the terminal.
        tuned: arm -> what its tuning has chosen; told below.
    """
    if form == "json":
        found = {"experiment": experiment, "claims": [answer.as_json() for answer in answers]}
        more: dict[str, Any] = {
            "agreements": [agreement.as_json() for agreement in agreements(answers)],
            "side_by_side": [together.as_json() for together in side_by_side(answers)],
            "tuned": {arm: one.model_dump(mode="json") for arm, one in tuned.items()},
        }
        return json.dumps(found | {name: own for name, own in more.items() if own}, indent=1)
    width = width or terminal.columns_here()
    if not answers:
        told = f"{experiment}: makes no claim; add `claim: {{axis: …, better: …, worse: …}}` to the experiment"
        return terminal.wrapped(told, width)
    title, header = f"{experiment}: verdict", ["claim", *COLUMNS]
    rows = [[f"{answer.claim.text} ({answer.claim.axis})", *cells(answer)] for answer in answers]
    shown = terminal.fitting(header, rows, width, title=title, look=terminal.Look(boxed=True))
    reasons = [f"{name}: {one.verdict}: {one.reason}" for name, one in zip(_named(answers), answers, strict=True)]
    together = [f"{found.answers[0].claim.text}: {found.text}" for found in agreements(answers)]
    together += [f"{found.claim.text} in {found.claim.metric}: {found.text}" for found in side_by_side(answers)]
    warnings = list(dict.fromkeys(warning for answer in answers for warning in (*answer.warnings, *_mixed(answer))))
    warnings += tuning_lines(tuned)
    if len(shown) == 1:
        lines = [terminal.as_text(shown), *_legend(answers, width)]
        return "\n".join([*lines, *(terminal.wrapped(line, width) for line in (*reasons, *together, *warnings))])
    lines = [title]
    for row, answer in zip(rows, answers, strict=True):
        lines += ["", terminal.wrapped(row[0], width)]
        lines += terminal.pairs([(f"{name}:", cell) for name, cell in zip(COLUMNS, row[1:], strict=True)], width)
        lines.append(f"  {terminal.wrapped(f'why: {answer.reason}', width - 2, '    ')}")
    below = [terminal.wrapped(line, width) for line in (*together, *warnings)]
    return "\n".join([*lines, "", *_legend(answers, width), *below])


def _named(answers: Sequence[Verdict]) -> list[str]:
    """The claims in words, each with its score where the same is claimed in several."""
    claims = [answer.claim for answer in answers]
    claimed = Counter(claim.text for claim in claims)
    return [f"{claim.text} in {claim.metric}" if claimed[claim.text] > 1 else claim.text for claim in claims]


def cells(answer: Verdict) -> list[str]:
    """Return what stands in the columns behind the claim."""
    return [
        answer.claim.metric,
        answer.verdict,
        _number(answer.effect, "+.3g"),
        f"{answer.interval[0]:.3g} to {answer.interval[1]:.3g}" if answer.interval else score_table.NOTHING,
        _number(answer.effect_in_floors, "+.2g"),
        str(answer.n),
        _number(answer.p, ".2g"),
    ]


def _mixed(answer: Verdict) -> list[str]:
    """Say what of the code is mixed, and why the claim was judged all the same; a refusal says it by itself."""
    if not answer.mixed_code or not answer.harmless:
        return []
    return [*lines_of_code(answer.mixed_code), f"judged all the same, because: {answer.harmless}"]


def _legend(answers: Sequence[Verdict], width: int) -> list[str]:
    """What the columns mean, and the protocol of each metric."""
    told = [EFFECTS[kind] for kind in dict.fromkeys(answer.claim.kind for answer in answers)]
    if any(answer.effect_in_floors is not None for answer in answers):
        told.append("in floors: the effect divided by the mean score of real halves against each other")
    measured = {answer.claim.metric: answer.protocol for answer in answers if answer.protocol is not None}
    told += [f"{metric}: protocol {protocol}" for metric, protocol in measured.items()]
    return [terminal.wrapped(line, width) for line in told]


def _number(value: float | None, form: str) -> str:
    return score_table.NOTHING if value is None else format(value, form)
