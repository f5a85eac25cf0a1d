"""Who ran a training, runs it, or may submit it: numbered files that are made once and never removed.

The next number is taken by an exclusive hard link, which a shared file system such as NFS grants to one process only. A
dead owner is passed over by taking the number behind its own, so no lock can outlive whoever held it.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from registry.runs.files import write_new
from registry.runs.records import DamagedError, Owner, read_record

HEARTBEAT_EXPIRES = 600.0  # seconds after which an attempt on another host without a heartbeat is taken for dead
ATTEMPTS, SUBMISSIONS = "attempts", "submissions"  # folders of a training
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# Slurm job id -> its state there (RUNNING, PENDING, …), "" where Slurm has no such job any more, None if it did not say
Hint = Callable[[str], str | None]

Kind = TypeVar("Kind", bound=Owner)


def numbered(folder: Path) -> list[Path]:
    """Return the numbered files of a folder, oldest first; others are not ours."""
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".json") and name[:-5].isdecimal()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names, key=lambda name: int(name[:-5]))]  # 9999 before 10000


def latest(folder: Path, kind: type[Kind]) -> Kind | None:
    """Return the record with the highest number; one that cannot be read belongs to an unknown process just now."""
    files = numbered(folder)
    if not files:
        return None
    try:
        return read_record(files[-1], kind)
    except DamagedError:
        return kind(number=int(files[-1].stem), host="", pid=0, time=files[-1].stat().st_mtime)


def take(folder: Path, number: int, content: dict[str, Any]) -> Path:
    """Make the file of a number with its content, whole and at once.

    Raises:
        FileExistsError: another process has that number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:04d}.json"
    write_new(path, json.dumps({**content, "number": number}, indent=1) + "\n")
    return path


def this_process() -> dict[str, Any]:
    """Return what an attempt or a submission says of its owner: host, process, and its Slurm job."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "node": os.environ.get("SLURMD_NODENAME", socket.gethostname()),
        "pid": pid,
        "started": process_start(pid),
        "time": time.time(),
        "job": this_job(),
        "restart": int(os.environ.get("SLURM_RESTART_COUNT", 0)),
    }


def this_job() -> str | None:
    """Return the Slurm job of this process as `squeue` names it, such as 1234_5, or None."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def process_start(pid: int) -> str | None:
    """Return when a process of this host was started, or None where there is none of that number.

    On Linux the boot and the clock ticks since then, which no step of the clock changes.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return _start_elsewhere(pid) if not Path("/proc/self/stat").exists() else None
    fields = status.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else f"{_boot()} {fields[19]}"


@cache
def _boot() -> str:
    with contextlib.suppress(OSError):
        return BOOT_ID.read_text(encoding="ascii").strip()
    return ""


def _start_elsewhere(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def is_alive(owner: Owner | None, heartbeat: Path | None = None, hint: Hint | None = None) -> bool:
    """Return whether the process that made a numbered file is still at it.

    On the same host the process itself is asked. Of another host, Slurm's word that its job is gone or waits ends it;
    otherwise the heartbeat (or the file) must be recent. A time in the future, of a clock that is ahead, says nothing.

    Args:
        owner: the content of its file.
        heartbeat: a file whose time it keeps recent.
        hint: what Slurm says of jobs, if it was asked.
    """
    if owner is None or owner.ended is not None:
        return False
    if owner.host == socket.gethostname():
        return process_start(owner.pid) == owner.started
    if owner.job is not None and hint is not None and hint(owner.job) in ("", "PENDING"):
        return False
    now, times = time.time(), [owner.time]
    if heartbeat is not None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            times.append(heartbeat.stat().st_mtime)
    return any(abs(now - moment) < HEARTBEAT_EXPIRES for moment in times)
