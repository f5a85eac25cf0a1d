"""Names in figures: folded to the room that they have, never cut, and legends outside of what is drawn."""

from functools import cache, lru_cache

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from analysis.tables import folding

SIZE = 9.0  # points, of all names and captions
LINE = 1.25 * SIZE / 72  # inches from one line of text to the next
HANDLE = 0.55  # inches of a legend's entry before its text, with the gap to the next column


@cache
def _metrics() -> TextToPath:
    return TextToPath()


@lru_cache(maxsize=4096)
def width_of(text: str, size: float = SIZE) -> float:
    """Return the width of the widest line of a text in inches, as matplotlib's default font has it."""
    # A sign such as $ is shown as it is, never read as mathematics (`parse_math` of whoever draws the text is off).
    font = FontProperties(size=size)
    widths = [_metrics().get_text_width_height_descent(line, font, ismath=False)[0] for line in text.split("\n")]
    return float(max(widths)) / 72


def fold(text: str, inches: float, size: float = SIZE) -> str:
    """Return the text with line breaks, so that no line is wider than so many inches.

    Args:
        text: a name, or lines of text.
        inches: the room; at least one character stands on a line, however narrow.
        size: of the font, in points.
    """
    return "\n".join(folding.fold(text, inches, lambda line: width_of(line, size)))


def legend_below(figure: Figure, axes: Axes) -> None:
    """Put the legend of the axes below everything else, and make the figure higher by what the legend needs.

    Args:
        figure: laid out by `constrained`.
        axes: whose labelled lines are named; there is no legend where nothing is labelled.
    """
    handles, names = axes.get_legend_handles_labels()
    if not names:
        return
    room = figure.get_figwidth() - 0.3
    folded = [fold(name, room - HANDLE) for name in names]
    columns = max(1, min(len(names), int(room / (max(map(width_of, folded)) + HANDLE))))
    down = -(-len(names) // columns)  # a legend is filled column by column
    lines = [name.count("\n") + 1 for name in folded]
    highest = max(sum(lines[start : start + down]) for start in range(0, len(names), down))
    figure.set_figheight(figure.get_figheight() + highest * LINE + 0.05 * down + 0.2)
    legend = figure.legend(handles, folded, loc="outside lower center", ncols=columns, frameon=False, fontsize=SIZE)
    for text in legend.get_texts():
        text.set_parse_math(False)
