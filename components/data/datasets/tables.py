"""Rows of the CSV files that people put beside their videos."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from registry.errors import SpecError, did_you_mean


def rows(file: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of a CSV file whose column `path` is never empty.

    Args:
        file: in UTF-8.
        needed: columns that it must have, `path` among them.

    Raises:
        SpecError: a needed column is missing, a row has no path, or the file is not such a CSV.
    """
    try:
        with open(file, newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            columns = reader.fieldnames or []
            for column in needed:
                if column not in columns:
                    raise SpecError(f"{file}:1: no column {column!r}: {did_you_mean(column, columns)}")
            for row in reader:
                if not row["path"]:
                    raise SpecError(f"{file}:{reader.line_num}: no path")
                yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"{file}: not a CSV file in UTF-8: {error}") from None
