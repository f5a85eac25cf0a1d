"""The two Slurms that tests run on: a real one of one node, which `tests/slurm/start` makes, and a fake one on PATH."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from tests.slurm import warm_jobs
from tests.waiting import PATIENCE, until

HERE = Path(__file__).parent
FAKE = HERE / "fake"


@dataclass(frozen=True)
class Cluster:
    """A Slurm, by the folder with its files and what the environment of its commands needs."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    real: bool = True

    def run(self, *command: str | Path, check: bool = True, **more: str) -> "subprocess.CompletedProcess[str]":
        """One of Slurm's commands, with more variables in its environment."""
        environment = os.environ | self.environment | more
        words = [str(word) for word in command]
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=PATIENCE)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def ask(self, *command: str | Path, **more: str) -> str:
        """What a command prints."""
        return self.run(*command, **more).stdout.strip()

    def submit(self, folder: Path, script: str, *options: str, **more: str) -> int:
        """The job id of a script, whose output goes to `<job>_<element>.out` in the folder."""
        path = folder / "job.sh"
        path.write_text(f"#!/bin/bash\n#SBATCH --output={folder}/%A_%a.out --open-mode=append\n{script}\n")
        return int(self.ask("sbatch", "--parsable", *options, path, **more))

    def queue(self, *names: str) -> dict[str, str]:
        """State by job id of what waits or runs; of jobs of these names, if any are given."""
        only = [f"--name={','.join(names)}"] if names else []
        lines = self.ask("squeue", "--me", "--noheader", "--array", "--format=%i|%T", *only).splitlines()
        return dict(line.split("|") for line in lines)

    def accounted(self, job: int) -> dict[str, str]:
        """State and exit code by job id, as sacct has them."""
        lines = self.ask("sacct", "-X", "-n", "-P", "-j", str(job), "--format=JobID,State,ExitCode").splitlines()
        return {name: f"{state} {code}" for name, state, code in (line.split("|") for line in lines)}

    def restart(self, daemon: str = "slurmctld", *, hard: bool = False) -> None:
        """End a daemon of the real cluster and start it again."""
        command = [HERE / "restart", *(["-9"] if hard else []), daemon, self.folder]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)

    def down(self) -> None:
        """The fake cluster's controller is away, until `up`."""
        (self.folder / "down").touch()

    def up(self) -> None:
        (self.folder / "down").unlink(missing_ok=True)


def why_no_real() -> str:
    """Why there is no real Slurm to ask, or nothing."""
    if shutil.which("sinfo") is None or shutil.which("sbatch") is None:
        return "Slurm's commands are not installed; as root on Debian: make slurm-up, then: . .slurm/env"
    try:
        asked = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "sinfo does not answer"
    if asked.returncode:
        return f"sinfo fails ({asked.stderr.strip()}); as root on Debian: make slurm-up, then: . .slurm/env"
    config = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=PATIENCE).stdout
    if not re.search(r"^ClusterName\s*= tests$", config, re.MULTILINE):
        return "the cluster here is not one that tests/slurm/start made, and tests leave others alone: make slurm-up"
    return ""


@contextlib.contextmanager
def real_cluster() -> Iterator[Cluster]:
    """The real cluster, for one at a time: other processes of the tests wait. Jobs from before are left alone."""
    place = os.environ.get("SLURM_CONF") or os.path.realpath("/etc/slurm/slurm.conf")
    mark = hashlib.sha256(place.encode()).hexdigest()[:10]
    with filelock.FileLock(Path(tempfile.gettempdir()) / f"workbench-tests-slurm-{os.getuid()}-{mark}.lock"):
        cluster = Cluster(Path(place).parent.parent)
        before = {job.split("_")[0] for job in cluster.queue()}
        try:
            yield cluster
        finally:
            _empty(cluster, before)


@contextlib.contextmanager
def fake_cluster(folder: Path, cpus: int = 4, max_array: int = 1001) -> Iterator[Cluster]:
    """A fake cluster with its state in a folder; its commands come first on the PATH of its `environment`."""
    path = os.pathsep.join([str(FAKE), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        "PATH": path,
        "FAKE_SLURM": str(folder),
        "FAKE_SLURM_CPUS": str(cpus),
        "FAKE_SLURM_MAX_ARRAY": str(max_array),
        "FAKE_SLURM_WARM": warm_jobs.started(),
    }
    cluster = Cluster(folder, environment, real=False)
    try:
        yield cluster
    finally:
        cluster.up()
        _empty(cluster, set())


def _empty(cluster: Cluster, before: set[str]) -> None:
    """Wait until no job is left but those from before; end what does not end by itself soon."""

    def left() -> set[str]:
        return {job.split("_")[0] for job in cluster.queue()} - before

    soon = time.monotonic() + 2
    while left() and time.monotonic() < soon:  # one that is just ending would take longer if it were cancelled
        time.sleep(0.1)
    if jobs := left():
        cluster.run("scancel", *jobs, check=False)
    until(lambda: not left(), "all jobs of the test have gone")
