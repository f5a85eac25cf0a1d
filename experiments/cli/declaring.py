"""Verbs about what may be declared and what a file comes to: parts, keys, show."""

import json
from typing import TYPE_CHECKING

import click

from experiments.cli.options import PLUGINS, completed, verb
from registry.runs.command import command

if TYPE_CHECKING:
    from experiments.plan.plan import Plan


@click.command()
@click.option("--slot", shell_complete=completed("slots"), help="Only the parts of this slot.")
@PLUGINS
@verb(on_experiment=False, formats=True)
def parts(slot: str | None, plugins: tuple[str, ...], form: str) -> None:
    """List every part of the registry, with its parameters and where it comes from."""
    from experiments.cli import hints, parts_list

    rows = parts_list.rows(slot, plugins)
    print(json.dumps(rows, indent=1)) if form == "json" else parts_list.show(rows)
    hints.next_command(command(), "check", hints.quickstart()) if form == "table" else None


@click.command()
@click.argument("section", required=False, shell_complete=completed("sections"))
@PLUGINS
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "md"]), default="table", help="How to print; md: the page."
)
@verb(on_experiment=False)
def keys(section: str | None, plugins: tuple[str, ...], form: str) -> None:
    """List every key of an experiment file with type, default and meaning: all, of a SECTION, or one."""
    from experiments.cli import hints, keys_list

    found = keys_list.rows(section, plugins)
    if form == "table":
        keys_list.show(found)
        hints.next_command(command(), "parts")
    else:
        print(keys_list.as_json(found) if form == "json" else keys_list.as_markdown(found), end="")


@click.command()
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="How to print.")
@verb()
def show(found: "Plan", form: str) -> None:
    """The resolved spec of each arm (see --only): every choice named, every default written out."""
    from experiments.plan.resolved_specs import specs_text

    print(specs_text(found, form), end="")
