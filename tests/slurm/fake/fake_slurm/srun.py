"""srun, within a job only: as many processes as the job has tasks, each with its rank."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from fake_slurm import words
from fake_slurm.cluster import NODE, Refused
from fake_slurm.signals import note
from fake_slurm.step import open_output
from fake_slurm.warm import Forked, forked

NAMES = {
    **{"unbuffered": "u", "output": "o=", "error": "e=", "ntasks": "n=", "kill-on-bad-exit": "K?", "label": "l"},
    # accepted, and without meaning here
    **{"cpu-bind": "=", "cpus-per-task": "c=", "mpi": "=", "exact": "", "overlap": "", "exclusive": "", "mem": "="},
    **{"distribution": "m=", "nodes": "N=", "ntasks-per-node": "=", "gres": "=", "gpus-per-task": "=", "quiet": "Q"},
    **{"gpu-bind": "=", "export": "=", "mem-per-cpu": "=", "hint": "=", "wait": "W=", "time": "t=", "accel-bind": "="},
}


def main(argv: list[str]) -> None:
    options, command = words.parse("srun", argv, NAMES)
    if "FAKE_SLURM_STEPS" not in os.environ:
        raise Refused("srun: error: this fake Slurm runs srun within a job only")
    if not command:
        raise Refused("srun: fatal: No command given to execute.")
    steps = Path(os.environ["FAKE_SLURM_STEPS"])
    ntasks = int(options.get("ntasks") or os.environ["SLURM_NTASKS"])
    processes = [_start(command, rank, ntasks, options, steps) for rank in range(ntasks)]
    worst = 0
    for rank, process in enumerate(processes):
        code = process.wait()
        if code:
            how = f"Exited with exit code {code}" if code > 0 else _name(-code)
            print(f"srun: error: {NODE}: task {rank}: {how}", file=sys.stderr, flush=True)
            if "kill-on-bad-exit" in options and options["kill-on-bad-exit"] != "0":
                for other in processes:
                    other.kill()
        worst = max(worst, code if code >= 0 else 128 - code)
    sys.exit(worst)


def _name(number: int) -> str:
    return {9: "Killed", 15: "Terminated", 11: "Segmentation fault"}.get(number, f"Signal {number}")


def _start(
    command: list[str], rank: int, ntasks: int, options: words.Options, steps: Path
) -> "subprocess.Popen[bytes] | Forked":
    environment = os.environ | {
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "SLURM_NTASKS": str(ntasks),
        "SLURM_NPROCS": str(ntasks),
        "SLURM_GTIDS": ",".join(str(other) for other in range(ntasks)),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": str(ntasks),
        "SLURM_STEP_NODELIST": NODE,
        "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1",
    }
    mode = "ab"
    output = open_output(options["output"], environment, mode, ".") if "output" in options else None
    error = open_output(options["error"], environment, mode, ".") if "error" in options else output
    try:
        into = _descriptor(output, 1), _descriptor(error, 2)
        process = forked(command, environment, *into) or subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=error,
            start_new_session=True,  # a group of its own, which signals to the step reach
        )
    except OSError as problem:
        print(f"srun: error: {NODE}: task {rank}: {command[0]}: {problem.strerror}", file=sys.stderr, flush=True)
        sys.exit(2)
    note(steps, process.pid)
    return process


def _descriptor(target: Any, inherited: int) -> int:
    if target is None:
        return inherited
    return os.open(os.devnull, os.O_WRONLY) if target == subprocess.DEVNULL else int(target.fileno())
