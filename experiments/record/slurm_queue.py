"""What Slurm says of jobs, as a hint: run folders are the truth, and a Slurm that does not answer changes nothing."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from registry.errors import RunError

SECONDS = 60.0  # that a command of Slurm may take
DEFAULT_MAX_ARRAY = 1001


class Job(NamedTuple):
    """A job as squeue lists it."""

    state: str
    nodes: str
    reason: str


class Ending(NamedTuple):
    """How a job ended, as the accounting has it."""

    state: str
    exit_code: str
    nodes: str
    reason: str

    def __str__(self) -> str:
        more = [f"exit code {self.exit_code}"] if self.exit_code not in ("", "0:0") else []
        more += [f"on {self.nodes}"] if self.nodes and self.nodes != "None assigned" else []
        return f"Slurm says {self.state}" + (f" ({', '.join(more)})" if more else "")


@dataclass(frozen=True)
class Queue:
    """The jobs asked about, as they were at one moment.

    Args:
        asked: base ids, such as 123 for 123_4; of others it says nothing.
        jobs: those that wait or run.
        answered: whether Slurm said anything.
    """

    asked: frozenset[str] = frozenset()
    jobs: Mapping[str, Job] = field(default_factory=dict)
    answered: bool = True

    def hint(self, job: str) -> str | None:
        """The state of a job, "" where Slurm has it no more, None where it was not asked or did not answer."""
        if not self.answered or base(job) not in self.asked:
            return None
        found = self.jobs.get(job)
        return found.state if found else ""


class Cluster(NamedTuple):
    """What a cluster is called, and the most elements of one array."""

    name: str
    max_array: int


def base(job: str) -> str:
    """The id of a job or of the array that it belongs to."""
    return job.split("_")[0]


def ask(jobs: Iterable[str]) -> Queue:
    """What squeue says of jobs, in one call."""
    asked = frozenset(base(job) for job in jobs)
    if not asked:
        return Queue()
    done = _run("squeue", "--noheader", "--array", "--format=%i|%T|%N|%r", f"--jobs={','.join(sorted(asked))}")
    if done is None or (done.returncode and "Invalid job id" not in done.stderr):
        return Queue(asked, {}, answered=False)
    lines = [line.strip().split("|", 3) for line in done.stdout.splitlines() if line.count("|") >= 3]
    return Queue(asked, {number: Job(*rest) for number, *rest in lines})


def hint(job: str) -> str | None:
    """The state of one job, asked now."""
    return ask([job]).hint(job)


def endings(jobs: Iterable[str]) -> dict[str, Ending]:
    """How jobs ended, by their ids, as far as the accounting knows.

    Elements of an array that never began stand there together, as 123_[2-5%2] or as 123.
    """
    wanted = set(jobs)
    if not wanted:
        return {}
    words = ["--allocations", "--noheader", "--parsable2", "--format=JobID,State,ExitCode,NodeList,Reason"]
    done = _run("sacct", "-j", ",".join(sorted({base(job) for job in wanted})), *words)
    if done is None or done.returncode:
        return {}
    found: dict[str, Ending] = {}
    for line in done.stdout.splitlines():
        if line.count("|") >= 4:
            name, *rest = line.split("|", 4)
            found |= dict.fromkeys(elements(name), Ending(*rest))
    return {job: found.get(job) or found[base(job)] for job in wanted if job in found or base(job) in found}


def failed_beside(does: str, job: str, told: Ending | None, log: Path) -> str:
    """That a job beside the replicates has failed, with its last words."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    words = [line for line in lines if line.strip() and not line.startswith(("submitit ", "next: "))]
    return f"the job that {does}, {job}: {told or 'ended'}: {words[-1] if words else 'it left no word'}; see {log}"


def elements(name: str) -> list[str]:
    """The jobs that a name of the accounting stands for: 7_2 and 7_4 for 7_[2,4%1]; of `...`, which cuts it, none."""
    array, bracket, rest = name.partition("_[")
    if not bracket:
        return [name]
    numbers: list[int] = []
    for span in rest.rstrip("]").split("%")[0].split(","):
        first, _, last = span.partition("-")
        last, _, step = last.partition(":")
        if not all(number.isdecimal() for number in (first, last or "0", step or "0")):
            continue
        numbers += range(int(first), int(last or first) + 1, int(step or 1))
    return [f"{array}_{number}" for number in numbers]


def cluster() -> Cluster:
    """The cluster that sbatch here submits to.

    Raises:
        RunError: there is none, or it does not answer.
    """
    if shutil.which("sbatch") is None:
        raise RunError("there is no sbatch on PATH: launch from a login node of the cluster, or with --executor local")
    done = _run("scontrol", "show", "config")
    if done is None or done.returncode:
        why = done.stderr.strip() if done else "no answer"
        raise RunError(f"Slurm does not answer (scontrol show config: {why}); nothing was submitted")
    said = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", done.stdout, re.MULTILINE))
    most = said.get("MaxArraySize", "")
    return Cluster(said.get("ClusterName", ""), int(most) if most.isdigit() else DEFAULT_MAX_ARRAY)


def time_limits() -> dict[str, int]:
    """The longest jobs of partitions in minutes, "" for the default one; those without a limit are left out."""
    done = _run("sinfo", "--noheader", "--format=%P|%l")
    found: dict[str, int] = {}
    for line in done.stdout.splitlines() if done is not None and done.returncode == 0 else ():
        name, _, limit = line.strip().partition("|")
        if (longest := _minutes(limit)) is not None:
            found |= dict.fromkeys((name.rstrip("*"), "") if name.endswith("*") else (name,), longest)
    return found


def _minutes(limit: str) -> int | None:
    """A limit such as 30:00, 4:00:00 or 1-00:00:00 in minutes; None where it is none."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if match is None:
        return None
    days, hours, minutes, _ = (int(number or 0) for number in match.groups())
    return days * 1440 + hours * 60 + minutes


def accounting() -> bool:
    """Whether the accounting answers, so that the end of a job that said nothing can be told."""
    done = _run("sacct", "--allocations", "--noheader", "--parsable2", "--format=JobID", "--starttime=now")
    return done is not None and done.returncode == 0


def cancel(jobs: Iterable[str]) -> None:
    """End jobs, running or waiting; that one has just ended by itself is no failure.

    Raises:
        RunError: scancel fails, and jobs go on.
    """
    wanted = sorted(set(jobs))
    done = _run("scancel", *wanted) if wanted else None
    if wanted and (done is None or done.returncode):
        left = [job for job in wanted if ask([job]).hint(job) not in ("", "COMPLETING")]
        if left:
            raise RunError(f"scancel fails: {done.stderr.strip() if done else 'no answer'}; {', '.join(left)} go on")


def requeue(job: str, tries: int = 3) -> bool:
    """Have Slurm start a running job anew, and say whether it will; it ends this one soon after."""
    for number in range(tries):
        done = _run("scontrol", "requeue", job)
        if done is not None and done.returncode == 0:
            return True
        print(f"scontrol requeue {job}: {done.stderr.strip() if done else 'no answer'}", flush=True)
        time.sleep(5.0 * (number + 1 < tries))
    return False


def _run(*words: str) -> "subprocess.CompletedProcess[str] | None":
    """A command of Slurm, or None where it is not there or takes too long."""
    try:
        # In a session of its own: the signal that ends this job is not to end the command that asks for that.
        return subprocess.run(
            words, capture_output=True, text=True, timeout=SECONDS, check=False, start_new_session=True,
            env=os.environ | {"SLURM_BITSTR_LEN": "0"},  # else sacct cuts the names of arrays with gaps
        )  # fmt: skip
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
