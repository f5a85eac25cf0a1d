"""Who ran a replicate, runs it, or may submit it: numbered files that are made once and never removed.

The next number is taken by an exclusive hard link, which a shared file system such as NFS grants to one process only. A
dead owner is passed over by taking the number behind its own, so no lock can outlive whoever held it.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.runs.files import write_new

HEARTBEAT_EXPIRES = 600.0  # seconds after which an attempt on another host without a heartbeat is taken for dead
ATTEMPTS, SUBMISSIONS = "attempts", "submissions"  # folders in a run folder

# Slurm job id -> its state there (RUNNING, PENDING, …), "" where Slurm has no such job any more, None if it did not say
Hint = Callable[[str], str | None]


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file, or None where it is absent (or not yet whole)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def numbered(folder: Path) -> list[Path]:
    """The numbered files of a folder, oldest first."""
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".json") and name[0].isdigit()]
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names, key=lambda name: (len(name), name))]  # 9999 before 10000


def latest(folder: Path) -> dict[str, Any] | None:
    """The content of the numbered file with the highest number; an unreadable one belongs to somebody just now."""
    files = numbered(folder)
    if not files:
        return None
    return read_json(files[-1]) or {"number": int(files[-1].stem), "time": files[-1].stat().st_mtime, **_NOBODY}


_NOBODY: dict[str, Any] = {"host": "", "pid": 0, "started": None, "job": None, "restart": 0}


def take(folder: Path, number: int, content: dict[str, Any]) -> Path:
    """Make the file of a number with its content, whole and at once.

    Raises:
        FileExistsError: another process has that number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:04d}.json"
    write_new(path, json.dumps({"number": number, **content}, indent=1) + "\n")
    return path


def this_process() -> dict[str, Any]:
    """What an attempt or a submission says of its owner: host, process, and the Slurm job that it belongs to."""
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
    """The Slurm job of this process as `squeue` names it, such as 1234_5, or None."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def process_start(pid: int) -> float | None:
    """When a process of this host was started, or None where there is none of that number."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time(), 2)
    except psutil.Error:
        return None


def is_alive(owner: dict[str, Any] | None, heartbeat: Path | None = None, hint: Hint | None = None) -> bool:
    """Whether the process that made a numbered file is still at it.

    On the same host the process itself is asked. Of another host, Slurm's word that its job is gone or waits ends it;
    otherwise the heartbeat (or the file) must be recent.

    Args:
        owner: the content of its file.
        heartbeat: a file whose time it keeps recent.
        hint: what Slurm says of jobs, if it was asked.
    """
    if owner is None or "ended" in owner:
        return False
    if owner["host"] == socket.gethostname():
        return process_start(owner["pid"]) == owner["started"]
    if owner["job"] is not None and hint is not None and hint(owner["job"]) in ("", "PENDING"):
        return False
    recent = owner["time"]
    if heartbeat is not None:
        with contextlib.suppress(FileNotFoundError):
            recent = max(recent, heartbeat.stat().st_mtime)
    return time.time() - recent < HEARTBEAT_EXPIRES
