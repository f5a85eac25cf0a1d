"""What this machine has for the workbench, and what is missing."""

import importlib.util
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from components.scoring.weights import KNOWN, cache_folder, find
from experiments.record import slurm_queue
from experiments.record.recording import PACKAGES
from registry.errors import RunError
from registry.experiment.clusters import clusters_file
from registry.runs.machine import usable_cores


class Check(NamedTuple):
    what: str
    good: bool | None  # None: neither good nor bad, worth knowing
    found: str


def checks(runs: Path) -> list[Check]:
    """Every check; none of them writes."""
    return [*_packages(), *_devices(), *_slurm(), *weights(), _disk(runs)]


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

    found = [Check("CPU", True, f"{usable_cores()} cores, torch uses {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            found.append(Check(f"GPU {number}", True, f"{torch.cuda.get_device_name(number)}, {bf16}"))
    else:
        found.append(Check("GPU", None, "none that torch can use; runtime.device=auto takes the CPU"))
    return found


def _slurm() -> list[Check]:
    try:
        found = slurm_queue.cluster()
    except RunError as error:
        return [Check("Slurm", None, str(error))]
    file = clusters_file()
    more = f"defaults from {file}" if file.exists() else f"no defaults for it ({file} is not there)"
    checks = [Check("Slurm", True, f"cluster {found.name}, arrays of at most {found.max_array}; {more}")]
    accounting = slurm_queue.accounting()
    told = "sacct answers" if accounting else "sacct does not answer; why a job died is not told then"
    return [*checks, Check("Slurm's accounting", True if accounting else None, told)]


def weights() -> list[Check]:
    """The published weights that parts may want, and which of them are on this machine."""
    found = []
    for name, known in KNOWN.items():
        try:
            found.append(Check(name, True, str(find(name))))
        except RunError:
            where = f"{cache_folder() / known.file}, or ${known.variable}"
            found.append(Check(name, None, f"not here; {known.use}; `fetch-weights {name}` puts it to {where}"))
    return found


def _disk(runs: Path) -> Check:
    place = next(folder for folder in (runs.resolve(), *runs.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free / 2**30
    return Check("disk", free > 5 and os.access(place, os.W_OK), f"{free:.0f} GiB free at {place}")
