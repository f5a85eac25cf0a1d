"""Seconds that 1,000 replicates take: to plan, to launch dry and on a fake Slurm, and to show with `status`.

    python -m tests.benchmarks.launch_speed [--shapes 1000x1 200x5]

A shape is arms x seeds. Each line is one process from start to end: the time that passed, that of the processor (which
hardly depends on what else the machine does), and the machine's load before. Networks are counted anew for the first
plan, as on a machine that never saw the experiment. The fake Slurm accepts jobs and starts none; `status` then reads
folders of a sweep that is under way: a third done, a third running, the others queued. Ends with 1 where a plan takes
5 s of the processor or more, or a status 2 s.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.plan.loading import load_plan
from experiments.record.recording import Recorder
from registry.runs.attempts import ATTEMPTS, this_process
from registry.runs.machine import ROOT
from registry.runs.replicate import Replicate
from tests.fixtures.toy_replicates import result_of
from tests.slurm.clusters import fake_cluster

MOST = {"plan": 5.0, "plan again": 5.0, "check": 5.0, "status": 2.0}  # seconds
STEPS, EVERY = 200, 5  # of training, and of lines in metrics.jsonl
EXPERIMENT = """\
name: speed
base: {base}
grid:
  learning.learning_rate: {rates}
  learning.ema_decay: {decays}
  learning.batch_size: {sizes}
seeds: {seeds}
resources: {{parallel: 50, time: 4h}}
"""


def write_experiment(folder: Path, arms: int, seeds: int) -> Path:
    """A grid over the quickstart's base: ten learning rates, ten EMA decays, and as many batch sizes as that needs."""
    path = folder / "speed.yaml"
    path.write_text(
        EXPERIMENT.format(
            base=ROOT / "experiments" / "quickstart.yaml",
            rates=[number / 1000 for number in range(1, 11)],
            decays=[number / 100 for number in range(90, 100)],
            sizes=[4 * number for number in range(1, arms // 100 + 1)],
            seeds=list(range(seeds)),
        )
    )
    return path


def advance(replicate: Replicate, done: bool) -> None:
    """The files of a replicate that was launched as they are after 100 steps, or at its end."""
    folder, now = replicate.training, time.time()
    steps = STEPS if done else STEPS // 2
    owner = {"number": 1, **this_process()} | ({"ended": now, "how": "done"} if done else {})
    lines = [{"step": step, "time": now, "loss": 0.5, "grad_norm": 1.0} for step in range(EVERY, steps + 1, EVERY)]
    beat = {"time": now, "stage": "training", "step": steps, "steps": STEPS, "loss": 0.5, "steps_per_second": 9.5}
    for name in (ATTEMPTS, "checkpoints"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "checkpoints" / f"step-{steps:08d}.pt").touch()
    files: dict[str, Any] = {f"{ATTEMPTS}/0001.json": owner, "heartbeat.json": beat}
    if done:
        scores = {"fvd[moving_shapes_r3d]": 12.5, "kvd[moving_shapes_r3d]": 0.25}
        Recorder(replicate.folder).result(result_of(replicate, scores, seconds=35.0, seconds_of={"training": 30.0}))
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1))
    (folder / "events.jsonl").write_text(json.dumps({"event": "started", "time": now}) + "\n")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def timed(what: str, words: list[str], environment: dict[str, str]) -> bool:
    """Run a verb, print how long it took; whether that is as fast as it should be."""
    load, began, used = os.getloadavg()[0], time.perf_counter(), _processor()
    command = [sys.executable, "run.py", *words]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
    seconds, busy = time.perf_counter() - began, _processor() - used
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
    submitted = sum(line.startswith("submitted ") for line in done.stdout.splitlines())
    calls = f", {submitted} sbatch calls" if what == "launch" else ""
    limit = f" (less than {MOST[what]:g} wanted)" if what in MOST else ""
    print(f"  {what}: {seconds:.1f} s, processor {busy:.1f} s{limit}{calls}; load {load:.1f}", flush=True)
    return busy < MOST.get(what, float("inf"))


def _processor() -> float:
    """Seconds that children have used of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(arms: int, seeds: int) -> bool:
    """All verbs on one shape; whether all were fast enough."""
    with tempfile.TemporaryDirectory() as name, fake_cluster(Path(name) / "slurm") as cluster:
        folder = Path(name)
        file, runs = write_experiment(folder, arms, seeds), folder / "runs"
        environment = {**cluster.environment, "FAKE_SLURM_HOLD": "1", "XDG_CACHE_HOME": str(folder / "cache")}
        given = [str(file), "--runs", str(runs)]
        print(f"{arms} arms x {seeds} seeds")
        good = [timed(what, [what.split()[0], *given], environment) for what in ("plan", "plan again", "check")]
        timed("dry launch", ["launch", *given, "--executor", "slurm", "--dry-run"], environment)
        timed("launch", ["launch", *given, "--executor", "slurm"], environment)
        for number, replicate in enumerate(load_plan(file, runs=runs).replicates):
            if number % 3:
                advance(replicate, done=number % 3 == 1)
        good.append(timed("status", ["status", *given], environment))
        return all(good)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shapes", nargs="+", default=("1000x1", "200x5"), metavar="ARMSxSEEDS")
    shapes = [tuple(map(int, shape.split("x"))) for shape in parser.parse_args().shapes]
    good = [measure(arms, seeds) for arms, seeds in shapes]
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
