"""The state of the cluster: jobs and their tasks, in one file under one lock."""

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NODE = "localhost"
NAME = "fake"
PARTITIONS = ("main", "low")  # the first is the default
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
AWAY = "Unable to contact slurm controller (connect failure)"


class Refused(Exception):  # noqa: N818 (what Slurm does; the command prints it)
    """A request that is not granted: what the command prints on stderr, and its exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class Task:
    """One element of an array, or the only task of a job that is none."""

    raw: int = 0  # the job id of its own that an element gets when it starts
    state: str = "PENDING"
    ending: str = ""  # the state it will have when its processes are gone; REQUEUED: it will be pending again
    reason: str = "None"
    waited: str = "None"  # the last reason for which it was pending
    exit: str = "0:0"
    restarts: int = 0
    held: bool = False
    begin: float = 0.0
    start: float = 0.0
    end: float = 0.0
    keeper: int = 0  # the process that looks after it
    gpus: list[int] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.state == "RUNNING"

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def finish(self, state: str, code: str = "0:0") -> None:
        self.state, self.exit, self.end, self.ending, self.gpus = state, code, time.time(), "", []
        self.reason = "NonZeroExitCode" if state == "FAILED" else "None"

    def requeue(self, delay: float) -> None:
        """Pending again, not before `delay` seconds from now."""
        self.restarts += 1
        self.state, self.ending, self.reason, self.gpus = "PENDING", "", "BeginTime", []
        self.begin, self.exit = time.time() + delay, "0:0"


@dataclass
class Job:
    """What sbatch was asked for."""

    id: int
    name: str
    user: str
    partition: str
    folder: str
    output: str
    error: str
    truncate: bool
    comment: str
    minutes: float | None
    signal: int
    signal_before: float  # seconds before the time limit
    requeue: bool
    ntasks: int
    cpus_per_task: int
    cpus_per_task_given: bool
    gpus: int
    dependency: list[list[Any]]  # [kind, id, element or None]; all of them must be fulfilled
    kill_on_invalid_dependency: bool
    array: list[int]  # the indices, or none
    limit: int  # how many of an array may run at once; 0: any number
    submitted: float
    tasks: dict[str, Task]  # by index; a job without an array has one, ""

    @property
    def cpus(self) -> int:
        return self.ntasks * self.cpus_per_task

    def label(self, index: str) -> str:
        """The job id that squeue prints for a task."""
        return f"{self.id}_{index}" if self.array else str(self.id)


class Cluster:
    """The jobs, and where their files lie."""

    def __init__(self, folder: Path, stored: dict[str, Any]) -> None:
        self.folder = folder
        self.next: int = stored.get("next", int(time.time()) % 10_000_000 + 1)
        self.jobs: dict[int, Job] = {}
        for number, job in stored.get("jobs", {}).items():
            tasks = {index: Task(**task) for index, task in job.pop("tasks").items()}
            self.jobs[int(number)] = Job(**job, tasks=tasks)

    def text(self) -> str:
        return json.dumps({"next": self.next, "jobs": self.jobs}, default=vars)

    def new_id(self) -> int:
        self.next += 1
        return self.next - 1

    def tasks(self) -> Iterator[tuple[Job, str, Task]]:
        for job in self.jobs.values():
            for index, task in job.tasks.items():
                yield job, index, task

    def running(self) -> list[tuple[Job, str, Task]]:
        return [found for found in self.tasks() if found[2].running]

    def select(self, number: int, indices: list[int] | None) -> list[tuple[Job, str, Task]]:
        """The tasks that an id names: a job's, some elements of an array, or an element by its own id."""
        job = self.jobs.get(number)
        if job is None:
            return [found for found in self.tasks() if found[2].raw == number]
        if indices is None:
            return [(job, index, task) for index, task in job.tasks.items()]
        return [(job, str(index), job.tasks[str(index)]) for index in indices if str(index) in job.tasks]

    def steps(self, job: Job, index: str) -> Path:
        """A folder with a file for every process group of a running task, named by its number."""
        return self.folder / "steps" / job.label(index)

    def script(self, job: Job) -> Path:
        return self.folder / f"job-{job.id}.sh"

    def environment(self, job: Job) -> Path:
        return self.folder / f"job-{job.id}.env.json"


def folder() -> Path:
    if not (named := os.environ.get("FAKE_SLURM")):
        raise Refused("the fake Slurm keeps its state in the folder $FAKE_SLURM, which is not set")
    os.environ["FAKE_SLURM"] = os.path.abspath(named)  # for processes that start elsewhere
    return Path(os.environ["FAKE_SLURM"])


def size(name: str, default: int) -> int:
    """A number from the environment."""
    return int(os.environ.get(f"FAKE_SLURM_{name}") or default)


def cpus() -> int:
    return size("CPUS", os.cpu_count() or 1)


def kill_wait() -> int:
    """Seconds between SIGTERM and SIGKILL: as Slurm has it, since on a busy machine a job's last words take some."""
    return size("KILL_WAIT", 30)


@contextlib.contextmanager
def opened(away: str | None = None) -> Iterator[Cluster]:
    """The cluster for as long as one holds its lock; what was changed is written at the end.

    Args:
        away: what the command says where the cluster is down; None: it does not need the controller.

    Raises:
        Refused: the cluster is down.
    """
    where = folder()
    where.mkdir(parents=True, exist_ok=True)
    if away is not None and (where / "down").exists():
        raise Refused(away)
    state = where / "state.json"
    with (where / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = state.read_text(encoding="utf-8") if state.exists() else "{}"
        cluster = Cluster(where, json.loads(text))
        yield cluster
        if (now := cluster.text()) != text:
            fresh = state.with_suffix(".new")
            fresh.write_text(now, encoding="utf-8")
            fresh.replace(state)


def run(command: Any) -> None:
    """Run a command's function and exit as Slurm's would."""
    try:
        command(sys.argv[1:])
    except Refused as error:
        print(error, file=sys.stderr)
        sys.exit(error.code)
    except BrokenPipeError:
        sys.exit(1)
