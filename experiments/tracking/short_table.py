"""A table of scores as a description in MLflow takes it: short, and where it is too long, without its last rows."""

import re

COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
HEAD = 2  # lines: the header, and the rule below it


def short_table(table: str, room: int, whole: str) -> str:
    """Return a table in Markdown without its comment and its padding, and with as many rows as there is room for.

    What stands below the table stays where its rows do; nothing of it is cut in the middle.

    Args:
        table: as `analysis.tables` writes it.
        room: characters.
        whole: where the whole table is.
    """
    lines = COMMENT.sub("", table).strip().splitlines()
    cells = [re.sub(r" {2,}", " ", line) for line in lines if line.startswith("|")]
    cells[1:HEAD] = [re.sub(r"-{3,}", "---", line) for line in cells[1:HEAD]]
    head, rows = cells[:HEAD], cells[HEAD:]
    below = "\n".join(line for line in lines if not line.startswith("|")).strip()
    for notes, least in ((below, len(rows) // 2), ("", 0)):  # notes that would take the place of most rows go first
        for number in range(len(rows), least, -1):
            left = len(rows) - number
            more = f"{left} more row{'s are' if left > 1 else ' is'} in {whole}" if left else ""
            more = more or (f"what its marks say is in {whole}" if below and not notes else "")
            text = "\n\n".join(part for part in ("\n".join([*head, *rows[:number]]), more, notes) if part)
            if len(text) <= room:
                return text
    return f"in {whole}"
