"""The command line: its verbs, in the order in which they are used."""

import os
from typing import Any

import click

from experiments.cli import (
    checkpoints,
    comparing,
    dashboard,
    declaring,
    housekeeping,
    launching,
    planning,
    results,
    sampling,
    scoring,
    searching,
    text,
    watching,
)
from registry.runs.machine import leave_garbage_at_the_end


class Verbs(click.Group):
    """Verbs in the order in which they are used, not in that of the alphabet; any terminal and any reader will do."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        from experiments.record import terminal

        leave_garbage_at_the_end()
        terminal.replace_what_cannot_be_shown()
        if any(name.endswith("_COMPLETE") for name in os.environ):
            from experiments.cli import completion  # noqa: F401 - it tells click how bash completes here
        with terminal.quiet_when_nobody_reads():
            return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """The version of the installed package, or that this is a checkout that was not installed."""
    from importlib import metadata

    if wanted:
        try:
            click.echo(f"latte-workbench, version {metadata.version('latte-workbench')}")
        except metadata.PackageNotFoundError:
            click.echo("latte-workbench, version unknown (not installed; `make env` installs it)")
        context.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def app() -> None:
    """Ablations of latent video diffusion transformers: declare, launch, score, and get a verdict.

    Start with `parts`, then `check` and `plan` an experiment file, `launch` it, and read its `verdict`.
    Every verb with FILE takes overrides such as `learning.steps=100` or `seeds=[0,1]`.
    """


VERBS: tuple[click.Command, ...] = (
    declaring.parts,
    declaring.keys,
    planning.check,
    planning.plan,
    launching.prepare,
    launching.launch,
    launching.retry,
    searching.search,
    results.report,
    watching.status,
    watching.logs,
    launching.cancel,
    results.sync,
    dashboard.dashboard,
    results.table,
    results.verdict,
    comparing.compare,
    declaring.show,
    comparing.diff,
    sampling.sample,
    scoring.score,
    scoring.protocol,
    scoring.fetch_weights,
    checkpoints.checkpoint,
    text.sample_text,
    housekeeping.list_runs,
    housekeeping.prune,
    housekeeping.doctor,
)
for one in VERBS:
    app.add_command(one)


if __name__ == "__main__":
    app()
