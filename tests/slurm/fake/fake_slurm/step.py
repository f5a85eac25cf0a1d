"""The process that looks after one running task: starts its script, watches its time, ends it, notes how it ended."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fake_slurm.cluster import NAME, NODE, Cluster, Job, Task, kill_wait, opened, size
from fake_slurm.scheduling import REQUEUE_DELAY, schedule
from fake_slurm.signals import note, send, send_all

POLL = 0.05


def keep(number: int, index: str) -> None:
    """Run a task to its end, and start what may start then."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))  # by scancel and requeue, which have set `ending`
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    with opened() as cluster:
        job = cluster.jobs[number]
        task = job.tasks[index]
        steps = cluster.steps(job, index)
        process = _start(cluster, job, index, task)
        note(steps, process.pid, batch=True)
    warned, term, kill, looked, patience = False, 0.0, 0.0, 0.0, kill_wait()
    limit = warn = math.inf
    while process.poll() is None:
        now = time.time()
        if now - looked >= 1:  # for an update
            looked, (limit, warn) = now, _times(number, index)
        if now >= warn and not warned:
            send(steps, job.signal)
            warned = True
        if now >= limit and not asked:
            with opened() as cluster:
                found = cluster.jobs[number].tasks[index]
                found.ending = found.ending or "TIMEOUT"
            asked.append(1)
        if asked and not term:
            with opened():  # whoever asked has noted why: it may stand in the group that is about to be signalled
                term = now
            send_all(steps, signal.SIGTERM)
        if term and now - term >= patience and now - kill >= patience:
            kill = now
            send_all(steps, signal.SIGKILL)
        time.sleep(POLL)
    while term and send(steps, 0) and time.time() - term < patience:  # steps may outlive the script, for a while
        time.sleep(POLL)
    send_all(steps, signal.SIGKILL)
    with opened() as cluster:
        task = cluster.jobs[number].tasks[index]
        begin = _end(task, process.returncode)
        schedule(cluster)
    if begin:
        wake(begin)


def _times(number: int, index: str) -> tuple[float, float]:
    """When a running task's time is up, and when it is warned of that."""
    with opened() as cluster:
        job = cluster.jobs[number]
    if job.minutes is None:
        return math.inf, math.inf
    minute = size("MINUTE", 60)
    limit = job.tasks[index].start + job.minutes * minute
    return limit, limit - job.signal_before * minute / 60 if job.signal else math.inf


def wake(moment: float) -> None:
    """Schedule at a moment."""
    time.sleep(max(0.0, moment - time.time()) + POLL)
    with opened() as cluster:
        schedule(cluster)


def _end(task: Task, code: int) -> float:
    """Note how a task ended; returns when it may begin again, or 0."""
    if task.ending == "REQUEUED":
        task.requeue(REQUEUE_DELAY)
        return task.begin
    if task.ending:
        task.finish(task.ending)
    elif code == 0:
        task.finish("COMPLETED")
    else:  # as sacct prints it: exit code, and the signal that ended the script itself
        task.finish("FAILED", f"0:{-code}" if code < 0 else f"{code - 128 if code > 128 else code}:0")
    return 0.0


def _start(cluster: Cluster, job: Job, index: str, task: Task) -> "subprocess.Popen[bytes]":
    environment = json.loads(cluster.environment(job).read_text(encoding="utf-8")) | _variables(job, index, task)
    environment["FAKE_SLURM_STEPS"] = str(cluster.steps(job, index))
    mode = "wb" if job.truncate and not task.restarts else "ab"
    error = open_output(job.error, environment, mode, job.folder) if job.error != job.output else subprocess.STDOUT
    return subprocess.Popen(
        ["/bin/bash", str(cluster.script(job))],
        cwd=job.folder if Path(job.folder).is_dir() else "/tmp",
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=open_output(job.output, environment, mode, job.folder),
        stderr=error,
        start_new_session=True,
    )


def open_output(pattern: str, environment: dict[str, str], mode: str, folder: str) -> Any:
    """The file of an output pattern; where it cannot be opened, output is lost, as in Slurm."""
    job, array = environment["SLURM_JOB_ID"], environment.get("SLURM_ARRAY_JOB_ID")
    index = environment.get("SLURM_ARRAY_TASK_ID", "4294967294")
    meanings = {
        "j": job,
        "A": array or job,
        "a": index,
        "t": environment.get("SLURM_PROCID", "0"),
        "n": "0",
        "N": NODE,
        "x": environment["SLURM_JOB_NAME"],
        "u": environment["SLURM_JOB_USER"],
        "%": "%",
    }
    name, rest = "", pattern
    while rest:
        plain, percent, rest = rest.partition("%")
        name += plain
        if percent:
            name += meanings.get(rest[:1], "%" + rest[:1])
            rest = rest[1:]
    try:
        return (Path(folder) / name).open(mode)
    except OSError:
        return subprocess.DEVNULL


def _variables(job: Job, index: str, task: Task) -> dict[str, str]:
    """What Slurm sets in the environment of a job."""
    found: dict[str, Any] = {
        "SLURMD_NODENAME": NODE,
        "SLURM_CLUSTER_NAME": NAME,
        "SLURM_CPUS_ON_NODE": job.cpus,
        "SLURM_GTIDS": 0,
        "SLURM_JOBID": task.raw,
        "SLURM_JOB_CPUS_PER_NODE": job.cpus,
        "SLURM_JOB_ID": task.raw,
        "SLURM_JOB_NAME": job.name,
        "SLURM_JOB_NODELIST": NODE,
        "SLURM_JOB_NUM_NODES": 1,
        "SLURM_JOB_PARTITION": job.partition,
        "SLURM_JOB_UID": os.getuid(),
        "SLURM_JOB_USER": job.user,
        "SLURM_LOCALID": 0,
        "SLURM_NNODES": 1,
        "SLURM_NODEID": 0,
        "SLURM_NODELIST": NODE,
        "SLURM_NPROCS": job.ntasks,
        "SLURM_NTASKS": job.ntasks,
        "SLURM_NTASKS_PER_NODE": job.ntasks,
        "SLURM_PROCID": 0,
        "SLURM_SUBMIT_DIR": job.folder,
        "SLURM_SUBMIT_HOST": NODE,
        "SLURM_TASKS_PER_NODE": job.ntasks,
    }
    if job.cpus_per_task_given:
        found["SLURM_CPUS_PER_TASK"] = job.cpus_per_task
    if task.restarts:
        found["SLURM_RESTART_COUNT"] = task.restarts
    if job.array:
        found |= {
            "SLURM_ARRAY_JOB_ID": job.id,
            "SLURM_ARRAY_TASK_ID": index,
            "SLURM_ARRAY_TASK_COUNT": len(job.array),
            "SLURM_ARRAY_TASK_MIN": min(job.array),
            "SLURM_ARRAY_TASK_MAX": max(job.array),
        }
    if task.gpus:
        devices = ",".join(str(gpu) for gpu in task.gpus)
        found |= {
            "CUDA_VISIBLE_DEVICES": devices,
            "SLURM_JOB_GPUS": devices,
            "SLURM_GPUS_ON_NODE": len(task.gpus),
        }
    return {name: str(value) for name, value in found.items()}


if __name__ == "__main__":
    if sys.argv[1] == "wake":
        wake(float(sys.argv[2]))
    else:
        keep(int(sys.argv[2]), sys.argv[3])
