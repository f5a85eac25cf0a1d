"""An MLflow server of one's own for as long as one looks: light, on this machine only, and gone with its process."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from analysis.results.mlflow_names import QUIET, check_file, without_secrets
from experiments.tracking.store import artifact_root
from registry.errors import RunError

HOST = "127.0.0.1"
SECONDS = 300.0  # that a server may take until it answers
LOOK_SECONDS, END_SECONDS = 0.2, 15.0
# Without the job runner of MLflow's GenAI part: eight processes and 1.8 GB less, and tracking does not need it.
LIGHT = {**QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@contextlib.contextmanager
def serving(uri: str, runs: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start `mlflow server` on a store, and end it and its workers behind the work inside.

    Args:
        uri: the store.
        runs: the folder of all runs.
        port: that it listens on, of this machine only.

    Raises:
        RunError: the port is taken, or the server does not start; the message says why.
    """
    check_free(port)
    check_file(uri)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--workers", "1"]
    command += ["--host", HOST, "--port", str(port)]
    if root := artifact_root(uri, runs):
        command += ["--artifacts-destination", root]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env=os.environ | LIGHT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _await_answer(process, port, log)
            yield process
        finally:
            _end(process)


def check_free(port: int) -> None:
    """Raise a RunError where a port of this machine cannot be had."""
    with socket.socket() as mine:
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just ended is no hindrance
        try:
            mine.bind((HOST, port))
        except OSError as error:
            raise RunError(
                f"port {port} cannot be had ({error.strerror}): perhaps a dashboard is open already; close it, or "
                "name another port by --port"
            ) from None


def _await_answer(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RunError(f"the MLflow server did not start: {_why(log)}")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=LOOK_SECONDS * 50) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(LOOK_SECONDS)
    raise RunError(f"the MLflow server does not answer within {SECONDS:.0f} s: {_why(log)}")


def _why(log: IO[bytes]) -> str:
    """The last line of what it printed that is no part of a traceback."""
    log.seek(0)
    lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip() and line[0] != " "]
    return without_secrets(lines[-1]) if lines else "it printed nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
            break
