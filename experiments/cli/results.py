"""Verbs about what came out: report, sync, table, verdict."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.cli.options import FOLDER, ONLY, OVERRIDES, RUNS, verb
from registry.errors import RunError, SpecError

if TYPE_CHECKING:
    from analysis.figures.pictures import Form
    from experiments.launch.report import Report
    from experiments.plan.plan import Plan


def _reason(context: click.Context, option: click.Parameter, value: str | None) -> str:
    if value is not None and not value.strip():
        raise click.BadParameter("say why the difference in code is harmless.", context, option)
    return (value or "").strip()


FORMS = ["table", "json", "md", "tex", "csv", "html"]  # of a table of scores
MIXED_CODE = click.option(
    "--mixed-code", "harmless", metavar="REASON", callback=_reason,
    help="Judge arms that were made by different code as well: REASON says why that is harmless, and is printed.",
)  # fmt: skip


@click.command()
@click.option("--overridden", is_flag=True, hidden=True)  # for the report of a launch: its file has overrides worked in
@MIXED_CODE
@click.option(
    "--figures",
    "forms",
    multiple=True,
    type=click.Choice(["pdf", "svg"]),
    help="Draw the figures for a paper as well: as wide as a column, with their fonts in the file.",
)
@verb()
def report(found: "Plan", overridden: bool, harmless: str, forms: "tuple[Form, ...]") -> None:
    """Write a page, figures, the table and the verdict as files, fill MLflow, and measure the floor of resampling."""
    from experiments.cli import hints
    from experiments.cli.progress import Bars
    from experiments.launch.report import report as report_plan

    with Bars() as bars:
        written = report_plan(found, bars.show, overridden=overridden or None, harmless=harmless, forms=forms)
    show_report(written)
    print_verdict(found, "table", harmless)
    hints.next_command(*hints.again("table"))


@click.command()
@click.option(
    "--tracking-uri", help="MLflow server or store; left out: $MLFLOW_TRACKING_URI, else sqlite in the runs folder."
)
@verb(formats=True)
def sync(found: "Plan", tracking_uri: str | None, form: str) -> None:
    """Fill MLflow from the run folders; again adds nothing."""
    from analysis.results.mlflow_names import without_secrets
    from experiments.cli import hints
    from experiments.cli.console import say
    from experiments.cli.progress import Bars
    from experiments.tracking import mlflow_sync, store

    uri = tracking_uri or store.default_uri(found.runs)
    with Bars(apart=form == "json") as bars:
        told = mlflow_sync.sync(found.name, found.with_trials, uri, waiting=lambda who: bars.line(f"waits for {who}"))
    server = uri if store.is_server(uri) else f"http://localhost:{store.PORT}"
    page = without_secrets(mlflow_sync.address_of(found.name, server, uri)) if told["runs"] else ""
    shown_uri = without_secrets(uri)
    if form == "json":
        about = {"experiment": found.name, "tracking_uri": shown_uri, "address": page}
        return print(json.dumps({**about, **told}, indent=1))
    say(f"{shown_uri}: {told['runs']} runs, {told['points']} metric points added")
    if not store.is_server(uri):
        given = ["--tracking-uri", shown_uri] if tracking_uri else []
        hints.next_command(*hints.again("dashboard", selects=False), *given)
    if page:
        say(page if store.is_server(uri) else f"which shows {page}")


@click.command()
@click.option("--metric", "metrics", multiple=True, help="Only these scores; left out: all but the noise bands.")
@click.option("--format", "form", type=click.Choice(FORMS), default="table", help="How to print.")
@click.option("--at-step", "step", type=click.IntRange(1), help="The evaluations at this step (see `evaluate_at`).")
@verb()
def table(found: "Plan", metrics: tuple[str, ...], form: str, step: int | None) -> None:
    """Scores by arm: mean, spread over seeds, difference to the baseline; the best is marked, and what is near it.

    The forms for files also name the runs behind the numbers, and their commit: md, tex and html in a comment, csv and
    json as values.
    """
    from analysis.results.tunings import tuning_lines
    from analysis.tables import rendering
    from experiments.cli import console, hints
    from experiments.plan import reading

    floors = reading.floors_of(found)
    frame = reading.frame_of(found, step, selected=True)
    directions = reading.directions_of(found)
    notes = [*tuning_lines(found.chosen), *reading.meanings_of(found), *reading.ranks_of(found, frame)]
    console.put(rendering.scores_table(frame, metrics, form, found.name, floors, directions, notes))
    if form == "table" and not found.stage:
        hints.next_command(*hints.again("verdict"))


@click.command()
@click.option("--paper", is_flag=True, help="All claims of the paper, and what the runs folder has to say on each.")
@MIXED_CODE
@click.option("--format", "form", type=click.Choice(["table", "json", "md"]), default="table", help="How to print.")
@click.argument("file", type=FOLDER, required=False)
@OVERRIDES
@RUNS
@ONLY
@verb(on_experiment=False)
def verdict(file: Path | None, runs: Path, paper: bool, harmless: str, form: str, **chosen: tuple[str, ...]) -> None:
    """Answer the experiment's claims: supported, contradicted, or undecided; a look at data that grew is written down.

    Arms that were made by different code get no verdict, unless --mixed-code says why it does not matter. With --paper
    in place of FILE, the claims of the paper's ablations, by whichever experiments of the runs folder test them.
    """
    from experiments.plan.loading import load_plan
    from experiments.plan.tuning import refuse_untuned

    if paper and (file or harmless or any(chosen.values())):
        raise SpecError("--paper goes without FILE, overrides, --only and --mixed-code: it reads all of --runs")
    if paper:
        return print_scoreboard(runs, form)
    if file is None:
        raise SpecError("name an experiment file, or --paper for the claims of the paper")
    if form == "md":
        raise SpecError("--format md goes with --paper; the report of an experiment has its verdict in HTML and text")
    found = load_plan(file, chosen["overrides"], runs, chosen["only"])
    refuse_untuned(found)
    print_verdict(found, form, harmless, refuses=True)


def print_scoreboard(runs: Path, form: str) -> None:
    """Print the paper's claims beside what was run."""
    from analysis.paper.claims import paper_claims
    from analysis.paper.scoreboard import rendered, scoreboard
    from experiments.cli import console

    rows, problems = scoreboard(paper_claims(), runs)
    console.put(rendered(rows, form))
    console.complain(problems)


def print_verdict(found: "Plan", form: str, harmless: str = "", refuses: bool = False) -> None:
    """Print the answers to the claims about selected arms alone, and how many there are beside them.

    Raises:
        RunError: an answer is refused, where that is an error.
    """
    from analysis.tables import rendering
    from analysis.verdicts import judging
    from experiments.cli import console
    from experiments.plan import reading

    answers = reading.answers_of(found, selected=True, harmless=harmless)
    left_out = len(found.claims) - len(answers)
    if form == "json" or answers or not left_out:
        console.put(rendering.verdicts_table(found.name, answers, form, tuned=found.chosen))
    if form == "table" and left_out:
        print(f"{found.name}: --only leaves out arms of {left_out} claim{'' if left_out == 1 else 's'}")
    if harmless and form == "table" and not any(answer.mixed_code for answer in answers):
        console.say(f"{found.name}: one code made all of these arms; --mixed-code is not needed")
    if refuses and (why := judging.refusal(answers)):
        raise RunError(why)


def show_report(written: "Report") -> None:
    """Print what was written, and what could not be done."""
    from experiments.cli.console import say

    for line in (*written.notes, *(f"wrote {path}" for path in written.written)):
        say(line)
    if written.page:
        from analysis.results.mlflow_names import without_secrets

        say(f"MLflow: {without_secrets(written.page)}")
