"""Seconds that reading verbs take as an experiment grows, to 1,000 arms of 10 seeds: 10,000 finished run folders.

    python -m tests.benchmarks.scale [--arms 100 1000] [--seeds 10] [--verbs plan status table report sync]

Each line is one process from start to end: processor seconds (which hardly depend on what else the machine does), the
time that passed, and what a replicate takes beyond the process's start, taken from the smallest experiment to the one
of the line. Where that is the same in all lines, the verb is linear. Folders hold 40 logged lines each. A verb that
takes longer than `--limit` seconds is ended and told so; ends with 1 where there was one, or where the larger
experiment takes more than `MOST` times as long a replicate as the smallest one did.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from experiments.launch.launching import make_run_folders
from experiments.plan.plan import load_plan
from experiments.plan.resolved_experiment import resolved
from registry.runs.machine import ROOT
from registry.runs.resolved_experiment import write_resolved
from tests.benchmarks.launch_speed import advance, write_experiment

VERBS = ("plan", "status", "table", "report", "sync")
MOST = 1.5  # times as long a replicate as in the smallest experiment
CODE = {"commit": "", "changed": False, "snapshot": ""}


@dataclass(frozen=True)
class Took:
    """What a verb took of the processor and of the clock, in seconds; no numbers where it was ended."""

    processor: float | None
    passed: float


def write_finished(folder: Path, arms: int, seeds: int) -> list[str]:
    """Write an experiment whose replicates are all done; return its file and its runs as words of a command."""
    file, runs = write_experiment(folder, arms, seeds), folder / "runs"
    plan = load_plan(file, ("floors=[]",), runs)
    write_resolved(plan.folder, resolved(plan))
    for replicate in make_run_folders(plan, CODE):
        advance(replicate, done=True)
    return [str(file), "--runs", str(runs), "floors=[]"]


def timed(words: list[str], cache: Path, limit: float) -> Took:
    """Run a verb in a process of its own.

    Raises:
        SystemExit: it failed; with what it said.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "run.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return Took(None, time.perf_counter() - began)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
    after, passed = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    return Took(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, passed)


def told(took: Took, base: tuple[Took, int], replicates: int, start: float) -> tuple[str, bool]:
    """A line's figures, and whether the verb is linear so far.

    Args:
        took: by the verb.
        base: what it took in the smallest experiment, and the replicates of that.
        replicates: of this one.
        start: processor seconds of a process that reads nothing.
    """
    if took.processor is None or base[0].processor is None:
        return f"ended after {took.passed:.0f} s", False
    each, first = (took.processor - start) / replicates, (base[0].processor - start) / base[1]
    return f"{took.processor:8.2f} s ({took.passed:.2f} passed), {1000 * each:.2f} ms a replicate", each <= MOST * first


def main() -> int:
    """Print a line for each verb and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", type=int, nargs="+", default=[100, 1000], help="in hundreds")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=list(VERBS))
    parser.add_argument("--limit", type=float, default=900.0, metavar="S")
    asked = parser.parse_args()
    good, base = True, dict[str, tuple[Took, int]]()
    for arms in sorted(asked.arms):
        with tempfile.TemporaryDirectory() as name:
            given, cache = write_finished(Path(name), arms, asked.seeds), Path(name) / "cache"
            print(f"{arms} arms x {asked.seeds} seeds", flush=True)
            start = timed(["--help"], cache, asked.limit).processor or 0.0
            for verb in asked.verbs:
                took = timed([verb, *given], cache, asked.limit)
                replicates = arms * asked.seeds
                line, linear = told(took, base.setdefault(verb, (took, replicates)), replicates, start)
                good = good and linear
                print(f"  {verb:8}{line}{'' if linear else '  NOT LINEAR'}", flush=True)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
