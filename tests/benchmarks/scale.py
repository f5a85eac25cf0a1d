"""Seconds that reading verbs take as an experiment grows, to 1,000 arms of 10 seeds: 10,000 finished run folders.

    python -m tests.benchmarks.scale [--arms 100 400 1000] [--seeds 10] [--verbs plan status table report sync]

Each line is one process from start to end: processor seconds (which hardly depend on what else the machine does), the
time that passed, and what each replicate more than in the experiment before has taken, which leaves out what a process
takes to start. Where that stays the same, the verb is linear. Folders hold 40 logged lines each. A verb that takes
longer than `--limit` seconds is ended; the program ends with 1 where there was one, or where a further replicate takes
more than `MOST` times as long as the first further ones did.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from experiments.launch.launching import make_run_folders
from experiments.plan.loading import load_plan
from experiments.plan.resolved_experiment import resolved
from registry.runs.machine import ROOT
from registry.runs.resolved_experiment import write_resolved
from tests.benchmarks.launch_speed import advance, write_experiment

VERBS = ("plan", "status", "table", "report", "sync")
MOST = 1.5  # times as long for a further replicate as in the step from the smallest experiment
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


def slopes(points: Sequence[tuple[int, float]]) -> list[float]:
    """Return the seconds of each further replicate, from one (replicates, seconds) to the next."""
    return [(after - before) / (more - fewer) for (fewer, before), (more, after) in pairwise(points)]


def is_linear(points: Sequence[tuple[int, float]]) -> bool:
    """Return whether no further replicate took much longer than those of the first step."""
    found = slopes(points)
    return all(slope <= MOST * found[0] for slope in found[1:])


def main() -> int:
    """Print a line for each verb and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", type=int, nargs="+", default=[100, 400, 1000], help="in hundreds")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=list(VERBS))
    parser.add_argument("--limit", type=float, default=900.0, metavar="S")
    asked = parser.parse_args()
    good, points = True, {verb: list[tuple[int, float]]() for verb in asked.verbs}
    for arms in sorted(asked.arms):
        with tempfile.TemporaryDirectory() as name:
            given, cache = write_finished(Path(name), arms, asked.seeds), Path(name) / "cache"
            print(f"{arms} arms x {asked.seeds} seeds", flush=True)
            for verb in asked.verbs:
                took = timed([verb, *given], cache, asked.limit)
                if took.processor is None:
                    good = False
                    print(f"  {verb:8}ended after {took.passed:.0f} s", flush=True)
                    continue
                points[verb].append((arms * asked.seeds, took.processor))
                further = "".join(f", {1000 * slope:.2f} ms a further replicate" for slope in slopes(points[verb])[-1:])
                print(f"  {verb:8}{took.processor:8.2f} s ({took.passed:.2f} passed){further}", flush=True)
    for verb in (verb for verb in asked.verbs if not is_linear(points[verb])):
        good = False
        print(f"{verb} is not linear")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
