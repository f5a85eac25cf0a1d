"""How far every replicate is: read from its files, with one question to Slurm; nothing is written."""

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.live import Live
from rich.table import Table

from experiments import slurm_queue
from experiments.console import console, make_table, say, table
from experiments.plans import Plan
from experiments.slurm import LAUNCHES
from experiments.slurm_queue import Ending, Queue, base
from experiments.states import queue_of, states
from registry.attempts import ATTEMPTS, latest, read_json
from registry.errors import SpecError, shortened
from registry.runs import Replicate, State

WATCH_SECONDS = 5.0
LONGEST_LINE = 10_000  # of a log, in characters
FIRST_TAIL, TAIL_BYTES = 2**15, 2**24  # bytes from the end of a log that are read at first, and at most
ALIVE = (
    "COMPLETED",
    "PENDING",
    "RUNNING",
    "REQUEUED",
    "COMPLETING",
    "SUSPENDED",
)  # in the accounting: nothing is wrong
COLUMNS = ("arm", "seed", "state", "step", "loss", "it/s", "eta", "node", "job", "attempts")


def rows(plan: Plan) -> list[dict[str, Any]]:
    """One row a replicate, from its files and from what Slurm says of its job."""
    todo = plan.replicates
    queue = queue_of(todo)
    now = states(todo, queue)
    silent = {
        job
        for replicate, state in zip(todo, now, strict=True)
        if state in ("interrupted", "missing") and (job := (replicate.submission() or {}).get("job"))
    }
    endings = slurm_queue.endings(silent)
    return [_row(replicate, state, queue, endings) for replicate, state in zip(todo, now, strict=True)]


def _row(replicate: Replicate, state: State, queue: Queue, endings: dict[str, Ending]) -> dict[str, Any]:
    result = replicate.result() if state == "done" else None
    result = result or {}
    beat = replicate.heartbeat() or {}
    attempt = latest(replicate.folder / ATTEMPTS) or {}
    submission = replicate.submission() or {}
    newer = submission.get("time", 0.0) > attempt.get("time", 0.0)
    job = submission.get("job") if newer or not attempt.get("job") else attempt["job"]
    rate = beat.get("steps_per_second") if state == "running" else None
    left = (beat["steps"] - beat["step"]) / rate if rate and "steps" in beat else None
    return {
        "arm": replicate.arm, "seed": replicate.seed, "state": state,
        "stage": beat.get("stage") if state == "running" else None,
        "step": result.get("steps", beat.get("step")), "steps": replicate.spec.learning.steps,
        "loss": beat.get("loss"), "steps_per_second": rate,
        "eta_seconds": round(left) if left is not None else None,
        "node": attempt.get("node"), "job": job, "slurm": _told(job, queue, endings),
        "attempts": attempt.get("number", 0), "scores": result.get("scores", {}), "folder": str(replicate.folder),
        "error": _why(replicate, state),
    }  # fmt: skip


def _told(job: str | None, queue: Queue, endings: dict[str, Ending]) -> str | None:
    """What Slurm says of a job, in words."""
    if job is None:
        return None
    if found := queue.jobs.get(job):
        if found.state == "PENDING":
            return "waits in Slurm" + (f" ({found.reason})" if found.reason not in ("", "None") else "")
        return "its job has started" if found.state == "RUNNING" else f"Slurm says {found.state}"
    return str(endings[job]) if job in endings else None


def _why(replicate: Replicate, state: State) -> str | None:
    if state in ("stopped", "cancelled"):
        return str(replicate.control().get("reason") or "") or None
    if state not in ("failed", "interrupted", "paused"):
        return None
    last: dict[str, Any] = next(iter(reversed(replicate.events())), {})
    return last.get("error") or last.get("reason")


def cells(row: dict[str, Any]) -> list[Any]:
    """A row as the table shows it."""
    stage = f" {row['stage']}" if row["stage"] not in (None, "training") else ""
    return [
        row["arm"], row["seed"], row["state"], f"{row['step'] or 0}/{row['steps']}{stage}",
        f"{row['loss']:.4g}" if row["loss"] is not None else "", row["steps_per_second"],
        _span(row["eta_seconds"]), row["node"], row["job"], row["attempts"],
    ]  # fmt: skip


def _span(seconds: int | None) -> str:
    if seconds is None:
        return ""
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def show(plan: Plan, found: Sequence[dict[str, Any]]) -> None:
    """The status as a table; below it what went wrong, the jobs beside the replicates, and orphaned folders."""
    table(COLUMNS, [cells(row) for row in found], title=title(plan, found))
    waiting = Counter(row["slurm"] for row in found if row["state"] == "queued" and row["slurm"])
    for told, number in waiting.most_common():
        say(f"queued: {number}: {told}")
    for row in found:
        told = "; ".join(filter(None, (row["error"], row["slurm"])))
        if told and row["state"] not in ("queued", "running"):
            say(f"{row['arm']} seed {row['seed']}: {told}")
    for line in beside(plan, found):
        say(line)
    for orphan in plan.orphans():
        why = "; ".join(orphan.differences) or "no arm of that name in the file"
        say(f"orphaned (kept, not counted, never cancelled): {orphan.folder}: {why}")


def title(plan: Plan, found: Sequence[dict[str, Any]]) -> str:
    """The experiment's name, and how many replicates are in which state."""
    counts = Counter(row["state"] for row in found)
    return f"{plan.name}: {', '.join(f'{number} {state}' for state, number in counts.most_common())}"


def beside(plan: Plan, found: Sequence[dict[str, Any]]) -> list[str]:
    """Jobs beside the replicates that have failed: one that should have prepared the data, or the last report."""
    waiting = {
        (replicate.submission() or {}).get("token", "")
        for replicate, row in zip(plan.replicates, found, strict=True)
        if row["state"] == "missing"
    }
    jobs: dict[str, tuple[str, Path]] = {}
    for folder in (plan.folder / LAUNCHES / token for token in sorted(waiting - {""})):
        if job := (read_json(folder / "launch.json") or {}).get("prepare"):
            jobs[job] = "prepares the data", folder / "prepare.txt"
    launches = sorted((plan.folder / LAUNCHES).glob("*/launch.json"), key=lambda path: path.stat().st_mtime)
    over = not any(row["state"] in ("queued", "running") for row in found)
    if over and launches and (job := (read_json(launches[-1]) or {}).get("report")):
        jobs[job] = "reports", launches[-1].parent / "report.txt"
    endings = slurm_queue.endings(jobs)
    failed = {job: told for job, told in endings.items() if told.state not in ALIVE}
    return [slurm_queue.failed_beside(jobs[job][0], job, told, jobs[job][1]) for job, told in failed.items()]


def last_lines(path: Path, number: int) -> list[str]:
    """The last lines of a file, none where it is absent; of a file without newlines no more than `TAIL_BYTES`."""
    if number < 1 or not path.is_file():
        return []
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        wanted, text = 0, b""
        while wanted < min(size, TAIL_BYTES) and text.count(b"\n") <= number:
            wanted = min(max(2 * wanted, FIRST_TAIL), size, TAIL_BYTES)
            file.seek(size - wanted)
            text = file.read(wanted)
    return text.decode(errors="replace").splitlines()[-number:]


def replicates_of(plan: Plan, seed: int | None) -> list[Replicate]:
    """The selected replicates of a seed, or of all.

    Raises:
        SpecError: no replicate has that seed.
    """
    seeds = plan.file.experiment.seeds
    if seed is not None and seed not in seeds:
        listed = ", ".join(map(str, seeds[:20])) + (", …" if len(seeds) > 20 else "")
        raise SpecError(f"--seed {seed}: no replicate has that seed; there is {listed}")
    return [replicate for replicate in plan.replicates if seed in (None, replicate.seed)]


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


def _live(plan: Plan, found: Sequence[dict[str, Any]]) -> Table:
    """The table cut to the terminal's height: what runs first, then what waits, then the rest."""
    order = {"running": 0, "failed": 1, "interrupted": 2, "queued": 3}
    first = sorted(found, key=lambda row: order.get(row["state"], 4))[: max(5, console.height - 5)]
    more = f"; {len(found) - len(first)} more below" if len(first) < len(found) else ""
    return make_table(COLUMNS, [cells(row) for row in first], title=title(plan, found) + more)


def logs(plan: Plan, seed: int | None, lines: int) -> list[dict[str, Any]]:
    """A row a replicate: the end of its log and, if it failed, the recorded traceback.

    Args:
        plan: whose selected replicates are looked at.
        seed: only this one.
        lines: how many last lines of each.
    """
    todo = replicates_of(plan, seed)
    found = []
    for replicate, state in zip(todo, states(todo), strict=True):
        log = log_of(replicate)
        last: dict[str, Any] = next(iter(reversed(replicate.events())), {})
        found.append({
            "arm": replicate.arm, "seed": replicate.seed, "state": state, "log": str(log) if log.is_file() else None,
            "lines": [shortened(line, LONGEST_LINE) for line in last_lines(log, lines)],
            "traceback": last.get("traceback") if state == "failed" else None,
        })  # fmt: skip
    return found


def show_logs(rows: Sequence[dict[str, Any]]) -> None:
    """Rows of `logs` as text."""
    for row in rows:
        say(f"== {row['arm']} seed {row['seed']} ({row['state']}): {row['log'] or 'no log'}")
        for line in [*row["lines"], *(row["traceback"] or "").splitlines()]:
            say(f"  {line}")


def log_of(replicate: Replicate) -> Path:
    """What the replicate printed; before its first line, what Slurm printed for its job."""
    own = replicate.folder / "log.txt"
    submission = replicate.submission() or {}
    if own.exists() or not submission.get("job"):
        return own
    folder = replicate.folder.parent.parent / LAUNCHES / submission["token"]
    found = sorted(folder.glob(f"{submission['job']}_*log.err")) or sorted(folder.glob(f"{base(submission['job'])}_*"))
    return found[0] if found else own


def follow(plan: Plan, seed: int | None, seconds: float = 0.5) -> None:
    """Print what the selected replicates' logs gain, each line behind its replicate's name, until none runs."""
    todo = replicates_of(plan, seed)
    at: dict[Path, int] = {}
    asked = 0.0
    ended = False
    while True:
        for replicate in todo:
            log = log_of(replicate)
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
