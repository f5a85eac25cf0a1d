"""Learning curves with every switch that makes a training step cheaper, against plain float32, over several seeds.

    python -m tests.benchmarks.curves [EXPERIMENT.yaml] [--seeds 4] [WORD …]

trains the baseline of an experiment (left out, the quickstart's, 200 steps) once each way for each seed and prints, for
each logged step, how far the curves are apart beside how far the seeds are. Both ways of a seed have the same weights
to begin with, the same batches, times and noise, so that what is between them is arithmetic alone. Nothing is sampled.
Compilation is not among the switches: it takes longer than these trainings do.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from experiments.plan.loading import load_plan
from experiments.training.trainer import train
from registry.runs.machine import ROOT
from tests.fixtures.toy_replicates import make_all, never, nothing, trainer_of

PLAIN = ("base.runtime.precision=fp32", "base.runtime.accumulation=1", "base.runtime.checkpointing=false")
SWITCHED = ("base.runtime.precision=bf16", "base.runtime.accumulation=2", "base.runtime.checkpointing=true")
CURVES = ("loss", "validation_loss")
Curve = Mapping[tuple[str, int], float]  # by name and step


def curves(path: Path, folder: Path, words: Sequence[str]) -> list[Curve]:
    """Return what each seed of the baseline logs when it is trained in the folder, with words in place of keys."""
    found = []
    for replicate in make_all(load_plan(path, words, folder / "runs", ("baseline",))):
        train(trainer_of(replicate), never, nothing)
        lines = replicate.metrics()
        found.append({(name, line["step"]): line[name] for line in lines for name in CURVES if name in line})
    return found


class Apart(NamedTuple):
    """A logged number: its mean in float32, mean and root mean square of what is between ways, seeds' deviation."""

    mean: float
    shift: float
    ways: float
    seeds: float


def compared(plain: Sequence[Curve], switched: Sequence[Curve]) -> dict[tuple[str, int], Apart]:
    """Return how far two ways are apart, by name and step; the curves of a seed stand at the same place in both."""
    found = {}
    for key in plain[0]:
        values = [curve[key] for curve in plain]
        apart = [other[key] - value for other, value in zip(switched, values, strict=True)]
        between = statistics.fmean(difference**2 for difference in apart) ** 0.5
        found[key] = Apart(statistics.fmean(values), statistics.fmean(apart), between, statistics.stdev(values))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("path", nargs="?", type=Path, default=ROOT / "experiments" / "quickstart.yaml")
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--seeds", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(1)
    words = (f"seeds={list(range(given.seeds))}", "base.runtime.validate_every=50", *given.words)
    with tempfile.TemporaryDirectory() as folder:
        plain, switched = (
            curves(given.path, Path(folder) / name, (*words, *how))
            for name, how in (("plain", PLAIN), ("switched", SWITCHED))
        )
    print("| curve | step | float32 | mean difference | between the ways | between seeds | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (name, step), (mean, shift, ways, seeds) in compared(plain, switched).items():
        print(f"| {name} | {step} | {mean:.4f} | {shift:+.5f} | {ways:.5f} | {seeds:.5f} | {ways / seeds:.2f} |")


if __name__ == "__main__":
    main()
