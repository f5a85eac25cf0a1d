"""Verbs before anything runs: check, plan."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.options import MEASURE, verb
from registry.errors import SpecError

if TYPE_CHECKING:
    from experiments.plan.plan import Plan
    from registry.schema.resources import Shape


@click.command()
@verb(several=True, formats=True, assembles=True, untuned=True)
def check(plans: "list[Plan]", form: str) -> None:
    """Validate experiments and assemble every arm without memory; everything wrong is told in one go."""
    from experiments.cli import hints
    from experiments.cli.console import say
    from experiments.plan.check import check as check_plan

    rows, wrong = [], []
    for found in plans:
        try:
            rows += check_plan(found)
        except SpecError as error:
            wrong += error.problems
    if wrong:
        raise SpecError(wrong)
    if form == "json":
        print(json.dumps({"experiment": one_name(plans), "arms": rows}, indent=1))
        return warn(plans, apart=True)
    for row in rows:
        whose = f"{row['experiment']}: " if len(plans) > 1 else ""
        say(f"{whose}{row['arm']}: {row['parameters']:,} parameters, identity {row['identity'] or 'after tuning'}")
    warn(plans)
    hints.next_command(*hints.again("plan"))


@click.command()
@click.option(
    "--programme", is_flag=True, help="Also what all of it costs on 8 and 64 H100s, the official way and ours."
)
@MEASURE
@verb(several=True, formats=True, assembles=True, untuned=True)
def plan(plans: "list[Plan]", measure: bool, programme: bool, form: str) -> None:
    """Show arms, trainings that they share, parameters, MACs, a step's memory, states and GPU-hours; writes nothing.

    With several files one total of all of them, each training counted once.
    """
    from experiments.cli import hints, plan_view
    from experiments.cli.progress import Bars
    from experiments.plan import fitting, until_decided
    from experiments.plan import rows as planned

    with Bars(apart=form == "json") as bars:
        rows = arm_rows(plans, measure, bars.show)
    memory = {found.name: fitting.memories(found) for found in plans}
    for row in rows:
        row["step_memory"] = memory[row["experiment"]][row["arm"]]
    trainings = planned.trainings(plans, rows)
    total = planned.totals(rows, trainings)
    if form == "json":
        told: dict[str, Any] = {"experiment": one_name(plans), "arms": rows, "trainings": trainings, "gpu_hours": total}
        designed = [found for found in plans if found.file.experiment.until_decided]
        if designed:
            told["until_decided"] = {found.name: until_decided.expected(found, rows) for found in designed}
        if programme:
            told["programme"] = plan_view.programme_rows(plans)
        print(json.dumps(told, indent=1))
        return warn(plans, apart=True)
    for found in plans:
        plan_view.plan_table(found, [row for row in rows if row["experiment"] == found.name])
        warn([found])
    plan_view.plan_totals(plans, rows, trainings, total)
    if programme:
        plan_view.programme_table(plans)
    hints.next_command(*hints.again("launch"))


def one_name(plans: "list[Plan]") -> str | None:
    """Return the name of the only experiment, None where there are several."""
    return plans[0].name if len(plans) == 1 else None


def warn(plans: "Sequence[Plan]", apart: bool = False, here: bool = False) -> None:
    """Say what is doubtful about experiments.

    Args:
        plans: of the experiments.
        apart: on standard error, because standard output is for a machine.
        here: their replicates are to run on this machine.
    """
    from experiments.cli.console import complain, say
    from experiments.plan.warnings import warnings

    lines = [line for found in plans for line in warnings(found, here)]
    if apart:
        return complain(lines)
    for line in lines:
        say(line)


def arm_rows(
    plans: "list[Plan]",
    measure: bool,
    progress: Callable[[str, int, int], None],
    defaults: "Shape | None" = None,
    again: bool = False,
) -> list[dict[str, Any]]:
    """Return the rows of all plans' arms, with what is still to come counted once."""
    from experiments.plan import rows as planned

    rows: list[dict[str, Any]] = []
    trainings: dict[Path, float] = {}  # the GPU-hours of each that are counted
    for found in plans:
        paces = planned.paces(found, progress) if measure else None
        rows += planned.rows(found, paces, defaults, trainings, again)
    return rows
