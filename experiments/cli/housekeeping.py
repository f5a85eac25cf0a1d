"""Verbs about a runs folder and a machine: list, prune, doctor."""

import json
import sys
from pathlib import Path

import click

from experiments.cli.options import RUNS, verb
from registry.errors import SpecError
from registry.runs.command import command


@click.command("list")
@RUNS
@verb(on_experiment=False, formats=True)
def list_runs(runs: Path, form: str) -> None:
    """Experiments and trainings of a runs folder, with size, age, and who refers to them; writes nothing."""
    from experiments.cli import hints, inventory_view
    from experiments.plan import inventory

    experiments, trainings = inventory.experiments_in(runs), inventory.trainings_in(runs)
    if form == "json":
        return print(json.dumps({"experiments": experiments, "trainings": trainings}, indent=1))
    inventory_view.show_inventory(experiments, trainings)
    hints.next_command(command(), "prune", "--dry-run", *hints.runs_folder())


@click.command()
@RUNS
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
@verb(on_experiment=False, formats=True)
def prune(runs: Path, dry_run: bool, yes: bool, form: str) -> None:
    """Remove trainings, evaluations and frozen code that no experiment's folder leads to, after asking.

    An experiment refers to what its folder under the runs leads to; remove that folder, and its trainings can go.
    """
    from experiments.cli import inventory_view
    from experiments.cli.console import say
    from experiments.plan import inventory

    found = inventory.unreferenced(runs)
    if form == "json":
        rows = [{"path": str(one.path), "what": one.what, "bytes": one.size, "kept": one.kept} for one in found]
        print(json.dumps(rows, indent=1))
    else:
        inventory_view.show_unreferenced(found)
    if dry_run or not any(not one.kept for one in found):
        return
    if not yes and not sys.stdin.isatty():
        raise SpecError("prune removes folders for good: add --yes, or --dry-run to only look")
    if yes or click.confirm("Remove these for good?"):
        freed = inventory.prune(runs, found)
        say(f"{freed / 1e6:,.1f} MB freed") if form == "table" else None


@click.command()
@RUNS
@verb(on_experiment=False, formats=True)
def doctor(runs: Path, form: str) -> None:
    """What this machine has: packages, devices, decoders, Slurm, weights, room on disk."""
    from experiments.cli import doctor, hints

    found = doctor.checks(runs)
    if form == "json":
        return print(doctor.as_json(found))
    doctor.show(found)
    hints.next_command(command(), "launch", hints.quickstart())
