"""Which task may start, and starting it."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fake_slurm.cluster import PARTITIONS, Cluster, Job, Task, cpus, size
from fake_slurm.signals import send_all

HERE = Path(__file__).parent.parent
REQUEUE_DELAY = 1.0  # seconds until a requeued job may start; Slurm's cred_expire
MOST_RESTARTS = 5  # after so many a task that was lost once more is held


def schedule(cluster: Cluster) -> None:
    """Find the dead, settle dependencies, and start what may start; the cluster is locked."""
    for job, index, task in cluster.running():
        if not _kept(cluster, job, index):
            _lose(cluster, job, index, task)
    hold = os.environ.get("FAKE_SLURM_HOLD") == "1"
    busy = cluster.running()
    free_cpus = cpus() - sum(job.cpus for job, _, _ in busy)
    free_gpus = sorted(set(range(size("GPUS", 2))) - {gpu for _, _, task in busy for gpu in task.gpus})
    blocked: Job | None = None
    now = time.time()
    for job in sorted(cluster.jobs.values(), key=lambda job: (PARTITIONS.index(job.partition), job.id)):
        pending = [(index, task) for index, task in job.tasks.items() if task.state == "PENDING"]
        if not pending:
            continue
        settled = _dependency(cluster, job)
        at_once = sum(task.running for task in job.tasks.values())
        for index, task in pending:
            if task.held:
                task.reason = "JobHeldAdmin" if os.getuid() == 0 else "JobHeldUser"
            elif settled == "never":
                task.reason = "DependencyNeverSatisfied"
                if job.kill_on_invalid_dependency:
                    task.finish("CANCELLED")
                    task.reason = "DependencyNeverSatisfied"
            elif settled == "later":
                task.reason = "Dependency"
            elif task.begin > now:
                task.reason = "BeginTime"
            elif job.cpus > cpus():
                task.reason = "PartitionConfig"
            elif job.limit and at_once >= job.limit:
                task.reason = "JobArrayTaskLimit"
            elif hold or job.cpus > free_cpus or job.gpus > len(free_gpus):
                blocked = blocked or job
                task.reason = "Resources" if blocked is job else "Priority"
            else:
                task.gpus, free_gpus = free_gpus[: job.gpus], free_gpus[job.gpus :]
                free_cpus -= job.cpus
                at_once += 1
                _start(cluster, job, index, task)
            if task.state == "PENDING":
                task.waited = task.reason


def wake_at(moment: float) -> None:
    """See to it that somebody schedules at a moment, in a process of its own."""
    command = [sys.executable, "-ES", "-m", "fake_slurm.step", "wake", str(moment)]
    _background(command, ())


def _dependency(cluster: Cluster, job: Job) -> str:
    """Whether a job's dependencies let it start: "now", "later" or "never". A job that is not known has ended well."""
    answer = "now"
    for kind, number, element in job.dependency:
        tasks = [task for _, _, task in cluster.select(number, None if element is None else [element])]
        ended = all(task.ended for task in tasks)
        well = all(task.state == "COMPLETED" for task in tasks)
        if kind == "afterok" and any(task.ended and task.state != "COMPLETED" for task in tasks):
            return "never"
        if kind == "afternotok" and tasks and ended and well:
            return "never"
        if kind == "after":
            ended = all(task.ended or task.running for task in tasks)
        if not ended:
            answer = "later"
    return answer


def _start(cluster: Cluster, job: Job, index: str, task: Task) -> None:
    if not task.raw:  # the last element to start keeps the array's own id
        others = [other for other in job.tasks.values() if other is not task and not other.raw]
        task.raw = cluster.new_id() if others else job.id
    task.state, task.reason, task.start, task.end = "RUNNING", "None", time.time(), 0.0
    steps = cluster.steps(job, index)
    steps.mkdir(parents=True, exist_ok=True)
    for old in steps.iterdir():  # `kept` too: the keeper of the last run may still live
        old.unlink()
    with (steps / "kept").open("a") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)  # the keeper inherits it, and has it for as long as it lives
        command = [sys.executable, "-ES", "-m", "fake_slurm.step", "keep", str(job.id), index]
        task.keeper = _background(command, (kept.fileno(),))


def _background(command: list[str], descriptors: tuple[int, ...]) -> int:
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until it is ready to be asked
    try:
        with (Path(os.environ["FAKE_SLURM"]) / "log").open("a") as log:
            process = subprocess.Popen(
                command,
                cwd=HERE,
                pass_fds=descriptors,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
    process.returncode = 0  # nobody waits for it
    return process.pid


def _kept(cluster: Cluster, job: Job, index: str) -> bool:
    """Whether somebody still looks after a running task."""
    with (cluster.steps(job, index) / "kept").open("a") as kept:
        try:
            fcntl.flock(kept, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _lose(cluster: Cluster, job: Job, index: str, task: Task) -> None:
    """A task whose keeper was killed: the node has failed."""
    send_all(cluster.steps(job, index), signal.SIGKILL)
    if task.ending not in ("", "REQUEUED"):
        task.finish(task.ending)
    elif job.requeue:
        task.requeue(REQUEUE_DELAY)
        task.held = task.restarts >= MOST_RESTARTS
        wake_at(task.begin)
    else:
        task.finish("NODE_FAIL")
