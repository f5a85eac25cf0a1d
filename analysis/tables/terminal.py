"""Tables and sentences for the terminal, as wide as it is: what does not fit is folded or stacked, never cut.

A table that is too wide for the terminal first folds its names, then leaves out columns in which nothing stands, and
at last becomes several tables, one below the other, which all begin with the columns that name the rows. Numbers, and
words as short as a state or a verdict, always stand whole on one line.
"""

import io
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.box import HEAVY_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.tables import folding

WIDE = 120  # columns of a file or a pipe
NARROWEST = 40  # columns; a terminal that has fewer wraps what is written for these
NAME = 12  # columns that a name, or a word of a header, has at least: `contradicted` is not folded
_NUMBER = r"[-+±~]?(?:\d[\d,]*\.?\d*(?:e[-+]?\d+)?|nan|inf)%?"
# A cell of numbers: 0.5 ± 0.1, 3/3, 0:10:00, -0.1 to 0.2, 12 and 64, 5 draws, or a dash for what is not there.
_NUMBERS = re.compile(rf"(?:{_NUMBER}(?: ?(?:±|/|:|to|and) ?{_NUMBER})*(?: draws?)?|\N{{EN DASH}})?")


def columns_here(elsewhere: int = WIDE) -> int:
    """Return how many columns there are: $COLUMNS, else those of the terminal, else those of a file or a pipe."""
    return max(NARROWEST, shutil.get_terminal_size((elsewhere, 24)).columns)


def wrapped(text: str, width: int | None = None, indent: str = "  ") -> str:
    """Return a text whose lines fit, broken between words; what goes on from a line is indented."""
    width = width or columns_here()
    lines: list[str] = []
    for whole in text.split("\n"):
        first = folding.fold(whole, width, cell_len)[0]
        lines.append(first)
        if left := whole[len(first) :].lstrip():
            lines += [indent + line for line in folding.fold(left, width - len(indent), cell_len)]
    return "\n".join(lines)


def pairs(values: Sequence[tuple[str, str]], width: int, indent: str = "  ") -> list[str]:
    """Return `name value` pairs, as many on a line as fit; a pair is broken only where it is wider than a line."""
    lines: list[str] = []
    for name, value in values:
        pair = f"{name} {value}"
        if lines and cell_len(f"{lines[-1]}, {pair}") <= width:
            lines[-1] += f", {pair}"
        else:
            lines += [indent + line for line in folding.fold(pair, width - len(indent), cell_len)]
    return lines


@dataclass(frozen=True)
class Look:
    """How a table looks.

    Args:
        boxed: with a frame, and lines between the columns.
        styles: a cell's text -> its style.
    """

    boxed: bool = False
    styles: dict[str, str] | None = None

    def room(self, width: int, columns: int) -> int:
        """Return what the cells of so many columns have together."""
        return width - (3 * columns + 1 if self.boxed else 2 * (columns - 1))


def fitting(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    title: str = "",
    keys: int = 1,
    look: Look | None = None,
) -> list[Table]:
    """Return a table, or several to be shown one below the other, no wider than so many columns where that can be.

    The frame is left out before a number is broken; a table is wider than the terminal before that, too.

    Args:
        headers: a name for each column.
        rows: the cells; a column of numbers is put to the right.
        width: columns of the terminal.
        title: above the first table.
        keys: so many columns name the rows, and begin every table.
        look: of the tables.
    """
    look = look or Look()
    columns = [
        _Column.of(header, [row[number] for row in rows], max(NAME, width // 4) if number < keys else NAME)
        for number, header in enumerate(headers)
    ]
    if sum(column.widest for column in columns) > look.room(width, len(columns)) and rows:
        columns = [column for number, column in enumerate(columns) if number < keys or any(column.cells)]
    groups = _groups(columns, keys, width, look)
    if look.boxed and any(sum(own.least for own in group) > look.room(width, len(group)) for group in groups):
        return fitting(headers, rows, width, title=title, keys=keys, look=replace(look, boxed=False))
    tables: list[Table] = []
    for group in groups:
        widths = _widths(group, look.room(width, len(group)))
        tables.append(_table(group, widths, len(rows), look, title if not tables else ""))
    return tables


def as_text(tables: Sequence[Table]) -> str:
    """Return tables as plain text, a line between them, whether or not a notebook or a terminal asks for them."""
    out = io.StringIO()
    # Each table is as wide as it was made. In a notebook rich would show it there, and $FORCE_COLOR would colour it.
    console = Console(file=out, width=10_000, force_jupyter=False, force_terminal=False, color_system=None)
    for number, table in enumerate(tables):
        console.print(*([""] if number else []), table, sep="\n")
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().split("\n"))


@dataclass(frozen=True)
class _Column:
    """A column: its header, its cells, whether they are numbers, and its least and its natural width."""

    header: str
    cells: list[str]
    numbers: bool
    least: int
    widest: int

    @classmethod
    def of(cls, header: str, cells: list[str], names: int) -> "_Column":
        """Return the column of these cells, which are `names` columns wide or more where they are names."""
        of_cells = max((cell_len(line) for cell in cells for line in cell.split("\n")), default=0)
        widest = max(of_cells, cell_len(header))
        word = min(NAME, max(map(cell_len, header.split()), default=0))
        if any(cells) and all(_NUMBERS.fullmatch(cell) for cell in cells):
            return cls(header, cells, True, max(of_cells, word), widest)
        words = {word for cell in cells for word in cell.split() if word[-1].isdigit()}
        within = max((cell_len(word) for word in words if _NUMBERS.fullmatch(word)), default=0)
        return cls(header, cells, False, max(min(widest, names), within), widest)


def _groups(columns: list[_Column], keys: int, width: int, look: Look) -> list[list[_Column]]:
    """Return the columns of each table: all where they fit, else as many as do behind those that name the rows."""
    named, groups = columns[:keys], [columns[:keys]]
    for column in columns[keys:]:
        longer = [*groups[-1], column]
        fits = sum(own.least for own in longer) <= look.room(width, len(longer))
        if fits or len(groups[-1]) == keys:
            groups[-1] = longer
        else:
            groups.append([*named, column])
    return groups


def _widths(columns: Sequence[_Column], room: int) -> list[int]:
    """Return the width of each column: what it needs at least, and its share of what is left."""
    wished = [column.widest - column.least for column in columns]
    left = max(0, min(sum(wished), room - sum(column.least for column in columns)))
    widths: list[int] = []
    for column, wish in zip(columns, wished, strict=True):
        share = round(left * wish / sum(wished[len(widths) :])) if wish else 0
        left -= share
        widths.append(column.least + share)
    return widths


def _table(columns: Sequence[_Column], widths: Sequence[int], count: int, look: Look, title: str) -> Table:
    """Return the columns, folded to their widths, as one row of whole columns, which is quick to lay out."""
    shown = Table(
        title=Text(title) if title else None, title_justify="left", header_style="bold", box=HEAVY_HEAD, padding=(0, 1)
    )
    if not look.boxed:
        shown.box, shown.pad_edge = None, False
    folded = [
        [
            folding.fold(cell, width, cell_len) if cell_len(cell) > width or "\n" in cell else [cell]
            for cell in own.cells
        ]
        for own, width in zip(columns, widths, strict=True)
    ]
    heights = [max(len(own[row]) for own in folded) for row in range(count)]
    for own, width in zip(columns, widths, strict=True):
        header = Text("\n".join(folding.fold(own.header, width, cell_len)))
        shown.add_column(header, justify="right" if own.numbers else "left", no_wrap=True, min_width=width)
    styles = look.styles or {}
    texts = []
    for own, lines in zip(columns, folded, strict=True):
        cells = [
            Text("\n".join([*cell, *[""] * (height - len(cell))]), style=styles.get(whole, ""))
            for whole, cell, height in zip(own.cells, lines, heights, strict=True)
        ]
        texts.append(Text("\n").join(cells))
    if count:
        shown.add_row(*texts)
    return shown
