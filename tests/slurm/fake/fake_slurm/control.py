"""scancel and scontrol: end jobs, signal them, requeue, hold, release and update them, and show the configuration."""

import contextlib
import os
import signal
import sys
import time

from fake_slurm import words
from fake_slurm.asking import SHORT
from fake_slurm.cluster import AWAY, NAME, Cluster, Job, Refused, Task, kill_wait, opened, size
from fake_slurm.scheduling import REQUEUE_DELAY, schedule, wake_at
from fake_slurm.signals import send


def scancel(argv: list[str]) -> None:
    names = {"signal": "s=", "user": "u=", "me": "", "name": "n=", "state": "t=", "partition": "p=", "batch": "b"}
    options, ids = words.parse("scancel", argv, names | {"full": "f", "quiet": "Q", "hurry": "H"}, mixed=True)
    chosen = {"user", "me", "name", "state", "partition"} & set(options)
    if not ids and not chosen:
        raise Refused("scancel: error: No job identification provided")
    asked = words.job_ids(ids, "scancel: error: Invalid job id ") if ids else []
    try:
        number = words.signal_number(options["signal"]) if "signal" in options else signal.SIGKILL
    except ValueError:
        raise Refused(f"scancel: error: Unknown job signal: {options['signal']}") from None
    refused = []
    first = asked[0][0] if asked else ""
    with opened(f"scancel: error: Kill job error on job id {first}: {AWAY}") as cluster:
        found = [task for _, job, some in asked for task in cluster.select(job, some)] if asked else [*cluster.tasks()]
        for job, index, task in found:
            if task.ended or not _matches(job, task, options):
                continue
            if "signal" not in options or number == signal.SIGKILL:
                _end(task, "CANCELLED")
            elif task.running:
                send(cluster.steps(job, index), number)
                if "batch" in options or "full" in options:
                    send(cluster.steps(job, index), number, batch=True)
            else:
                refused.append(job.label(index))
        schedule(cluster)
    for label in refused:
        print(
            f"scancel: error: Kill job error on job id {label}: Job can not be altered now, try again later",
            file=sys.stderr,
        )
    if refused:
        sys.exit(1)


def _matches(job: Job, task: Task, options: words.Options) -> bool:
    states = options.get("state", task.state).upper().split(",")
    return (
        options.get("user", job.user) == job.user
        and options.get("name", job.name) == job.name
        and options.get("partition", job.partition) == job.partition
        and (task.state in states or SHORT[task.state] in states)
    )


def _end(task: Task, how: str) -> None:
    """Have a task ended by its keeper, or at once where it has none."""
    if task.running:
        task.ending = how
        with contextlib.suppress(ProcessLookupError):  # one that is lost; scheduling sees to it
            os.kill(task.keeper, signal.SIGTERM)
    else:
        task.finish(how)
        task.start = 0.0


def scontrol(argv: list[str]) -> None:
    options, rest = words.parse("scontrol", argv, {"oneliner": "o", "details": "d"}, mixed=True)
    if not rest:
        raise Refused("this fake Slurm wants a command after scontrol")
    verb, *ids = rest
    if verb == "ping":
        with opened("Slurmctld(primary) at localhost is DOWN"):
            print("Slurmctld(primary) at localhost is UP")
    elif verb == "show":
        _show(ids, "oneliner" in options)
    elif verb == "update":
        _update(ids)
    elif verb in ("requeue", "hold", "release"):
        if not ids:
            raise Refused(f"too few arguments for keyword:{verb}")
        _change(verb, ids)
    else:
        raise Refused(f"invalid keyword: {verb}")


def _change(verb: str, ids: list[str]) -> None:
    problems = []
    with opened(f"Unexpected message received for job {ids[0]}") as cluster:
        for written, number, some in words.job_ids(ids, "Invalid job id "):
            found = cluster.select(number, some)
            if not found:
                problems.append((written, "Invalid job id specified"))
            for job, index, task in found:
                if verb == "requeue":
                    if problem := _requeue(job, task):
                        problems.append((job.label(index), problem))
                elif task.state == "PENDING":
                    task.held = verb == "hold"
                else:
                    problems.append((job.label(index), "Job is no longer pending execution"))
        schedule(cluster)
    for label, problem in problems:
        print(f"{label}: {problem}" if "_" in label else f"{problem} for job {label}", file=sys.stderr)
    if problems:
        sys.exit(1)


def _update(settings: list[str]) -> None:
    """Change a job's time limit; that of an array's element is that of the whole array here."""
    given = dict(setting.partition("=")[::2] for setting in settings)
    if given.keys() != {"JobId", "TimeLimit"}:
        raise Refused("this fake Slurm updates the TimeLimit of a JobId, and nothing else")
    with opened(f"Unexpected message received for job {given['JobId']}") as cluster:
        ((written, number, some),) = words.job_ids([given["JobId"]], "Invalid job id ")
        found = cluster.select(number, some)
        if not found:
            raise Refused(f"Invalid job id specified for job {written}")
        if all(task.ended for _, _, task in found):
            raise Refused(f"Job has already finished for job {written}")
        try:
            found[0][0].minutes = words.minutes(given["TimeLimit"])
        except ValueError:
            raise Refused("Invalid TimeLimit value") from None


def _requeue(job: Job, task: Task) -> str:
    """Requeue a task that runs or has ended; returns why not."""
    if task.state == "PENDING" or task.ending == "REQUEUED":
        return "Job is pending execution"
    if not job.requeue:
        return "Requested operation is presently disabled"
    if task.running:
        _end(task, "REQUEUED")
    else:
        task.requeue(REQUEUE_DELAY)
        wake_at(task.begin)
    return ""


def _show(ids: list[str], one_line: bool) -> None:
    what, *which = ids or [""]
    if what in ("config", "conf"):
        with opened(f"slurm_load_ctl_conf error: {AWAY}"):
            print(time.strftime("Configuration data as of %Y-%m-%dT%H:%M:%S"))
        for name, value in (
            ("ClusterName", NAME),
            ("KillWait", f"{kill_wait()} sec"),
            ("MaxArraySize", size("MAX_ARRAY", 1001)),
        ):
            print(f"{name:<23} = {value}")
        print("SLURM_VERSION           = 22.05.8\n")
    elif what in ("job", "jobs"):
        with opened(f"slurm_load_jobs error: {AWAY}") as cluster:
            schedule(cluster)
        found = [*cluster.tasks()]
        if which:
            asked = words.job_ids(which, "Invalid job id ")
            found = [task for _, job, some in asked for task in cluster.select(job, some)]
        if which and not found:
            raise Refused("slurm_load_jobs error: Invalid job id specified")
        for job, index, task in found:
            print(_described(cluster, job, index, task).replace("\n  ", "" if one_line else "\n  "))
    else:
        raise Refused(f"invalid entity:{what} for keyword:show")


def _described(cluster: Cluster, job: Job, index: str, task: Task) -> str:
    array = f"ArrayJobId={job.id} ArrayTaskId={index} " if job.array else ""
    return (
        f"JobId={task.raw or job.id} {array}JobName={job.name}\n"
        f"   JobState={'COMPLETING' if task.ending else task.state} Reason={task.reason}\n"
        f"   Requeue={int(job.requeue)} Restarts={task.restarts} ExitCode={task.exit}\n"
        f"   Partition={job.partition} Comment={job.comment}\n"
        f"   Command={cluster.script(job)} WorkDir={job.folder}\n"
    )
