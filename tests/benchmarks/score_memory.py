"""Memory of `score` as clips grow: 2,000 against 20,000 synthetic clips, each scored by a process of its own.

    python -m tests.benchmarks.score_memory [--clips 2000 20000] [--processes 1]

prints the peak resident memory of the scoring process (and with more processes that of the largest) and its ratio, and
ends with 1 where ten times the clips take more than 5 % more.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from registry.runs.machine import ROOT

FRAMES, SIDE, PER_FILE = 8, 32, 500
MOST = 1.05  # times the memory of fewer clips


def write_clips(folder: Path, clips: int, seed: int) -> None:
    """Random moving squares, uint8 (n, F, H, W, 3) a file."""
    folder.mkdir(parents=True)
    stream = np.random.default_rng(seed)
    for first in range(0, clips, PER_FILE):
        count = min(PER_FILE, clips - first)
        made = np.zeros((count, FRAMES, SIDE, SIDE, 3), np.uint8)
        for clip, (x, y), colour in zip(
            made, stream.integers(0, 16, (count, 2)), stream.integers(60, 256, (count, 3)), strict=True
        ):
            for frame in range(FRAMES):
                clip[frame, y : y + 10, x + frame : x + frame + 10] = colour
        np.save(folder / f"clips-{first:06d}.npy", made)


def peak(clips: int, processes: int) -> dict[str, float]:
    """MiB at the peak of a process that scores so many clips on either side, and with several that of the largest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side, seed in (("fake", 0), ("real", 1)):
            write_clips(folder / side, clips, seed)
        words = [
            str(folder / "fake"),
            "--against",
            str(folder / "real"),
            "--runs",
            str(folder / "runs"),
            "--processes",
            str(processes),
            f"frames={FRAMES}",
            f"real_clips={clips}",
            f"fake_clips={clips}",
        ]
        command = [sys.executable, "-m", "tests.benchmarks.score_memory", "--inside", *words]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found


def inside(words: list[str]) -> None:
    """Score in this process and print its peak."""
    import run
    from tests.benchmarks.measuring import most_resident

    run.app(["score", *words], standalone_mode=False)
    found = {"scoring process": most_resident() / 2**20}
    if words[words.index("--processes") + 1] != "1":
        found["largest measuring process"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps(found))


def main() -> int:
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, nargs=2, default=(2000, 20000))
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    few, many = (peak(clips, given.processes) for clips in given.clips)
    for key in few:
        told = f"{few[key]:.1f} MiB at {given.clips[0]:,} clips, {many[key]:.1f} MiB at {given.clips[1]:,}"
        print(f"{key}: {told}; ratio {many[key] / few[key]:.3f}")
    return int(any(many[key] > MOST * few[key] for key in few))


if __name__ == "__main__":
    sys.exit(main())
