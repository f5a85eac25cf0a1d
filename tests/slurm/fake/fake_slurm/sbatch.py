"""sbatch: read a script's requests, refuse those that Slurm would refuse, and queue the job."""

import getpass
import json
import os
import re
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from fake_slurm import words
from fake_slurm.cluster import AWAY, PARTITIONS, Cluster, Job, Refused, Task, opened, size
from fake_slurm.scheduling import schedule

FAILED = "sbatch: error: Batch job submission failed: "
NAMES = {
    **dict.fromkeys(("comment", "signal", "ntasks-per-node", "gres", "gpus-per-node", "gpus-per-task"), "="),
    **{"array": "a=", "dependency": "d=", "job-name": "J=", "partition": "p=", "time": "t=", "nodes": "N="},
    **{"ntasks": "n=", "cpus-per-task": "c=", "gpus": "G=", "output": "o=", "error": "e=", "constraint": "C="},
    **{"open-mode": "=", "kill-on-invalid-dep": "=", "chdir": "D=", "parsable": "", "requeue": "", "no-requeue": ""},
    "hold": "H",
    # accepted, and without meaning here: one node has them all, and nobody is charged
    **{"account": "A=", "qos": "q=", "mem": "=", "mem-per-cpu": "=", "mem-per-gpu": "=", "cpus-per-gpu": "="},
    **{"exclude": "x=", "nodelist": "w=", "wckey": "=", "mail-type": "=", "mail-user": "=", "exclusive": "?"},
    **{"export": "=", "nice": "?", "licenses": "L=", "reservation": "=", "hint": "=", "distribution": "m="},
    **{"cpu-freq": "=", "tmp": "=", "gpu-bind": "=", "ntasks-per-gpu": "=", "threads-per-core": "=", "quiet": "Q"},
}
DEPENDENCIES = ("after", "afterok", "afterany", "afternotok")


def main(argv: list[str]) -> None:
    given, rest = words.parse("sbatch", argv, NAMES, code=255)
    if not rest:
        raise Refused("sbatch: error: this fake Slurm wants a script file")
    try:
        text = Path(rest[0]).read_text(encoding="utf-8")
    except OSError:
        raise Refused(f"sbatch: error: Unable to open file {rest[0]}") from None
    if not text.startswith("#!"):
        raise Refused(
            "sbatch: error: This does not look like a batch script.  The first\nsbatch: error: line must start with #!"
            " followed by the path to an interpreter.\nsbatch: error: For instance: #!/bin/sh"
        )
    wanted = words.parse("sbatch", _requests(text), NAMES, code=255)[0] | given
    with opened(FAILED + AWAY) as cluster:
        job = _job(cluster, wanted, Path(rest[0]).name)
        script = cluster.script(job)
        script.write_text(text, encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        if "SLURM_CONF" in os.environ:
            kept["SLURM_CONF"] = os.environ["SLURM_CONF"]
        cluster.environment(job).write_text(json.dumps(kept), encoding="utf-8")
        cluster.jobs[job.id] = job
        schedule(cluster)
    print(job.id if "parsable" in wanted else f"Submitted batch job {job.id}")
    sys.stdout.flush()


def _requests(text: str) -> list[str]:
    """The options of the #SBATCH lines, which end at the first command."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("#SBATCH"):
            found += shlex.split(line[len("#SBATCH") :], comments=True)
        elif line.strip() and not line.startswith("#"):
            break
    return found


def _number(wanted: words.Options, name: str, default: int) -> int:
    text = wanted.get(name, str(default))
    if not text.isdigit() or (name != "gpus" and int(text) < 1):
        raise Refused(f'sbatch: error: Invalid numeric value "{text}" for --{name}.', 255)
    return int(text)


def _job(cluster: Cluster, wanted: words.Options, script: str) -> Job:
    partition = wanted.get("partition", PARTITIONS[0])
    if partition not in PARTITIONS:
        raise Refused(
            f"sbatch: error: invalid partition specified: {partition}\n{FAILED}Invalid partition name specified"
        )
    if "constraint" in wanted:
        raise Refused(f"{FAILED}Invalid feature specification")
    per_node = _number(wanted, "ntasks-per-node", 1)
    ntasks = _number(wanted, "ntasks", per_node)
    gpus = _gpus(wanted, ntasks)
    if _number(wanted, "nodes", 1) > 1 or gpus > size("GPUS", 2):
        raise Refused(f"{FAILED}Requested node configuration is not available")
    elements, limit = _array(wanted.get("array"))
    try:
        minutes = words.minutes(wanted["time"]) if "time" in wanted else None
    except ValueError:
        raise Refused("sbatch: error: Invalid --time specification", 255) from None
    number, before = _signal(wanted.get("signal", ""))
    output = wanted.get("output", "slurm-%A_%a.out" if elements else "slurm-%j.out")
    held, now = "hold" in wanted, time.time()
    indices = [str(element) for element in elements] or [""]
    job_id = cluster.new_id()
    return Job(
        id=job_id,
        name=wanted.get("job-name", script),
        user=getpass.getuser(),
        partition=partition,
        folder=os.path.abspath(wanted.get("chdir", ".")),
        output=output,
        error=wanted.get("error", output),
        truncate=wanted.get("open-mode", "truncate") == "truncate",
        comment=wanted.get("comment", ""),
        minutes=minutes,
        signal=number,
        signal_before=before,
        requeue="no-requeue" not in wanted,
        ntasks=ntasks,
        cpus_per_task=_number(wanted, "cpus-per-task", 1),
        cpus_per_task_given="cpus-per-task" in wanted,
        gpus=gpus,
        dependency=_dependency(wanted.get("dependency", "")),
        kill_on_invalid_dependency=wanted.get("kill-on-invalid-dep", "no").lower().startswith("y"),
        array=elements,
        limit=limit,
        submitted=now,
        tasks={index: Task(raw=0 if elements else job_id, held=held, begin=now) for index in indices},
    )


def _array(text: str | None) -> tuple[list[int], int]:
    if text is None:
        return [], 0
    numbers, percent, limit = text.partition("%")
    refused = Refused(f"{FAILED}Invalid job array specification")
    try:
        elements = words.indices(numbers)
    except ValueError:
        raise refused from None
    if not elements or elements[-1] >= size("MAX_ARRAY", 1001) or (percent and not limit.isdigit()):
        raise refused
    return elements, int(limit or 0)


def _gpus(wanted: words.Options, ntasks: int) -> int:
    kind = re.fullmatch(r"(gpu)(?::[a-z]\w*)?(?::(\d+))?", wanted.get("gres", "gpu:0"))
    if kind is None:
        raise Refused("sbatch: error: Invalid generic resource (gres) specification")
    per_job = max(int(wanted.get(name, "0").rpartition(":")[2]) for name in ("gpus", "gpus-per-node"))
    per_task = int(wanted.get("gpus-per-task", "0").rpartition(":")[2])
    return max(int(kind[2] or 1), per_job, per_task * ntasks)


def _signal(text: str) -> tuple[int, float]:
    """The number of a signal, and how many seconds before the end it is sent; USR2@30, with an R: or B: before it."""
    if not text:
        return 0, 0.0
    name, _, seconds = text.rpartition(":")[2].partition("@")
    try:
        return words.signal_number(name), float(seconds or 60)
    except ValueError:
        raise Refused("sbatch: error: Invalid --signal specification", 255) from None


def _dependency(text: str) -> list[list[Any]]:
    found: list[list[Any]] = []
    for part in text.split(",") if text else []:
        kind, *ids = part.split(":")
        if kind not in DEPENDENCIES or not ids or not all(re.fullmatch(r"\d+(_\d+)?", word) for word in ids):
            raise Refused(f"{FAILED}Job dependency problem")
        for word in ids:
            number, _, element = word.partition("_")
            found.append([kind, int(number), int(element) if element else None])
    return found
