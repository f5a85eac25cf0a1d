"""The verb that searches over keys of a spec."""

import json
from typing import TYPE_CHECKING

import click

from experiments.cli.options import EXECUTOR, verb

if TYPE_CHECKING:
    from experiments.plan.plan import Plan
    from experiments.search.study import Study


@click.command()
@EXECUTOR
@click.option("--show", is_flag=True, help="Only show what was found so far; nothing is run or written.")
@verb(formats=True, selects=False, assembles=True)
def search(found: "Plan", executor: str, show: bool, form: str) -> None:
    """Search over keys of the spec as the file's `search` says; killed and started again, it goes on.

    On Slurm this process only submits and watches: it may run on the login node or in a job, and be killed.
    """
    from analysis.figures import searches
    from experiments.cli import hints, search_view
    from experiments.cli.console import say
    from experiments.search import results

    study = results.read(found) if show else _searched(found, executor, apart=form == "json")
    told = results.summary(found, study)
    drawn = [] if show else searches.draw(**results.for_figures(found, told))
    if form == "json":
        return print(json.dumps(told, indent=1))
    search_view.show_search(told)
    for path in drawn:
        say(f"wrote {path}")
    hints.next_command(*hints.again("search"), *([] if show else ["--show"]))


def _searched(found: "Plan", executor: str, apart: bool) -> "Study":
    from experiments.cli.progress import Bars
    from experiments.launch.executors import EXECUTORS
    from experiments.search.searching import run_search
    from experiments.search.workflow import WATCHING
    from experiments.tracking import mlflow_sync

    with Bars(apart) as bars:
        if EXECUTORS[executor].detached:
            bars.line(WATCHING)
        study, _ = run_search(found, executor, bars.show, bars.watch, bars.line)
    tracked = found.name, found.with_trials, found.runs
    if untracked := mlflow_sync.try_sync(*tracked, lambda what, done, total: bars.line(what)):
        bars.line(f"not tracked yet: {untracked}; the same command does it later, nothing is lost")
    return study
