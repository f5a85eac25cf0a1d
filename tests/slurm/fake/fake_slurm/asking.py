"""squeue, sacct and sinfo: the state in their formats."""

import os
import re
import time
from collections.abc import Callable, Iterator

from fake_slurm import words
from fake_slurm.cluster import AWAY, NODE, PARTITIONS, Cluster, Job, Refused, Task, cpus, opened, size
from fake_slurm.scheduling import schedule

Row = tuple[Job, str, list[str], Task]  # a job, an id as it is printed, the elements it stands for, one of them
SHORT = {
    **{"PENDING": "PD", "RUNNING": "R", "COMPLETING": "CG", "COMPLETED": "CD", "FAILED": "F", "CANCELLED": "CA"},
    **{"TIMEOUT": "TO", "NODE_FAIL": "NF"},
}
QUEUED = ("PENDING", "RUNNING", "COMPLETING")


def _queue_state(task: Task) -> str:
    return "COMPLETING" if task.ending else task.state


def _rows(job: Job, apart: bool) -> Iterator[Row]:
    """A job's tasks; the elements that never started together, by what they wait for, unless they are wanted apart."""
    groups: dict[str, list[str]] = {}
    for index, task in job.tasks.items():
        together = job.array and not apart and not task.raw and task.state in ("PENDING", "CANCELLED")
        groups.setdefault(f"{task.state} {task.reason}" if together else index, []).append(index)
    for indices in groups.values():
        if len(indices) == 1:
            label = job.label(indices[0])
        else:
            share = f"%{job.limit}" if job.limit else ""
            label = f"{job.id}_[{words.ranges(int(index) for index in indices)}{share}]"
        yield job, label, indices, job.tasks[indices[0]]


def _stamp(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(moment)) if moment else "N/A"


def _limit(job: Job) -> str:
    return "UNLIMITED" if job.minutes is None else words.clock(job.minutes * 60)


def _elapsed(task: Task) -> float:
    return 0.0 if not task.start or task.state == "PENDING" else (task.end or time.time()) - task.start


def _node(task: Task) -> str:
    return NODE if task.start and task.state != "PENDING" else ""


QUEUE: dict[str, tuple[str, Callable[[Row], object]]] = {
    "i": ("JOBID", lambda row: row[1]),
    "A": ("JOBID", lambda row: row[3].raw or row[0].id),
    "F": ("ARRAY_JOB_ID", lambda row: row[0].id),
    "K": ("ARRAY_TASK_ID", lambda row: row[1].partition("_")[2].strip("[]") or "N/A"),
    "T": ("STATE", lambda row: _queue_state(row[3])),
    "t": ("ST", lambda row: SHORT[_queue_state(row[3])]),
    "N": ("NODELIST", lambda row: _node(row[3])),
    "r": ("REASON", lambda row: row[3].reason),
    "R": ("NODELIST(REASON)", lambda row: _node(row[3]) or f"({row[3].reason})"),
    "j": ("NAME", lambda row: row[0].name),
    "P": ("PARTITION", lambda row: row[0].partition),
    "u": ("USER", lambda row: row[0].user),
    "M": ("TIME", lambda row: words.clock(_elapsed(row[3]))),
    "l": ("TIME_LIMIT", lambda row: _limit(row[0])),
    "k": ("COMMENT", lambda row: row[0].comment or "(null)"),
    "D": ("NODES", lambda row: 1),
    "C": ("CPUS", lambda row: row[0].cpus),
    "S": ("START_TIME", lambda row: _stamp(row[3].start if row[3].state != "PENDING" else 0)),
    "V": ("SUBMIT_TIME", lambda row: _stamp(row[0].submitted)),
}


def squeue(argv: list[str]) -> None:
    names = {"me": "", "noheader": "h", "array": "r", "format": "o=", "jobs": "j=", "states": "t=", "user": "u="}
    options, rest = words.parse("squeue", argv, names | {"partition": "p=", "name": "n="}, mixed=True)
    if rest:
        raise Refused(f"squeue: error: Unrecognized option: {rest[0]}")
    wanted = [name.upper() for name in options.get("states", "").split(",") if name]
    states = {long for long, short in SHORT.items() if not wanted or {"ALL", long, short} & set(wanted)}
    if not wanted:
        states &= set(QUEUED)
    with opened(f"slurm_load_jobs error: {AWAY}") as cluster:
        schedule(cluster)
    rows = [row for job in cluster.jobs.values() for row in _rows(job, "array" in options)]
    if "jobs" in options:
        rows = _of_ids(cluster, options["jobs"], rows)
    for option, value in (("user", lambda job: job.user), ("partition", lambda job: job.partition)):
        if option in options:
            rows = [row for row in rows if value(row[0]) in options[option].split(",")]
    if "name" in options:
        rows = [row for row in rows if row[0].name in options["name"].split(",")]
    rows = [row for row in rows if _queue_state(row[3]) in states]
    rows.sort(key=lambda row: row[3].state != "PENDING")
    pattern = options.get("format", "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R")
    if "noheader" not in options:
        print(_filled(pattern, lambda letter: QUEUE[letter][0]))
    for row in rows:
        print(_filled(pattern, lambda letter, row=row: QUEUE[letter][1](row)))


def _of_ids(cluster: Cluster, text: str, rows: list[Row]) -> list[Row]:
    asked = words.job_ids([text], "squeue: error: Invalid job id: ")
    found = {(job.id, index) for _, number, some in asked for job, index, _ in cluster.select(number, some)}
    if len(asked) == 1 and not found:
        raise Refused("slurm_load_jobs error: Invalid job id specified")
    return [row for row in rows if any((row[0].id, index) in found for index in row[2])]


def _filled(pattern: str, value: Callable[[str], object]) -> str:
    """A line of a format of squeue or sinfo: %T, %10T (cut or filled), %.10T (to the right)."""

    def field(match: "re.Match[str]") -> str:
        right, width, letter = match.groups()
        try:
            text = str(value(letter))
        except KeyError:
            raise Refused(f"this fake Slurm has no field %{letter}") from None
        if not width:
            return text
        return (text.rjust if right else text.ljust)(int(width))[: int(width)]

    return re.sub(r"%(\.?)(\d*)([A-Za-z])", field, pattern)


def _accounted(row: Row) -> str:
    state = row[3].ending or row[3].state
    return f"CANCELLED by {os.getuid()}" if state == "CANCELLED" and row[3].reason == "None" else state


ACCOUNT: dict[str, Callable[[Row], object]] = {
    "JobID": lambda row: row[1],
    "JobIDRaw": lambda row: row[3].raw or row[0].id,
    "JobName": lambda row: row[0].name,
    "Partition": lambda row: row[0].partition,
    "Account": lambda row: row[0].user,
    "User": lambda row: row[0].user,
    "AllocCPUS": lambda row: row[0].cpus,
    "State": _accounted,
    "ExitCode": lambda row: row[3].exit,
    "NodeList": lambda row: _node(row[3]) or "None assigned",
    "Reason": lambda row: row[3].waited,
    "Elapsed": lambda row: time.strftime("%H:%M:%S", time.gmtime(_elapsed(row[3]))),
    "Submit": lambda row: _stamp(row[0].submitted),
    "Start": lambda row: _stamp(row[3].start).replace("N/A", "Unknown"),
    "End": lambda row: _stamp(row[3].end).replace("N/A", "Unknown"),
    "Comment": lambda row: row[0].comment,
}


def sacct(argv: list[str]) -> None:
    names = {"allocations": "X", "noheader": "n", "parsable2": "P", "parsable": "p", "jobs": "j=", "format": "o="}
    names |= {"user": "u=", "starttime": "S=", "endtime": "E=", "allusers": "a"}
    joined = _joined(argv)
    options, rest = words.parse("sacct", joined, names, mixed=True, hint=False)
    if rest:
        raise Refused(f"sacct: error: Unrecognized option: {rest[0]}")
    fields = options.get("format", "JobID,JobName,Partition,Account,AllocCPUS,State,ExitCode").split(",")
    known = {name.lower(): name for name in ACCOUNT}
    for name in fields:
        if name.partition("%")[0].lower() not in known:
            raise Refused(f'sacct: fatal: Invalid field requested: "{name}"')
    columns = [known[name.partition("%")[0].lower()] for name in fields]
    with opened() as cluster:
        schedule(cluster)
    rows = [row for job in cluster.jobs.values() for row in _rows(job, False)]
    if "jobs" in options:
        found = {
            (job.id, index)
            for _, number, some in words.job_ids([options["jobs"]], "sacct: fatal: Bad job/step specified: ")
            for job, index, _ in cluster.select(number, some)
        }
        rows = [row for row in rows if any((row[0].id, index) in found for index in row[2])]
    lines = [] if "noheader" in options else [columns]
    for row in rows:
        lines.append([str(ACCOUNT[column](row)) for column in columns])
        if "allocations" not in options and _node(row[3]):
            for step in ("batch", "0"):
                own = {"JobID": f"{row[1]}.{step}", "JobName": step, "Partition": "", "Reason": ""}
                lines.append([own.get(column, str(ACCOUNT[column](row)).partition(" by")[0]) for column in columns])
    for line in lines:
        if "parsable2" in options or "parsable" in options:
            print("|".join(line) + ("|" if "parsable" in options else ""))
        else:
            print(" ".join(f"{cell[:20]:>10}" for cell in line))


def _joined(argv: list[str]) -> list[str]:
    """All -j arguments as one: sacct takes several."""
    ids: list[str] = []
    others: list[str] = []
    words_left = list(argv)
    while words_left:
        word = words_left.pop(0)
        if word in ("-j", "--jobs") and words_left:
            ids.append(words_left.pop(0))
        elif word.startswith("--jobs="):
            ids.append(word.partition("=")[2])
        elif word.startswith("-j"):
            ids.append(word[2:])
        else:
            others.append(word)
    return [*others, f"--jobs={','.join(ids)}"] if ids else others


def sinfo(argv: list[str]) -> None:
    names = {"noheader": "h", "format": "o=", "partition": "p=", "Node": "N", "version": "V"}
    options, _ = words.parse("sinfo", argv, names, mixed=True)
    if "version" in options:
        print("slurm-fake 22.05.8")
        return
    with opened(f"slurm_load_partitions: {AWAY}") as cluster:
        schedule(cluster)
    used = sum(job.cpus for job, _, _ in cluster.running())
    short = {"mixed": "mix", "allocated": "alloc"}
    state = "idle" if not used else "mixed" if used < cpus() else "allocated"
    heads = {"P": "PARTITION", "a": "AVAIL", "l": "TIMELIMIT", "D": "NODES", "T": "STATE", "t": "STATE"}
    heads |= {"N": "NODELIST", "G": "GRES", "c": "CPUS", "m": "MEMORY"}
    pattern = options.get("format", "%9P %.5a %.10l %.6D %.6t %N")
    if "noheader" not in options:
        print(_filled(pattern, lambda letter: heads[letter]))
    limit = os.environ.get("FAKE_SLURM_LIMIT", "infinite")
    for number, name in enumerate(PARTITIONS):
        if name in options.get("partition", name).split(","):
            star = "" if number or "partition" in options else "*"
            gres = f"gpu:{size('GPUS', 2)}" if size("GPUS", 2) else "(null)"
            values = {
                "P": name + star,
                "a": "up",
                "l": limit,
                "D": 1,
                "T": state,
                "t": short.get(state, state),
            }
            values |= {"N": NODE, "G": gres, "c": cpus(), "m": 16000}
            print(_filled(pattern, lambda letter, values=values: values[letter]))
