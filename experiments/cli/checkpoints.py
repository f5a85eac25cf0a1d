"""Verbs about weights in files: checkpoint show, export, import."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.options import FOLDER, PLUGINS, RUNS, completed, verb
from registry.errors import SpecError

if TYPE_CHECKING:
    from components.model.checkpoints import Assumed, Description

SOURCE = click.argument("source", type=FOLDER, metavar="FILE|RUN")
HEADS = click.option(
    "--heads", type=click.IntRange(1), help="Heads of each attention, where the file does not say and no rule does."
)
CLASSES = click.option(
    "--classes", type=click.IntRange(1), help="Classes; left out: the label table's rows but one, the null label."
)


@click.group()
def checkpoint() -> None:
    """Weights in files: what they are, and one layout from another.

    FILE is a .pt or .safetensors file of official Latte, of DiT, or of this workbench, or a folder of diffusers; RUN a
    training, an evaluation or a replicate of a runs folder. Only tensors are read: a file that would run code is
    refused.
    """


@checkpoint.command("show")
@SOURCE
@HEADS
@CLASSES
@PLUGINS
@verb(on_experiment=False, formats=True)
def show_checkpoint(source: Path, form: str, **options: Any) -> None:
    """Layout, network, weights and digest of FILE or RUN, and the layouts that can hold it."""
    from components.model.checkpoints import inspect, refusals, suffixes
    from experiments.cli import hints
    from experiments.cli.console import say, table
    from experiments.cli.progress import Bars
    from registry.runs.command import command

    found = inspect(source, _assumed(**options))
    with Bars(apart=form == "json") as bars:
        description = found.with_digest(bars.show).description
    rows, refused = description.rows(), refusals(description)
    if form == "json":
        return print(json.dumps({**rows, "layouts": refused}, indent=1))
    table(["", "found"], [[name.replace("_", " "), _text(value)] for name, value in rows.items()])
    for layout, reasons in refused.items():
        say(f"layout {layout}: {'; '.join(reasons) if reasons else 'can hold it'}")
    words = ["--layout", description.layout, "--out", f"exported{suffixes(description.layout)[0]}"]
    hints.next_command(command(), "checkpoint", "export", str(source), *_again(**options), *words)


@checkpoint.command("export")
@SOURCE
@click.option("--layout", required=True, help="Whose names the file has: `checkpoint show` says which can hold it.")
@click.option(
    "--out", required=True, type=FOLDER, metavar="FILE", help="A new file, .pt or .safetensors; a folder for diffusers."
)
@HEADS
@CLASSES
@PLUGINS
@verb(on_experiment=False, formats=True)
def export_checkpoint(source: Path, layout: str, out: Path, form: str, **options: Any) -> None:
    """Write FILE or RUN in another layout, or in its own: the same numbers bit for bit; nothing is overwritten.

    What a layout cannot hold is refused by name, but for heads and a label table without a null label: of these the
    file says nothing, and whoever reads it has to. Of a run both kinds of weights are written, averaged and raw.
    """
    from components.model.checkpoints import digest_of, export, inspect
    from experiments.cli import hints
    from experiments.cli.console import say
    from experiments.cli.progress import Bars
    from registry.runs.command import command

    with Bars(apart=form == "json") as bars:
        found = inspect(source, _assumed(**options)).verified(bars.show)
        file = export(found, layout, out)
        digest = digest_of(file, bars.show)
    needed = _needed(found.description, out, options["plugins"])
    if form == "json":
        told = {"path": str(out), "layout": layout, "bytes": file.stat().st_size, "sha256": digest, "read_with": needed}
        return print(json.dumps(told, indent=1))
    say(f"{out}: layout {layout}, weights {' and '.join(found.contents.weights)}, {file.stat().st_size:,} bytes")
    say(f"SHA-256 {digest}")
    if needed:
        say(f"the file does not say all of the network: read it with {' '.join(needed)}")
    hints.next_command(command(), "checkpoint", "show", str(out), *needed)


@checkpoint.command("import")
@click.argument("source", type=FOLDER, metavar="FILE")
@click.argument("overrides", nargs=-1, metavar="[KEY.PATH=VALUE]...", shell_complete=completed("overrides"))
@RUNS
@HEADS
@CLASSES
@PLUGINS
@verb(on_experiment=False, formats=True)
def import_checkpoint(source: Path, overrides: tuple[str, ...], runs: Path, form: str, **options: Any) -> None:
    """Make FILE a training of no steps in the runs folder, for `sample`, `score` and experiments.

    KEY=VALUE says what the file does not: `data.dataset=… diffusion.objective=…`. FILE stays where it is. Importing it
    again finds the training there.
    """
    from components.model.checkpoints import inspect
    from experiments.cli import hints
    from experiments.cli.console import put, say
    from experiments.cli.progress import Bars
    from experiments.launch import importing
    from registry import strict_yaml
    from registry.runs.command import command

    with Bars(apart=form == "json") as bars:
        found = inspect(source, _assumed(**options)).with_digest(bars.show)
        made = importing.import_checkpoint(found, runs, overrides)
    if form == "json":
        told = {"training": str(made.training), "there": made.there, "base": made.lines, **made.record.model_dump()}
        return print(json.dumps(told, indent=1))
    say(f"{made.training}: {'was imported before' if made.there else 'imported'}, SHA-256 {made.record.digest}")
    say("an experiment file uses it by these lines:")
    put(strict_yaml.dump({"base": made.lines}).rstrip())
    hints.next_command(command(), "sample", str(made.training))


def _assumed(heads: int | None, classes: int | None, plugins: tuple[str, ...]) -> "Assumed":
    from components.model.checkpoints import Assumed

    return Assumed(heads, classes, tuple(plugins))


def _needed(network: "Description", out: Path, plugins: tuple[str, ...]) -> list[str]:
    """Return the options without which a file that was written is read as another network, or not at all."""
    from components.model.checkpoints import inspect

    def is_read_by(heads: int | None, classes: int | None) -> bool:
        try:
            read = inspect(out, _assumed(heads, classes, plugins)).description
        except SpecError:
            return False
        told = [(one.model.heads, one.classes, one.null_label) for one in (read, network)]
        return told[0] == told[1]

    heads, classes = network.model.heads, network.classes or None
    tried = [(None, None), (heads, None), (None, classes), (heads, classes)]
    enough = next((words for words in tried if is_read_by(*words)), tried[-1])
    return _again(*enough, plugins)


def _again(heads: int | None, classes: int | None, plugins: tuple[str, ...]) -> list[str]:
    """The options as words of the next command."""
    words = ["--heads", str(heads)] if heads is not None else []
    words += ["--classes", str(classes)] if classes is not None else []
    return words + [word for plugin in plugins for word in ("--plugin", plugin)]


def _text(value: Any) -> str:
    """A value as a table shows it."""
    if isinstance(value, list):
        return "x".join(map(str, value)) if all(isinstance(one, int) for one in value) else ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value if value is not None else "not known")
