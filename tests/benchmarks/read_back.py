"""Seconds of reading results back from run folders: 1,000 runs of 10,000 logged points, the first time and again.

    python -m tests.benchmarks.read_back [--arms 200] [--seeds 5] [--points 10000]

The processor's seconds of this process, which hardly depend on what else the machine does, and the time that passed.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import analysis
from experiments.plan.loading import load_plan
from registry.runs.replicate import Replicate
from tests.fixtures.finished_runs import finish
from tests.fixtures.toy_replicates import TOY


def main() -> None:
    """Write made-up runs, and print what reading them takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--points", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = _write(Path(folder), asked.arms, asked.seeds, asked.points)
        print(f"{asked.arms} arms x {asked.seeds} seeds x {asked.points:,} points: processor seconds (passed)")
        e = analysis.load(file)
        measure("runs", lambda: e.runs)
        measure("curves, first time", lambda: e.curves("loss", "validation_loss"))
        found = measure("curves, again", lambda: e.curves("loss", "validation_loss"))
        assert len(found) == asked.arms * asked.seeds * asked.points


def measure(what: str, work: Callable[[], Any]) -> Any:
    """Do something, print what it took, and return what came of it."""
    processor, passed = time.process_time(), time.perf_counter()
    found = work()
    print(f"{what:20} {time.process_time() - processor:7.2f} ({time.perf_counter() - passed:.2f})", flush=True)
    return found


def _write(folder: Path, arms: int, seeds: int, points: int) -> Path:
    file = folder / "toy.yaml"
    rates = [round(1e-3 * (1 + 0.001 * number), 9) for number in range(arms)]
    text = TOY.replace("model.blocks: [variant_1, variant_4]", f"learning.learning_rate: {rates}")
    text = text.replace("seeds: [0, 1]", f"seeds: {list(range(seeds))}").split("claim:")[0]
    file.write_text(text, encoding="utf-8")
    lines = [
        json.dumps({"step": step, "time": 1.7e9 + step, "loss": 1 / (step + 1), "grad_norm": 0.5}
                   | ({"validation_loss": 0.3} if step % 100 == 0 else {}))
        for step in range(points)
    ]  # fmt: skip
    content = "\n".join(lines) + "\n"

    def score(replicate: Replicate) -> dict[str, float]:
        (replicate.training / "metrics.jsonl").write_text(content)
        return {"fvd[moving_shapes_r3d]": 1.0 + replicate.seed}

    finish(load_plan(file, (), folder / "runs"), score)
    return file


if __name__ == "__main__":
    main()
