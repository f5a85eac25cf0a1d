"""`python run.py …` as people call it."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from registry.runs.machine import ROOT
from tests.fixtures.toy_replicates import TOY, write

STARTED = shlex.join([sys.executable, str(ROOT / "run.py")])  # what hints begin with


class Told(NamedTuple):
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*words: object, python: tuple[str, ...] = (), columns: int = 160, **variables: str) -> Told:
    """Run the command line in a process of its own, in the repository's root.

    Args:
        words: the verb and what stands behind it.
        python: options of the interpreter.
        columns: how wide the output may be.
        variables: further environment variables.
    """
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {"OMP_NUM_THREADS": "1", "COLUMNS": str(columns), **variables}
    command = [sys.executable, *python, str(ROOT / "run.py"), *map(str, words)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    return Told(done.returncode, done.stdout, done.stderr)


def contents(folder: Path) -> dict[str, int]:
    """Every file and folder below a folder, with the time of its last change."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


class Launched:
    """An experiment file, its runs, and what `launch` said."""

    def __init__(self, folder: Path, text: str = TOY) -> None:
        self.folder, self.file, self.runs = folder, write(folder, text), folder / "runs"
        self.before = self.verbs("plan", "--format", "json").json
        self.told = self.verbs("launch", "--executor", "debug")

    def verbs(self, verb: str, *words: str) -> Told:
        return run(verb, self.file, *words, "--runs", self.runs)
