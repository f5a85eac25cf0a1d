"""What this machine has for the workbench, and what is missing."""

import importlib.util
import json
import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from components.weights import KNOWN, find
from experiments.cli.console import table
from experiments.record import slurm_queue
from experiments.record.recording import PACKAGES
from registry.errors import RunError
from registry.experiment.clusters import clusters_file
from registry.paths import cache_folder
from registry.runs.machine import usable_cores


class Check(NamedTuple):
    what: str
    good: bool | None  # None: neither good nor bad, worth knowing
    found: str
    values: Mapping[str, Any] = {}  # what is found, for programs: versions, numbers, paths


def checks(runs: Path) -> list[Check]:
    """Every check; none of them writes."""
    return [*_packages(), *_devices(), *_slurm(), *weights(), _disk(runs)]


def _packages() -> list[Check]:
    found = [Check("Python", True, platform.python_version(), {"version": platform.python_version()})]
    for name in PACKAGES:
        try:
            found.append(Check(name, True, metadata.version(name), {"version": metadata.version(name)}))
        except metadata.PackageNotFoundError:
            needed = name not in ("decord", "latte-workbench")
            found.append(Check(name, False if needed else None, "not installed" + ("; run make env" if needed else "")))
    return found


def _devices() -> list[Check]:
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    from experiments.training.devices import computes_bfloat16

    cores, threads = usable_cores(), torch.get_num_threads()
    about = {"cores": cores, "threads": threads, "bf16": computes_bfloat16()}
    halves = "bf16" if about["bf16"] else "no bf16"
    found = [Check("CPU", True, f"{cores} cores, torch uses {threads} threads, {halves}", about)]
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            name = torch.cuda.get_device_name(number)
            values = {"name": name, "bf16": torch.cuda.is_bf16_supported()}
            found.append(Check(f"GPU {number}", True, f"{name}, {bf16}", values))
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
    values = {"cluster": found.name, "max_array": found.max_array}
    checks = [Check("Slurm", True, f"cluster {found.name}, arrays of at most {found.max_array}; {more}", values)]
    accounting = slurm_queue.accounting()
    told = "sacct answers" if accounting else "sacct does not answer; why a job died is not told then"
    return [*checks, Check("Slurm's accounting", True if accounting else None, told)]


def weights() -> list[Check]:
    """The published weights that parts may want, and which of them are on this machine."""
    found = []
    for name, known in KNOWN.items():
        try:
            path = find(name)
            found.append(Check(name, True, str(path), {"path": str(path), "bytes": path.stat().st_size}))
        except RunError:
            where = f"{cache_folder() / known.file}, or ${known.variable}"
            told = f"not here; {known.use}; `fetch-weights {name}` puts it to {where}"
            found.append(Check(name, None, told, {"path": None, "bytes": known.size or None}))
    return found


def _disk(runs: Path) -> Check:
    place = next(folder for folder in (runs.resolve(), *runs.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    good = free > 5 * 2**30 and os.access(place, os.W_OK)
    return Check("disk", good, f"{free / 2**30:.0f} GiB free at {place}", {"path": str(place), "free_bytes": free})


def show(found: Iterable[Check]) -> None:
    """Print checks as a table."""
    marks = {True: "ok", False: "MISSING", None: "-"}
    table(["", "what", "found"], [[marks[check.good], check.what, check.found] for check in found])


def as_json(found: Iterable[Check]) -> str:
    """Return checks for a program: `good` is null where a thing is neither good nor bad."""
    return json.dumps([{**check._asdict(), "values": dict(check.values)} for check in found], indent=1)
