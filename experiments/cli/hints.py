"""The next useful command, as this one was started."""

import shlex
from pathlib import Path

import click

from experiments.cli.options import OVERRIDE
from registry.runs.command import command
from registry.runs.machine import ROOT


def next_command(*words: str) -> None:
    """Print the next useful command, ready for a shell.

    Args:
        words: a first one that is a command as it stands, then its arguments.
    """
    from experiments.cli.console import console, say

    console.print("[dim]next:[/dim]", end=" ")
    say(" ".join([words[0], *map(shlex.quote, words[1:])]))


def again(verb: str, file: Path | None = None, *, selects: bool = True, stage: str = "") -> list[str]:
    """Return the command with another verb on the same experiment: file, overrides, runs folder and selection stay.

    Args:
        verb: the other one.
        file: of several that this command was given, the one that the other verb is for; None: all of them.
        selects: the other verb also takes --only.
        stage: it is about the file's `tuning` or `screen`, though this command is not.
    """
    given = click.get_current_context().params
    words = given["words"] if "words" in given else (str(given["file"]), *given["overrides"])
    if file is not None and "words" in given:
        words = (str(file), *(word for word in words if OVERRIDE.match(word)))
    stage = stage or str(given.get("stage") or "")
    found = [command(), verb, *words, *runs_folder(), *([f"--{stage}"] if stage else [])]
    return found + [word for pattern in given.get("only", ()) if selects for word in ("--only", pattern)]


def runs_folder() -> list[str]:
    """Return the words that name the runs folder, none where it is the default."""
    runs = click.get_current_context().params["runs"]
    return [] if runs == Path("runs") else ["--runs", str(runs)]


def quickstart() -> str:
    """Return the embedded experiment as a command names it: by a short path where that is right."""
    short = "experiments/quickstart.yaml"
    return short if Path(short).exists() else str(ROOT / short)
