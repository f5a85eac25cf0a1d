"""The registry as people and programs read it."""

from collections.abc import Iterable
from typing import Any

from experiments.cli import console
from registry.errors import SpecError, did_you_mean
from registry.parts.catalogue import catalogue


def rows(slot: str | None, plugins: Iterable[str]) -> list[dict[str, Any]]:
    """Every part (of one slot), as `PartInfo.describe` gives it.

    Raises:
        SpecError: no such slot, or a plugin that cannot be read.
    """
    parts = catalogue(tuple(plugins))
    if slot is not None and slot not in parts.slots:
        raise SpecError(f"no slot {slot!r}; {did_you_mean(slot, parts.slots)}")
    return [info.describe() for info in parts.parts() if slot in (None, info.slot)]


def show(found: list[dict[str, Any]]) -> None:
    """A table, with official code marked."""
    console.table(
        ["slot", "part", "official code", "parameters", "what it is"],
        [
            [
                row["slot"], row["name"], "yes" if row["official_code"] else "no",
                ", ".join(f"{name}={info['default']}" for name, info in row["parameters"].items()), row["summary"],
            ]
            for row in found
        ],
    )  # fmt: skip
