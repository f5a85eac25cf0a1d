"""An experiment's report as one HTML page that needs nothing else: no network, no other file."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from analysis.figures.inline_svg import inline_svg
from analysis.figures.report_figures import Results, drawings
from analysis.report import page_facts
from analysis.report.page_videos import videos_of
from analysis.report.score_summary import score_summary
from analysis.results.results_frame import done
from analysis.results.tunings import tuning_lines
from analysis.tables import score_table
from analysis.verdicts.agreement import agreements
from registry.errors import RunError
from registry.runs.resolved_experiment import ResolvedExperiment

NAME = "report.html"
WIDTH = 4.4  # inches, of a figure: its letters are read on a phone
MOST_BYTES = 8 * 2**20  # of all figures together


@dataclass(frozen=True)
class PageData:
    """What a page is made of.

    Args:
        about: what the report is of.
        results: what it says.
    """

    about: ResolvedExperiment
    results: Results


@dataclass(frozen=True)
class PageFigure:
    """A figure of a page.

    Args:
        title: above it, and what a screen reader says of it.
        svg: the element, its colours those of the page.
    """

    title: str
    svg: Markup


def report_page(data: PageData) -> str:
    """Return the page. What comes from a file is escaped; what cannot be drawn yet is left out."""
    results = data.results
    frame, answers = results.frame, results.answers
    figures, notes = _figures(results)
    agreed = agreements(answers)
    script = _file("report.js")
    page: str = (
        _environment()
        .get_template("report.html.j2")
        .render(
            about=data.about,
            answers=[page_facts.answer_facts(answer, agreed) for answer in answers],
            by_matching=page_facts.by_matching(answers),
            figures=figures,
            notes=notes,
            table_of_scores=Markup(score_table.to_html(score_summary(data.about, results))),
            videos=videos_of(results.shown_frame, shown=results.shown.note),
            tuned=page_facts.tuned(data.about),
            tuning_lines=tuning_lines(data.about.tuned),
            costs=page_facts.costs(data.about, frame),
            protocols=page_facts.protocols(frame),
            provenance=page_facts.provenance(frame),
            replicates=page_facts.replicates(frame),
            undecided=page_facts.undecided(answers, frame),
            done=len(done(frame)),
            planned=len(frame),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),  # no other script may run
            style=Markup(_file("report.css")),
        )
    )
    return page


def _figures(results: Results) -> tuple[dict[str, list[PageFigure]], list[str]]:
    """The figures by kind, until they fill the page, and a line for each that there is no room for."""
    drawn: dict[str, list[PageFigure]] = {"effects": [], "scores": [], "steps": [], "curves": []}
    notes: list[str] = []
    room = MOST_BYTES
    for number, drawing in enumerate(drawings(results)):
        svg = _svg(partial(drawing.draw, width=WIDTH), drawing.title, f"figure{number}")
        if len(svg) > room:
            notes.append(f"{drawing.title}: would make this page too large; the picture lies in figures beside it")
        elif svg:
            drawn[drawing.kind].append(PageFigure(drawing.title, Markup(svg)))
            room -= len(svg)
    return drawn, notes


def _svg(figure: Callable[[], Figure], title: str, name: str) -> str:
    """A figure as it stands in the page; empty where it cannot be drawn yet."""
    try:
        return inline_svg(figure(), title, name)
    except RunError:
        return ""


@cache
def _environment() -> Environment:
    loader = PackageLoader("analysis.report")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@cache
def _file(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
