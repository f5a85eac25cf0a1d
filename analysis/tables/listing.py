"""Names in a line of text, of which there may be very many."""

from collections.abc import Sequence

MOST = 4  # that are named


def listed(names: Sequence[str]) -> str:
    """Return the first names, and how many there are beside them."""
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
