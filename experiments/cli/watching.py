"""Verbs that look at what runs: status, logs."""

import json
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.options import verb
from experiments.cli.planning import one_name
from registry.errors import SpecError

if TYPE_CHECKING:
    from experiments.plan.plan import Plan


@click.command()
@click.option("--watch", is_flag=True, help="Again every few seconds, until nothing waits or runs.")
@verb(several=True, formats=True, untuned=True)
def status(plans: "list[Plan]", watch: bool, form: str) -> None:
    """How far every replicate is; read from its files and from Slurm's queue, nothing is written."""
    from experiments.cli import hints, status_view
    from experiments.plan import until_decided
    from experiments.plan.stages import TUNING
    from experiments.plan.status import mixed
    from experiments.plan.status import rows as rows_of
    from registry.runs.divergence import says_diverged
    from registry.runs.records import State

    found_rows, mixed_code = [], []
    for found in plans:
        rows = status_view.watch(found, apart=form == "json") if watch else rows_of(found)
        found_rows += [{"experiment": found.name, **row} for row in rows]
        mixed_code += [{"experiment": found.name, **one.as_json()} for one in mixed(rows)]
        if form == "table":
            status_view.show(found, rows)
    if form == "json":
        told: dict[str, Any] = {"experiment": one_name(plans), "replicates": found_rows, "mixed_code": mixed_code}
        decisions = {found.name: until_decided.decisions(found) for found in plans}
        if any(found.file.experiment.until_decided for found in plans):
            told["until_decided"] = decisions
        if any(found.chosen for found in plans):
            told["tuned"] = {
                found.name: {arm: one.model_dump(mode="json") for arm, one in found.chosen.items()} for found in plans
            }
        return print(json.dumps(told, indent=1))
    tunings = {found.name for found in plans if found.stage == TUNING}  # of which what diverged is an answer
    open_rows = [row for row in found_rows if row["experiment"] not in tunings or not says_diverged(row["error"] or "")]
    states = {row["state"] for row in open_rows} or {"done"}
    retried = {state.value for state in State if state.retried}
    following = "status" if states & {"queued", "running"} else "launch"
    following = "retry" if states & retried else following
    if states <= {"done", "stopped"} and not any(found.untuned for found in plans):
        following = "verdict" if not any(found.stage for found in plans) else "table"
    following = "launch" if following == "verdict" and any(map(until_decided.goes_on, plans)) else following
    about = {"retry": retried, "verdict": states}.get(following)  # states of the file that it takes
    concerned = {row["experiment"] for row in open_rows if about and row["state"] in about}
    file = next((found.file.path for found in plans if found.name in concerned), None)
    hints.next_command(*hints.again(following, file))


@click.command()
@click.option("--seed", type=int, help="Only this seed.")
@click.option("--lines", type=click.IntRange(0), default=20, show_default=True, help="So many last lines of each log.")
@click.option("--follow", is_flag=True, help="Go on printing as the logs grow, until nothing waits or runs.")
@verb(formats=True)
def logs(found: "Plan", seed: int | None, lines: int, follow: bool, form: str) -> None:
    """The last lines of each replicate's log (pick arms by --only), and the traceback of a failed one."""
    from experiments.cli import hints, status_view
    from experiments.plan import logs

    if follow and form == "json":
        raise SpecError("--follow prints as logs grow, --format json once: give one of the two")
    if form == "json":
        rows = logs.rows(found, seed, lines)
        return print(json.dumps({"experiment": found.name, "replicates": rows}, indent=1))
    status_view.follow(found, seed) if follow else status_view.show_logs(logs.rows(found, seed, lines))
    hints.next_command(*hints.again("status"))
