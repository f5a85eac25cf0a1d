"""What a search found, as people see it."""

from typing import Any

import pandas as pd

from experiments.cli.console import say, table
from registry.runs.places import folder_name


def show_search(found: dict[str, Any]) -> None:
    """The trials as a table; below it the best, the importances, and why trials failed."""
    keys = list(dict.fromkeys(key for row in found["trials"] for key in row["values"]))
    names = list(found["objectives"])
    lines = [
        [row["trial"], row["state"], *(row["values"].get(key) for key in keys),
         *(_number(row["objectives"][name]) for name in names), row["pruned_at"]]
        for row in found["trials"]
    ]  # fmt: skip
    states = pd.Series([row["state"] for row in found["trials"]], dtype=object).value_counts()
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    table(
        ["trial", "state", *keys, *names, "pruned at"], lines, title=f"{found['experiment']}: {counts or 'no trials'}"
    )
    for row in found["trials"]:
        if row["jobs"]:
            folder = folder_name(row["arm"], row["identity"])
            say(f"trial-{row['trial']} was sent as {', '.join(row['jobs'])}: `cancel … --folder {folder}` ends it")
    errors: dict[str, list[str]] = {}
    for row in found["trials"]:
        if row["error"]:
            errors.setdefault(row["error"], []).append(f"trial-{row['trial']}")
    for error, trials in errors.items():
        say(f"{', '.join(trials[:6])}{f' and {len(trials) - 6} more' if len(trials) > 6 else ''}: {error}")
    best = [row for row in found["trials"] if row["trial"] in found["best"]]
    heading = "best" if len(names) == 1 else "Pareto front (no trial is better in every objective)"
    for row in best:
        told = ", ".join(f"{name} {_number(row['objectives'][name])}" for name in names)
        chosen = " ".join(f"{key}={value}" for key, value in row["values"].items())
        say(f"{heading}: trial-{row['trial']}: {told}: {chosen}")
    for name, shares in found["importances"].items():
        told = ", ".join(f"{key} {share:.2f}" for key, share in sorted(shares.items(), key=lambda item: -item[1]))
        say(f"importances for {name} (PED-ANOVA): {told}")
    if found["note"]:
        say(found["note"])
    say("trials are no arms: they enter no table and no verdict; for a claim, make the best an arm, with seeds")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
