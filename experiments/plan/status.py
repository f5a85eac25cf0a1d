"""How far every replicate is: read from its files, with one question to Slurm; nothing is written."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from analysis.results.mixed_code import MixedCode, lines, mixed_code
from experiments.plan.plan import Plan
from experiments.record import slurm_queue
from experiments.record.slurm_queue import Ending, Queue
from experiments.record.states import queue_of, states
from registry.runs import code_used
from registry.runs.attempts import ATTEMPTS, latest
from registry.runs.places import LAUNCHES
from registry.runs.records import Attempt, Heartbeat, State, read_json
from registry.runs.replicate import Replicate

ALIVE = (
    "COMPLETED",
    "PENDING",
    "RUNNING",
    "REQUEUED",
    "COMPLETING",
    "SUSPENDED",
)  # in the accounting: nothing is wrong


def rows(plan: Plan) -> list[dict[str, Any]]:
    """Return a row for each replicate, from its files and from what Slurm says of its job.

    Evaluations at earlier steps have one where only `retry` goes on with them.
    """
    todo = plan.work
    queue = queue_of(todo)
    shown = [(one, state) for one, state in zip(todo, states(todo, queue), strict=True) if has_row(one, state)]
    silent = {_sent_as(one) for one, state in shown if state.startable}
    endings = slurm_queue.endings(job for job in silent if job)
    return [_row(replicate, state, queue, endings) for replicate, state in shown]


def has_row(replicate: Replicate, state: State) -> bool:
    """Whether `status` and `logs` name a replicate: one at an earlier step only where `retry` alone goes on with it."""
    return replicate.step is None or state.retried


def _sent_as(replicate: Replicate) -> str | None:
    submission = replicate.submission()
    return submission.job if submission else None


def _row(replicate: Replicate, state: State, queue: Queue, endings: dict[str, Ending]) -> dict[str, Any]:
    result = replicate.result() if state is State.DONE else None
    made = result.made_by if result else code_used.made_by(replicate)
    running = state is State.RUNNING
    beat = replicate.heartbeat() or Heartbeat()
    attempt = latest(replicate.training / ATTEMPTS, Attempt)
    submission = replicate.submission()
    newer = submission is not None and (attempt is None or submission.time > attempt.time)
    job = attempt.job if attempt is not None and attempt.job and not newer else _sent_as(replicate)
    rate = beat.steps_per_second if running else None
    left = (beat.steps - beat.step) / rate if rate else None
    return {
        "arm": replicate.arm, "seed": replicate.seed, "at_step": replicate.step, "state": state,
        "training": replicate.training.parent.name, "evaluation": replicate.folder.name,
        "stage": beat.stage if running else None,
        "step": result.step if result else beat.step, "steps": replicate.spec.step,
        "loss": beat.loss, "steps_per_second": rate,
        "eta_seconds": round(left) if left is not None else None,
        "node": attempt.node if attempt else None, "job": job, "slurm": _told(job, queue, endings),
        "attempts": attempt.number if attempt else 0, "scores": result.scores if result else {},
        "folder": str(replicate.link), "error": _why(replicate, state), "made_by": made.model_dump(mode="json"),
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
    if state is State.DAMAGED:
        return replicate.damage()
    if state in (State.STOPPED, State.CANCELLED):
        desired = replicate.desired()
        return desired.reason or None if desired else None
    if state not in (State.FAILED, State.INTERRUPTED, State.PAUSED):
        return None
    last = replicate.last_word()
    return last.error or last.reason or None if last else None


def mixed(found: Iterable[dict[str, Any]]) -> list[MixedCode]:
    """Where the replicates of these rows, done or not, were made by different code."""
    return mixed_code((row["arm"], row["seed"], row["made_by"]) for row in found)


def code_lines(found: Iterable[dict[str, Any]]) -> list[str]:
    """The same, a line each."""
    return lines(mixed(found))


def title(plan: Plan, found: Sequence[dict[str, Any]]) -> str:
    """The experiment's name, and how many replicates are in which state."""
    counts = Counter(row["state"] for row in found)
    return f"{plan.name}: {', '.join(f'{number} {state}' for state, number in counts.most_common())}"


def beside(plan: Plan, found: Sequence[dict[str, Any]]) -> list[str]:
    """Jobs beside the replicates that have failed: one that should have prepared the data, or the last report."""
    missing = {(row["arm"], row["seed"]) for row in found if row["state"] == "missing"}
    waiting = {
        submission.token
        for replicate in plan.replicates
        if (replicate.arm, replicate.seed) in missing and (submission := replicate.submission())
    }
    jobs: dict[str, tuple[str, Path]] = {}
    for folder in (plan.folder / LAUNCHES / token for token in sorted(waiting - {""})):
        sent = (read_json(folder / "launch.json") or {}).get("prepare") or ()
        for one in [{"job": sent, "log": "prepare.txt"}] if isinstance(sent, str) else sent:
            jobs[one["job"]] = "prepares the data", folder / one["log"]
    launches = sorted((plan.folder / LAUNCHES).glob("*/launch.json"), key=lambda path: path.stat().st_mtime)
    over = not any(row["state"] in ("queued", "running") for row in found)
    if over and launches and (job := (read_json(launches[-1]) or {}).get("report")):
        jobs[job] = "reports", launches[-1].parent / "report.txt"
    endings = slurm_queue.endings(jobs)
    failed = {job: told for job, told in endings.items() if told.state not in ALIVE}
    return [slurm_queue.failed_beside(jobs[job][0], job, told, jobs[job][1]) for job, told in failed.items()]
