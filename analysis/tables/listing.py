"""Names in a line of text, of which there may be very many."""

from collections.abc import Sequence


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return the first names, so many at most, and how many there are beside them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
