"""Memory of a training step, as `plan` predicts it and as a process of its own comes to hold it.

    python -m tests.benchmarks.step_memory [--rows NAME …]

prints a row for each work, and ends with 1 where a prediction is more than 15 % off. What is measured is the growth of
a process's resident memory from before the network is made to its peak over three steps on a CPU, what is loaded once
in a process left out. Once the C library gives every freed tensor back to the system, so that what is resident is what
is alive; and once it keeps them for the next ones as training has it, where gaps between what stays add to it.
"""

import argparse
import ctypes
import json
import resource
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

from registry.runs.machine import ROOT

M_MMAP_THRESHOLD = -3  # mallopt(3)
MOST = 0.15  # by which a prediction may be off
QUICKSTART, WEIZMANN = "experiments/quickstart.yaml", "experiments/weizmann.yaml"
LATTE = (
    *("experiments/latte/variants.yaml", "base.model.size=S"),
    *("base.learning.batch_size=1", "base.runtime.accumulation=1"),
)
WORK: dict[str, tuple[str, ...]] = {
    "quickstart, batch 64": (QUICKSTART, "base.learning.batch_size=64"),
    "quickstart, batch 64, bf16": (QUICKSTART, "base.learning.batch_size=64", "base.runtime.precision=bf16"),
    "quickstart, batch 256, 4 micro-batches": (
        QUICKSTART, "base.learning.batch_size=256", "base.runtime.accumulation=4",
    ),
    "Weizmann": (WEIZMANN,),
    "Weizmann, bf16": (WEIZMANN, "base.runtime.precision=bf16"),
    "Weizmann, batch 16, 2 micro-batches, bf16": (
        WEIZMANN, "base.learning.batch_size=16", "base.runtime.accumulation=2", "base.runtime.precision=bf16",
    ),
    "S/2, 16x4x32x32, batch 1": (*LATTE, "base.runtime.precision=fp32"),
    "S/2, 16x4x32x32, batch 1, bf16": LATTE,
    "S/2, 16x4x32x32, batch 1, checkpointing": (
        *LATTE, "base.runtime.precision=fp32", "base.runtime.checkpointing=true",
    ),
}  # fmt: skip


def measured(words: tuple[str, ...], keep: bool = False) -> dict[str, int]:
    """Return bytes predicted, and measured in a process of its own that keeps freed memory or gives it back."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.step_memory",
        "--inside",
        "keep" if keep else "give back",
        *words,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def inside(how: str, file: str, overrides: list[str]) -> None:
    """Predict and take the steps of an experiment's first arm in this process, and print both figures."""
    import torch

    from components.memory import kept
    from experiments.plan.loading import load_plan
    from experiments.plan.one_step import OneStep
    from experiments.plan.step_memory import step_memory
    from registry.schema.spec import Spec
    from tests.benchmarks.measuring import most_resident

    def steps(spec: Spec, times: int) -> None:
        step = OneStep(spec, device, ready=lambda model: model.initialise(torch.Generator().manual_seed(0)))
        for _ in range(times):
            step.take()

    spec, device = load_plan(Path(file), overrides).arms[0].spec, torch.device("cpu")
    torch.set_num_threads(1)
    predicted = step_memory(spec)
    if how != "keep":
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**16)
    update = {"batch_size": 1}
    if spec.learning.batch_size > 1:  # what torch and oneDNN load and compile once
        steps(spec.model_copy(update={"learning": spec.learning.model_copy(update=update)}), 1)
    before = _resident()
    with kept(device) if how == "keep" else nullcontext():
        steps(spec, 3)
        grown = most_resident() - before
    print(json.dumps({"predicted": predicted.peak, "measured": grown}))


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def main() -> int:
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], sys.argv[3], sys.argv[4:])
        return 0
    parser = argparse.ArgumentParser(description="Memory of a training step, predicted and measured.")
    parser.add_argument("--rows", nargs="*", default=list(WORK), choices=list(WORK))
    worst = 0.0
    print(
        "| training step | predicted | measured | off by | as training keeps it |\n| --- | ---: | ---: | ---: | ---: |"
    )
    for name in parser.parse_args().rows:
        found, kept = measured(WORK[name]), measured(WORK[name], keep=True)
        off = found["predicted"] / found["measured"] - 1
        worst = max(worst, abs(off))
        told = [f"{number / 1e6:,.0f} MB" for number in (found["predicted"], found["measured"], kept["measured"])]
        print(f"| {name} | {told[0]} | {told[1]} | {off:+.1%} | {told[2]} |", flush=True)
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
