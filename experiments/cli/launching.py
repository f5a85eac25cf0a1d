"""Verbs that start work and end it: prepare, launch, retry, cancel."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.options import EXECUTOR, FOLDERS, MEASURE, Finite, verb
from experiments.cli.planning import arm_rows, warn
from experiments.cli.results import print_verdict, show_report
from registry.errors import RunError, SpecError

if TYPE_CHECKING:
    from experiments.plan.plan import Plan
    from experiments.search.workflow import Outcome


DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Show what would run (slurm: the batch scripts); writes nothing."
)


WAIT = click.option("--wait", is_flag=True, help="slurm: return when nothing waits or runs any more.")


MOST = click.option(
    "--max-gpu-hours", type=Finite(0), metavar="H", help="Refuse to launch what `plan` says costs more."
)


@click.command()
@FOLDERS
@verb(assembles=True)
def prepare(found: "Plan") -> None:
    """Index the videos, fill the latent cache, and measure the reference statistics."""
    from experiments.cli import hints
    from experiments.cli.console import say
    from experiments.cli.progress import Bars
    from experiments.launch import preparing
    from experiments.plan import videos

    with Bars() as bars:
        prepared = preparing.prepare_data(found, bars.show)
    preparing.bind_replicates(found, prepared)
    for line in [*preparing.describe_data(prepared), *videos.lines(found, videos.usable_videos(found))]:
        say(line)
    if not found.folders:
        hints.next_command(*hints.again("launch"))


@click.command()
@EXECUTOR
@click.option(
    "--again", is_flag=True, help="Make anew what other code than the present has made; what is there is set aside."
)
@DRY_RUN
@WAIT
@MOST
@MEASURE
@verb(several=True, assembles=True, untuned=True)
def launch(plans: "list[Plan]", again: bool, **how: Any) -> None:
    """Run every replicate that is not done; the same command again resumes, and skips what is finished.

    With a `screen` in the file only the best arms run to their end; with `seeds: {first: 3, most: 12}` seeds are added
    until the claims are decided. This process watches until then, on Slurm as well, and can be killed: the same command
    goes on. What arms start from by `experiment` is trained first, and so are the short trainings of `tune`; this
    process waits for them.
    """
    from experiments.cli.console import say
    from experiments.launch import making_anew
    from experiments.launch.tuning import settled
    from experiments.plan.tuning import waiting_text
    from experiments.search import workflow

    _within_budget(plans, how["executor"], how.pop("max_gpu_hours"), how.pop("measure"), again)
    failed: list[str] = []
    for planned in plans:  # one behind the other; what one has trained, the next finds done
        found = planned
        try:
            if how["dry_run"] and found.untuned:
                say(waiting_text(found))
                continue
            found = settled(found)
            for line in making_anew.set_aside(found) if again and not how["dry_run"] else ():
                say(line)
            waits = how["wait"] or bool(found.comes_first)  # what comes behind it is launched when it has ended
            _start(found, workflow.launch, again=again, **{**how, "wait": waits})
        except RunError as error:
            if len(plans) == 1:
                raise
            if found.comes_first:  # what is behind it cannot start
                verbs = f"; with --{found.stage} verbs are about it" if found.stage else ""
                raise RunError("\n".join([*failed, f"{found.name} ({found.comes_first}{verbs}): {error}"])) from None
            failed.append(f"{found.name}: {error}")
    if failed:
        raise RunError("\n".join(failed))


@click.command()
@EXECUTOR
@DRY_RUN
@WAIT
@MOST
@MEASURE
@verb(assembles=True)
def retry(found: "Plan", dry_run: bool, **how: Any) -> None:
    """Launch again with the failed and cancelled replicates; they go on from their last checkpoint."""
    from experiments.cli.console import say
    from experiments.launch import launching
    from experiments.search import workflow

    _within_budget([found], how["executor"], how.pop("max_gpu_hours"), how.pop("measure"))
    if dry_run:
        say(f"{len(launching.retried(found))} failed or cancelled replicates would be tried again")
    _start(found, workflow.retry, dry_run=dry_run, **how)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be cancelled.")
@FOLDERS
@verb()
def cancel(found: "Plan", dry_run: bool) -> None:
    """End the replicates that wait or run (pick arms by --only), wherever they do; `retry` goes on with them."""
    from experiments.cli import hints
    from experiments.cli.console import say
    from experiments.launch import launching

    ended = launching.cancel(found, dry_run)
    for replicate in ended:
        say(f"{'would cancel' if dry_run else 'cancelled'} {replicate.name}")
    say(f"{len(ended)} replicates")
    searched = found.folders and found.file.experiment.search is not None
    hints.next_command(*([*hints.again("search"), "--show"] if searched else hints.again("status")))


def _within_budget(plans: "list[Plan]", executor: str, most: float | None, measure: bool, again: bool = False) -> None:
    """Refuse plans that cost more than the most GPU-hours that were given."""
    from experiments.cli.progress import Bars
    from experiments.launch.executors import EXECUTORS
    from experiments.plan import costs

    if measure and most is None:
        raise SpecError(
            "--measure of a launch is for --max-gpu-hours, which is not given; `plan --measure` shows the cost"
        )
    if most is not None:
        defaults = EXECUTORS[executor].defaults()
        with Bars() as bars:
            rows = arm_rows(plans, measure, bars.show, defaults, again)
        experiments = [found.file.experiment for found in plans]
        costs.refuse_above(rows, most, any(own.screen or own.until_decided for own in experiments))


def _start(
    found: "Plan", start: "Callable[..., Outcome]", executor: str, dry_run: bool, wait: bool, again: bool = False
) -> None:
    """Launch or retry, and print what came of it."""
    from experiments.cli import hints
    from experiments.cli.console import say
    from experiments.cli.progress import Bars
    from experiments.launch.executors import EXECUTORS
    from experiments.launch.launching import preview

    warn([found], here=not EXECUTORS[executor].detached)
    if dry_run:
        from experiments.search.scored_screening import next_of_screen

        for text in preview(next_of_screen(found), executor, again):
            say(text)
        return
    with Bars() as bars:
        outcome = start(found, executor, wait=wait, watcher=bars)
    launched = outcome.launched
    if outcome.waits:
        say(f"{len(launched.submitted)} of {len(launched.todo)} replicates were submitted now")
        return hints.next_command(*hints.again("status"), "--watch")
    if outcome.report is not None:
        show_report(outcome.report)
    print_verdict(found, "table")
    if outcome.report is not None and outcome.report.tracked and not outcome.report.page:
        hints.next_command(*hints.again("dashboard", found.file.path, selects=False))
    hints.next_command(*hints.again("logs" if outcome.unfinished else "table", found.file.path, stage=found.stage))
    if outcome.unfinished:
        raise RunError("\n".join(outcome.unfinished))
