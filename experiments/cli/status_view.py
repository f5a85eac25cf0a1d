"""How far every replicate is, as people see it: a table, a table that is renewed, and what replicates printed."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Group
from rich.live import Live

from analysis.results.tunings import tuning_lines
from experiments.cli.console import console, make_tables, paragraph, say, table
from experiments.plan import screening, until_decided
from experiments.plan.logs import log_of, replicates_of
from experiments.plan.plan import Plan
from experiments.plan.status import beside, code_lines, rows, title
from experiments.plan.tuning import waiting_text
from experiments.record.states import states

WATCH_SECONDS = 5.0
NAMING = 2  # columns: arm and seed say which replicate it is
COLUMNS = ("arm", "seed", "state", "step", "loss", "it/s", "eta", "node", "job", "attempts")


def cells(row: dict[str, Any]) -> list[Any]:
    """A row as the table shows it."""
    stage = f" {row['stage']}" if row["stage"] not in (None, "training") else ""
    return [
        _arm(row), row["seed"], row["state"], f"{row['step'] or 0}/{row['steps']}{stage}",
        f"{row['loss']:.4g}" if row["loss"] is not None else "", row["steps_per_second"],
        _span(row["eta_seconds"]), row["node"], row["job"], row["attempts"],
    ]  # fmt: skip


def _arm(row: dict[str, Any]) -> str:
    return str(row["arm"]) + (f" at step {row['at_step']}" if row["at_step"] is not None else "")


def _span(seconds: int | None) -> str:
    if seconds is None:
        return ""
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def show(plan: Plan, found: Sequence[dict[str, Any]]) -> None:
    """The status as a table; below it what went wrong, the jobs beside the replicates, and orphaned folders."""
    if plan.untuned:
        return paragraph(waiting_text(plan))
    table(COLUMNS, [cells(row) for row in found], title=title(plan, found), keys=NAMING)
    for line in tuning_lines(plan.chosen):
        paragraph(line)
    waiting = Counter(row["slurm"] for row in found if row["state"] == "queued" and row["slurm"])
    for told, number in waiting.most_common():
        paragraph(f"queued: {number}: {told}")
    for row in found:
        told = "; ".join(filter(None, (row["error"], row["slurm"])))
        if told and row["state"] not in ("queued", "running"):
            paragraph(f"{_arm(row)} seed {row['seed']}: {told}")
    for line in (*beside(plan, found), *code_lines(found), *until_decided.standing(plan), *screening.standing(plan)):
        paragraph(line)
    for orphan in plan.orphans():
        why = "; ".join(orphan.differences) or "no arm of that name in the file"
        paragraph(f"orphaned (kept, not counted, never cancelled): {orphan.folder}: {why}")


def watch(plan: Plan, apart: bool = False) -> list[dict[str, Any]]:
    """Show the status anew every few seconds until nothing waits or runs.

    Args:
        plan: what is watched.
        apart: lines go to standard error, because standard output is for a machine.
    """
    found = rows(plan)
    if apart or not console.is_terminal:
        return _watch_plainly(plan, found, sys.stderr if apart else sys.stdout)
    with Live(_live(plan, found), console=console, auto_refresh=False) as live:
        while any(row["state"] in ("queued", "running") for row in found):
            time.sleep(WATCH_SECONDS)
            found = rows(plan)
            live.update(_live(plan, found), refresh=True)
    return found


def _watch_plainly(plan: Plan, found: list[dict[str, Any]], lines: TextIO) -> list[dict[str, Any]]:
    """In a log: a line whenever the counts change."""
    told = ""
    while True:
        if title(plan, found) != told:
            told = title(plan, found)
            print(f"{time.strftime('%H:%M:%S')} {told}", file=lines, flush=True)
        if not any(row["state"] in ("queued", "running") for row in found):
            return found
        time.sleep(WATCH_SECONDS)
        found = rows(plan)


def _live(plan: Plan, found: Sequence[dict[str, Any]]) -> Group:
    """The table cut to the terminal's height: what runs first, then what waits, then the rest."""
    order = {"running": 0, "failed": 1, "interrupted": 2, "queued": 3}
    ordered = sorted(found, key=lambda row: order.get(row["state"], 4))
    shown = len(ordered)
    while True:
        more = f"; {len(found) - shown} more below" if shown < len(found) else ""
        told = title(plan, found) + more
        tables = make_tables(COLUMNS, [cells(row) for row in ordered[:shown]], told, NAMING)
        over = sum(len(console.render_lines(one)) for one in tables) - (console.height - 1)
        if over <= 0 or shown <= 5:
            return Group(*tables)
        shown = max(5, shown - max(1, over // len(tables)))


def show_logs(found: Sequence[dict[str, Any]]) -> None:
    """Print rows of `experiments.plan.logs`."""
    for row in found:
        say(f"== {_arm(row)} seed {row['seed']} ({row['state']}): {row['log'] or 'no log'}")
        for line in [*row["lines"], *(row["traceback"] or "").splitlines()]:
            say(f"  {line}")


def follow(plan: Plan, seed: int | None, seconds: float = 0.5) -> None:
    """Print what the selected replicates' logs gain, each line behind its replicate's name, until none runs."""
    todo = replicates_of(plan, seed)
    at: dict[Path, int] = {}
    asked = 0.0
    ended = False
    while True:
        for replicate in todo:
            log = log_of(plan, replicate)
            if not log.is_file():
                continue
            with log.open("rb") as file:
                file.seek(at.setdefault(log, max(0, log.stat().st_size - 2000)))
                text = file.read()
            whole = text.rfind(b"\n") + 1
            at[log] += whole
            for line in text[:whole].decode(errors="replace").splitlines():
                say(f"{replicate.name} | {line}" if len(todo) > 1 else line)
        if ended:
            return
        if time.monotonic() - asked > WATCH_SECONDS:
            ended = not any(state in ("queued", "running") for state in states(todo))
            asked = time.monotonic()
        time.sleep(seconds)
