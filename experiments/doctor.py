"""What this machine has for the workbench, and what is missing."""

import importlib.util
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from experiments.recording import PACKAGES


class Check(NamedTuple):
    what: str
    good: bool | None  # None: neither good nor bad, worth knowing
    found: str


def checks(runs: Path) -> list[Check]:
    """Every check; none of them writes."""
    return [*_packages(), *_devices(), *_programs(), _weights(), _disk(runs)]


def _packages() -> list[Check]:
    found = [Check("Python", True, platform.python_version())]
    for name in PACKAGES:
        try:
            found.append(Check(name, True, metadata.version(name)))
        except metadata.PackageNotFoundError:
            needed = name not in ("decord", "latte-workbench")
            found.append(Check(name, False if needed else None, "not installed" + ("; run make env" if needed else "")))
    return found


def _devices() -> list[Check]:
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = [Check("CPU", True, f"{cores} cores, torch uses {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            found.append(Check(f"GPU {number}", True, f"{torch.cuda.get_device_name(number)}, {bf16}"))
    else:
        found.append(Check("GPU", None, "none that torch can use; runtime.device=auto takes the CPU"))
    return found


def _programs() -> list[Check]:
    sbatch = shutil.which("sbatch")
    return [Check("Slurm", None, sbatch or "no sbatch on PATH; this version launches on this machine only")]


def _weights() -> Check:
    named = os.environ.get("LATTE_WORKBENCH_I3D")
    if named is None:
        return Check(
            "I3D weights",
            None,
            "LATTE_WORKBENCH_I3D is not set; scores are fvd[random_r3d] unless detector.weights names a file",
        )
    return Check("I3D weights", Path(named).is_file(), named)


def _disk(runs: Path) -> Check:
    place = next(folder for folder in (runs.resolve(), *runs.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free / 2**30
    return Check("disk", free > 5 and os.access(place, os.W_OK), f"{free:.0f} GiB free at {place}")
