"""What replicates printed: where their logs lie, and the end of each."""

import os
from pathlib import Path
from typing import Any

from experiments.plan.plan import Plan
from experiments.plan.status import has_row
from experiments.record.slurm_queue import base
from experiments.record.states import states
from registry.errors import SpecError, shortened
from registry.runs.places import LAUNCHES
from registry.runs.replicate import Replicate

LONGEST_LINE = 10_000  # of a log, in characters
FIRST_TAIL, TAIL_BYTES = 2**15, 2**24  # bytes from the end of a log that are read at first, and at most


def rows(plan: Plan, seed: int | None, lines: int) -> list[dict[str, Any]]:
    """Return a row a replicate: the end of its log and, if it failed, the recorded traceback.

    Evaluations at earlier steps have one where only `retry` goes on with them.

    Args:
        plan: whose selected replicates are looked at.
        seed: only this one.
        lines: how many last lines of each.

    Raises:
        SpecError: no replicate has that seed.
    """
    early = [replicate for replicate in plan.early if seed in (None, replicate.seed)]
    todo = [*replicates_of(plan, seed), *early]
    found = []
    for replicate, state in zip(todo, states(todo), strict=True):
        if not has_row(replicate, state):
            continue
        log = log_of(plan, replicate)
        failures = [event.traceback for event in replicate.events() if event.traceback] if state == "failed" else []
        found.append({
            "arm": replicate.arm, "seed": replicate.seed, "at_step": replicate.step, "state": state,
            "log": str(log) if log.is_file() else None,
            "lines": [shortened(line, LONGEST_LINE) for line in last_lines(log, lines)],
            "traceback": failures[-1] if failures else None,
        })  # fmt: skip
    return found


def replicates_of(plan: Plan, seed: int | None) -> list[Replicate]:
    """The selected replicates of a seed, or of all.

    Raises:
        SpecError: no replicate has that seed.
    """
    found = plan.replicates
    seeds = sorted({replicate.seed for replicate in found})
    if seed is not None and seed not in seeds:
        listed = ", ".join(map(str, seeds[:20])) + (", …" if len(seeds) > 20 else "")
        raise SpecError(f"--seed {seed}: no replicate has that seed; there is {listed}")
    return [replicate for replicate in found if seed in (None, replicate.seed)]


def log_of(plan: Plan, replicate: Replicate) -> Path:
    """Return what the replicate's training printed; before its first line, what Slurm printed for its job."""
    own = replicate.training / "log.txt"
    submission = replicate.submission()
    if own.exists() or submission is None or not submission.job:
        return own
    folder = plan.folder / LAUNCHES / submission.token
    found = sorted(folder.glob(f"{submission.job}_*log.err")) or sorted(folder.glob(f"{base(submission.job)}_*"))
    return found[0] if found else own


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
