"""Rows of the benchmark: several ways of doing one work, measured in turn in one process.

What is measured on a processor is the processor time of this process, so that other work on the machine changes little
of it; torch computes on one thread, or its time would be that of several. On a GPU it is the time by the clock. The
ways take turns, so that a machine that becomes slower meanwhile makes all of them slower; what counts is the median,
and the ratio of medians.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from components.memory import kept

SIDE = {"cpu": 1536, "cuda": 8192}  # of the matrices whose product is the machine's peak
BASELINE = "official"


@dataclass(frozen=True)
class Row:
    """One work, done in several ways.

    Attributes:
        work: what is done, in words.
        ways: by name, each of which does the work once when it is called; the one that is called "official", or else
            the first, is what the others are compared with.
        repetitions: how often each is measured, after one call that warms it up.
        macs: multiply-accumulates that the work needs; 0 where it is no arithmetic.
        halves: ways whose products are bfloat16, which have another peak.
        about: what the row says of itself in the JSON file.
    """

    work: str
    ways: Mapping[str, Callable[[], object]]
    repetitions: int = 5
    macs: int = 0
    halves: tuple[str, ...] = ("bf16",)
    about: Mapping[str, Any] = field(default_factory=dict)


def most_resident() -> int:
    """Return the most bytes that this process has had resident, without what its parent had before it started it.

    `getrusage` has the parent's in it, which a process takes along when another program is started in it.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


def peaks(device: torch.device) -> dict[str, float]:
    """Return the operations a second of the best of some large products, by precision; of one thread on a processor."""
    found, side = {}, SIDE[device.type]
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        found[name] = 2 * side**3 / min(_seconds(lambda a=left, b=right: a @ b, device) for _ in range(8))
    return found


def measured(row: Row, device: torch.device) -> dict[str, Any]:
    """Return what a row's ways take: seconds (median and all), ratio to the baseline, share of the peak."""
    before, taken = peaks(device), {name: list[float]() for name in row.ways}
    with kept(device):  # as in a training; it is the whole process's, so that the baseline has it as well
        for way in row.ways.values():
            way()
        for _ in range(row.repetitions):
            for name, way in row.ways.items():
                taken[name].append(_seconds(way, device))
    after = peaks(device)
    peak = {name: max(before[name], after[name]) for name in before}  # of the machine as it was meanwhile
    against = BASELINE if BASELINE in row.ways else next(iter(row.ways))
    base = statistics.median(taken[against])
    ways = {}
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        share = 2 * row.macs / median / peak["bf16" if name in row.halves else "fp32"]
        ways[name] = {"median": median, "ratio": base / median, "share": share or None, "seconds": seconds}
    return {"work": row.work, "against": against, "peak": peak, "macs": row.macs, "ways": ways, **row.about}


def shown(result: Mapping[str, Any]) -> list[str]:
    """Return the lines of the table for what `measured` gives."""
    lines = []
    for name, way in result["ways"].items():
        spread = (max(way["seconds"]) - min(way["seconds"])) / way["median"]
        share = f"{way['share']:.0%}" if way["share"] else "-"
        ratio = "1" if name == result["against"] else f"{way['ratio']:.2f}x"
        lines.append(f"| {result['work']} | {name} | {way['median']:.4g} s | {ratio} | {share} | ±{spread / 2:.0%} |")
    return lines


HEADER = [
    "| work | way | median | against the first | share of peak | spread |",
    "| --- | --- | ---: | ---: | ---: | ---: |",
]


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    if device.type == "cpu":
        began = time.process_time()
        call()
        return time.process_time() - began
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    call()
    torch.cuda.synchronize(device)
    return time.perf_counter() - began
