"""What a replicate costs beside its steps: processor seconds and time of one that makes a single step.

    python -m tests.benchmarks.replicate_cost [--seeds 5] [--profile]

Replicates of the quickstart with one step, 16 sampled clips in two steps of the sampler, and 40 real clips, whose
features are measured for the first and shared by all. They run one behind the other as the local pool and a Slurm task
with `resources.replicates_per_task` start them, forked from a process that has imported torch; then one in a Python of
its own, as in a Slurm task of one replicate. `--profile` prints where the processor's time of one more goes, in this
process, its sources read as in a fork. One thread.
"""

import argparse
import cProfile
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

from experiments.launch.launching import make_run_folders
from experiments.launch.preparing import bind_replicates, prepare_data
from experiments.plan.loading import load_plan
from experiments.worker.run import run_folder
from experiments.worker.starting import RUN, Starter
from registry.runs.machine import ROOT
from registry.runs.replicate import Replicate

SHORT = ("learning.steps=1", "sampling.clips=16", "sampling.sampler={name: ddim, steps: 2}", "scoring.real_clips=40")
SOURCES = "experiments.worker.sources_read"
ONE = ("match=null", "floors=[]", "claim=[]", "ablate={}", "runtime.threads=1")


def made(folder: Path, seeds: int) -> list[Replicate]:
    """The folders of replicates that differ in the seed, their data prepared."""
    words = (*SHORT, *ONE, f"seeds={list(range(seeds))}")
    plan = load_plan(ROOT / "experiments" / "quickstart.yaml", words, folder / "runs", ["baseline"])
    todo = make_run_folders(plan, {"commit": "", "changed": False, "snapshot": ""})
    bind_replicates(plan, prepare_data(plan, lambda what, done, total: None))
    return todo


def of_children(pid: int) -> float:
    """Return the processor seconds of the processes that one has started and that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def told(what: str, processor: float, passed: float) -> None:
    """Print a line."""
    print(f"{what:50}{processor:7.2f} s ({passed:.2f} passed)", flush=True)


def done(replicate: Replicate) -> None:
    """Make sure that a replicate has its result.

    Raises:
        SystemExit: it has none; with its log.
    """
    if replicate.result() is None:
        raise SystemExit((replicate.training / "log.txt").read_text(encoding="utf-8", errors="replace"))


def main() -> None:
    """Print a line for each replicate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        *warm, cold, profiled = made(Path(name), asked.seeds + 2)
        starter, before = Starter({}), 0.0
        try:
            for number, replicate in enumerate(warm):
                began = time.perf_counter()
                starter.start(replicate.training, 1).wait()
                passed = time.perf_counter() - began
                done(replicate)
                (server,) = starter.servers
                used = of_children(server) - before
                before += used
                told("first: with torch imported once, and real clips" if not number else "another, warm", used, passed)
        finally:
            starter.close()
        began, used = time.perf_counter(), _used()
        subprocess.run([sys.executable, *RUN, str(cold.training)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        told("another, in a Python of its own", _used() - used, time.perf_counter() - began)
        done(cold)
        if asked.profile:
            import_module(SOURCES)
            profile = cProfile.Profile(time.process_time)
            profile.runcall(run_folder, profiled.training)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(90)


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
