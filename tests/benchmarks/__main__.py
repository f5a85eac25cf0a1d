"""The benchmark: how fast ours is against plain code of the same arithmetic, and against the machine.

    python -m tests.benchmarks [ROW ...] [--json FILE] [--gpu]

prints one table and, with --json, writes all measurements with the machine, the versions and the date. Everything
is measured on one thread, as processor time, or with --gpu on the GPU by the clock; `measuring.py` says how, `rows.py`
and `data_rows.py` what.
"""

import argparse
import json
import platform
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from registry.runs.machine import processor_name
from tests.benchmarks import data_rows, rows
from tests.benchmarks.measuring import HEADER, measured, shown

ROWS = rows.ROWS | data_rows.ROWS


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the measurements depend on beside the code."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device),
        "processor": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "diffusers", "decord", "torchmetrics")},
    }


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"left out, all: {', '.join(ROWS)}")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--gpu", action="store_true", help="the same rows on the GPU; never run where this was written")
    given = parser.parse_args(words)
    if unknown := [name for name in given.rows if name not in ROWS]:
        parser.error(f"no row is called {unknown[0]}; there are {', '.join(ROWS)}")
    if given.gpu and not torch.cuda.is_available():
        parser.error("--gpu: torch finds no GPU here; leave it out for the processor")
    device = torch.device("cuda" if given.gpu else "cpu")
    torch.set_num_threads(1)
    about = machine(device)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print("\n".join(HEADER))
    results: list[dict[str, Any]] = []
    began = time.monotonic()
    for name in given.rows or ROWS:
        results.append(measured(ROWS[name](device), device))
        print("\n".join(shown(results[-1])), flush=True)
        if given.json is not None:  # what is measured stays, whatever becomes of the next row
            about["seconds"] = round(time.monotonic() - began)
            given.json.write_text(json.dumps({"machine": about, "rows": results}, indent=1) + "\n")
    for name in ("fp32", "bf16"):
        low, high = (pick(result["peak"][name] for result in results) / 1e9 for pick in (min, max))
        print(f"peak in {name}: {low:.0f} to {high:.0f} GFLOP/s")
    used = time.process_time() / 60
    print(f"took {(time.monotonic() - began) / 60:.1f} minutes, and {used:.1f} of one core")


if __name__ == "__main__":
    main()
