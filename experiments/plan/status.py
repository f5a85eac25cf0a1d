"""How far every replicate is: read from its files, with one question to Slurm; nothing is written."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.plan.plan import Plan
from experiments.record import slurm_queue
from experiments.record.slurm_queue import Ending, Queue, base
from experiments.record.states import queue_of, states
from registry.runs.attempts import ATTEMPTS, latest, read_json
from registry.runs.run_folder import LAUNCHES, Replicate, State

ALIVE = (
    "COMPLETED",
    "PENDING",
    "RUNNING",
    "REQUEUED",
    "COMPLETING",
    "SUSPENDED",
)  # in the accounting: nothing is wrong


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


def log_of(replicate: Replicate) -> Path:
    """What the replicate printed; before its first line, what Slurm printed for its job."""
    own = replicate.folder / "log.txt"
    submission = replicate.submission() or {}
    if own.exists() or not submission.get("job"):
        return own
    folder = replicate.folder.parent.parent / LAUNCHES / submission["token"]
    found = sorted(folder.glob(f"{submission['job']}_*log.err")) or sorted(folder.glob(f"{base(submission['job'])}_*"))
    return found[0] if found else own
