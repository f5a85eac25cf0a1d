"""What people see: lines, paragraphs, tables and complaints that fit the terminal and cannot command it."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from analysis.tables import terminal
from registry.schema.labels import printable

console = Console(soft_wrap=True)
WIDTH = 160  # of tables that go to a file or a pipe
COLOURS = {
    "done": "green", "running": "cyan", "queued": "blue", "failed": "bold red", "interrupted": "yellow",
    "damaged": "bold red", "cancelled": "magenta", "paused": "yellow", "stopped": "magenta", "missing": "dim",
}  # fmt: skip


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", keys: int = 1) -> None:
    """Print a table as `make_tables` makes it."""
    screen = console if console.is_terminal and console.width >= terminal.NARROWEST else Console(width=columns())
    for number, part in enumerate(make_tables(headers, rows, title, keys)):
        screen.print(*([""] if number else []), part, sep="\n")


def make_tables(headers: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", keys: int = 1) -> list[Table]:
    """Return a table whose states have their colours; several, one below the other, where it is too wide.

    Args:
        headers: a name for each column.
        rows: of values; None is an empty cell.
        title: above it.
        keys: so many columns name the rows, and begin each of several tables.
    """
    cells = [[("" if cell is None else printable(str(cell))) for cell in row] for row in rows]
    return terminal.fitting(headers, cells, columns(), title=title, keys=keys, look=terminal.Look(styles=COLOURS))


def columns() -> int:
    """Return how many columns a table has here."""
    return max(terminal.NARROWEST, console.width) if console.is_terminal else terminal.columns_here(WIDTH)


def say(text: str) -> None:
    """A plain line; brackets are not markup, and control characters are shown, not obeyed."""
    console.print(printable(text), markup=False, highlight=False)


def put(text: str) -> None:
    """A text that others have laid out, as it is but for control characters."""
    print(printable(text))


def paragraph(text: str) -> None:
    """A line that is folded between its words where it is too long, so that no number is cut by the terminal's edge."""
    say(terminal.wrapped(text, columns()))


def complain(lines: Iterable[str]) -> None:
    """What is wrong, a line each, on standard error."""
    for line in lines:
        print(printable(line), file=sys.stderr)
