"""Starting the Python processes of the fake cluster's jobs as forks of one that has imported torch and its like.

Importing them takes a job five to ten seconds of processor, and the tests have hundreds of jobs. The workbench itself
is no part of what is kept: a job imports it from where it was told to, from its frozen copy for example.

    python -m tests.slurm.warm_jobs SOCKET

serves in a fork of the process from which commands are forked, until that ends. `fake_slurm.warm` asks.
"""

import contextlib
import json
import os
import select
import site
import socket
import sys
import tempfile
from functools import cache
from pathlib import Path

from experiments.worker.warm_start import LONGEST, _end, _run
from registry.parts.sources import ROOMS
from tests.cli.command import ENVIRONMENT, read_at_start, warm
from tests.waiting import until

# Variables that Python reads when it starts, and which a fork takes note of all the same; importing leaves GPUs alone.
SET_ANEW = ("PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED", "CUDA_VISIBLE_DEVICES")
LOOK_SECONDS = 5.0  # between two looks whether anybody is left to ask


@cache
def started() -> str:
    """Start the server, once for this process; return the path of its socket, which answers."""
    folder = tempfile.TemporaryDirectory(prefix="warm-jobs-")
    _KEPT.append(folder)
    path = str(Path(folder.name) / "socket")
    with open(os.devnull, "wb") as nothing:
        server = warm().start(["-m", "tests.slurm.warm_jobs", path], ENVIRONMENT, nothing)
    assert server is not None, "not everything can be imported"
    until(lambda: os.path.exists(path) or server.poll() is not None, "the server of jobs listens")
    return path


_KEPT: list[object] = []  # until this process ends


def serve(path: str) -> list[str]:
    """Answer requests; return the words of a job in the fork that is to be it, none when all is over."""
    for name in [name for name in sys.modules if name.partition(".")[0] in (*ROOMS, "tests")]:
        del sys.modules[name]
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        while os.getppid() == parent:  # the process that forks commands, which ends with that of pytest
            if not select.select([listening], [], [], LOOK_SECONDS)[0]:
                continue
            channel = listening.accept()[0]
            if os.fork() == 0:  # one process for each request: it is the job's parent, and reports its end
                listening.close()
                return _answer(channel)
            channel.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    return []


def _answer(channel: socket.socket) -> list[str]:
    line, files, _, _ = socket.recv_fds(channel, LONGEST, 2)
    while line and not line.endswith(b"\n"):
        line += channel.recv(LONGEST)
    request = json.loads(line)
    environment = request["environment"]
    if read_at_start(environment, *SET_ANEW) != read_at_start(ENVIRONMENT, *SET_ANEW):
        channel.sendall(b"null\n")
        os._exit(0)
    if (pid := os.fork()) == 0:
        channel.close()
        os.setsid()  # a group of its own, which signals to the step reach
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        for descriptor, file in enumerate(files, 1):
            os.dup2(file, descriptor)
            os.close(file)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(environment)
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]  # as with python -u
        _set_path(environment)
        words: list[str] = request["words"]
        return words
    for file in files:
        os.close(file)
    channel.sendall(json.dumps(pid).encode() + b"\n")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):  # srun was killed
        channel.sendall(json.dumps(code).encode() + b"\n")
    os._exit(0)


def _set_path(environment: dict[str, str]) -> None:
    """Set where modules are looked for as Python does for `-m` when it starts."""
    given = [os.path.abspath(name) for name in environment.get("PYTHONPATH", "").split(os.pathsep) if name]
    packages = site.getsitepackages()
    library = [name for name in sys.path if name.startswith((sys.base_prefix, *packages))]
    sys.path[:] = [*([] if environment.get("PYTHONSAFEPATH") else [os.getcwd()]), *given, *library]
    sys.path_importer_cache.clear()


if __name__ == "__main__":
    if program := serve(sys.argv[1]):
        _end(_run(program))
