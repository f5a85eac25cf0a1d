"""What a runs folder holds, and what of it can go, as people see it."""

from collections.abc import Sequence
from typing import Any

from experiments.cli.console import say, table
from experiments.plan.inventory import Unreferenced


def show_inventory(experiments: Sequence[dict[str, Any]], trainings: Sequence[dict[str, Any]]) -> None:
    """The experiments and the trainings of a runs folder."""
    lines = [
        [row["experiment"], row["arms"], f"{row['done']}/{row['replicates']}", row["trainings"], _megabytes(row),
         f"{row['days']:.1f}"]
        for row in experiments
    ]  # fmt: skip
    table(["experiment", "arms", "done", "trainings", "MB", "days old"], lines)
    lines = [
        [row["training"], row["seed"], row["state"], row["evaluations"], ", ".join(row["experiments"]) or "nobody",
         _megabytes(row), f"{row['days']:.1f}"]
        for row in trainings
    ]  # fmt: skip
    table(["training", "seed", "state", "evaluations", "wanted by", "MB", "days old"], lines)


def show_unreferenced(found: Sequence[Unreferenced]) -> None:
    """What nothing refers to, and what of it stays."""
    if not found:
        return say("everything here is referred to")
    lines = [[one.what, str(one.path), f"{one.size / 1e6:,.1f}", one.kept or "can go"] for one in found]
    table(["what", "folder", "MB", ""], lines)


def _megabytes(row: dict[str, Any]) -> str:
    return f"{row['bytes'] / 1e6:,.1f}"
