"""`python run.py …` as people call it.

Most tests have it forked from a process that has imported everything (`experiments.worker.warm_start`), since hundreds
of them start it and importing torch takes seconds. What a verb imports of itself is seen where Python is started anew.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from experiments.worker.warm_start import Forked, WarmStart
from registry.parts.sources import ROOMS, modules_below
from registry.runs.machine import ROOT
from tests.fixtures.toy_replicates import TOY, write
from tests.waiting import PATIENCE

STARTED = shlex.join([sys.executable, str(ROOT / "run.py")])  # what hints begin with
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}  # of what the command line is forked from
IN_FOLDER = Path(__file__).with_name("in_folder.py")
HEAVY = (  # what is imported inside functions, of ours or of packages
    *("torch._dynamo", "av", "pyarrow.pandas_compat", "PIL.PngImagePlugin", "PIL.JpegImagePlugin"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    *("mlflow.store.tracking.sqlalchemy_store", "sqlalchemy.dialects.sqlite", "alembic.autogenerate"),
)
# Beginnings of variables that Python and packages read when they start; with others of these a fork would not do.
READ_AT_START = ("PYTHON", "OMP_", "MKL_", "ATEN_", "TORCH", "CUDA", "LC_", "LANG", "LD_", "TMP", "TEMP", "MPL", "HF_")
# By torch._inductor, and by matplotlib without a writable home, in the process of pytest when tests import them.
SET_BY_IMPORTS = ("TORCHINDUCTOR_CACHE_DIR", "MPLCONFIGDIR")


class Told(NamedTuple):
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(
    *words: object, python: tuple[str, ...] | None = None, folder: Path = ROOT, columns: int = 160, **variables: str
) -> Told:
    """Run the command line in a process of its own.

    Args:
        words: the verb and what stands behind it.
        python: options of an interpreter that is started anew; left out, a fork will do.
        folder: that it is started in, the repository's root if none is given.
        columns: how wide the output may be.
        variables: further environment variables.
    """
    return begin(*words, python=python, folder=folder, columns=columns, **variables).told()


def begin(
    *words: object, python: tuple[str, ...] | None = None, folder: Path = ROOT, columns: int = 160, **variables: str
) -> "Begun":
    """Start the command line in a process of its own, and go on while it runs; see `run`."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {"OMP_NUM_THREADS": "1", "COLUMNS": str(columns), **variables}
    command = [str(ROOT / "run.py"), *map(str, words)]
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115, closed when it has told
    process: subprocess.Popen[bytes] | Forked | None
    there = [] if folder == ROOT else [str(IN_FOLDER), str(folder)]
    but = ("PYTHONPATH",) if there else ()  # which the script takes note of
    if python is None and read_at_start(environment, *but) == read_at_start(ENVIRONMENT, *but):
        process = warm().start([*there, *command], environment, out, err)
        assert process is not None, "not everything can be imported"
    else:
        started = [sys.executable, *(python or ()), *command]
        process = subprocess.Popen(started, cwd=folder, env=environment, stdout=out, stderr=err)
    return Begun(process, out, err)


class Begun:
    """A command that runs.

    Args:
        process: that it is.
        out: the file with what it prints.
        err: the file with its standard error.
    """

    def __init__(self, process: "subprocess.Popen[bytes] | Forked", out: IO[bytes], err: IO[bytes]) -> None:
        self.process, self.pid = process, process.pid
        self._out, self._err = out, err

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        return self.process.poll()

    def kill(self) -> None:
        """Kill it; what it started goes on."""
        self.process.kill()
        self.process.wait()

    def told(self) -> Told:
        """Wait for its end; return what it said, and how it ended."""
        with self._out, self._err:
            code = self.process.wait(timeout=3 * PATIENCE)
            return Told(code, _text(self._out), _text(self._err))


def _text(file: IO[bytes]) -> str:
    """What a file holds, line ends as `subprocess.run` gives them."""
    file.seek(0)
    return file.read().decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def read_at_start(environment: Mapping[str, str], *but: str) -> dict[str, str]:
    """Return the variables in which a fork must be like the process that forks, but for some."""
    names = {name for name in environment if name.startswith(READ_AT_START)}.difference(SET_BY_IMPORTS, but)
    return {name: environment[name] for name in names}


@cache
def warm() -> WarmStart:
    """What the command line is forked from, one for this process of pytest; it ends with it."""
    modules = [name for room in ROOMS for name in modules_below(room) if not name.endswith("__main__")]
    return WarmStart([*modules, *HEAVY], ENVIRONMENT, ROOT)


def contents(folder: Path) -> dict[str, int]:
    """Every file and folder below a folder, with the time of its last change."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


class Launched:
    """An experiment file, its runs, and what `launch` said."""

    def __init__(self, folder: Path, text: str = TOY) -> None:
        self.folder, self.file, self.runs = folder, write(folder, text), folder / "runs"
        self.before = self.verbs("plan", "--format", "json").json
        self.told = self.verbs("launch", "--executor", "debug", python=())

    def verbs(self, verb: str, *words: str, python: tuple[str, ...] | None = None) -> Told:
        return run(verb, self.file, *words, "--runs", self.runs, python=python)
