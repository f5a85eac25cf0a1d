"""Breaking names and sentences into lines that fit, for figures and for the terminal; nothing is cut away."""

import re
from collections.abc import Callable

# Where a text is folded: behind a comma or a space, else between the words of a name, else anywhere. Not within 0.5,
# 1,000 or 1e-4 before there is no other way.
_BREAKS = (
    re.compile(r"(?<=[ ;])|(?<=,)(?!\d)"),
    re.compile(r"(?<=[=/:)\]])|(?=[(\[])|(?<=[A-Za-z]{2}-)"),
    re.compile(r"(?<=[_.,-])"),
    re.compile(r"(?<=.)"),
)


def fold(text: str, room: float, width_of: Callable[[str], float]) -> list[str]:
    """Return the lines of a text, none wider than the room; no character but a space at the end of a line is lost.

    Args:
        text: what is folded; its own line breaks stay.
        room: the width of a line; at least one character stands on it, however narrow.
        width_of: measures a line, in the unit of the room.
    """
    lines: list[str] = []
    for whole in text.split("\n"):
        line = ""
        for piece in _pieces(whole, room, width_of):
            if line and width_of((line + piece).rstrip()) > room:
                lines.append(line.rstrip())
                line = ""
            line += piece
        lines.append(line.rstrip())
    return lines


def _pieces(text: str, room: float, width_of: Callable[[str], float]) -> list[str]:
    """Return the pieces that a text is put together from again, each no wider than the room where that can be."""
    pieces = [text]
    for breaks in _BREAKS:
        parts = [[piece] if width_of(piece.rstrip()) <= room else breaks.split(piece) for piece in pieces]
        pieces = [part for own in parts for part in own if part]
    return pieces
