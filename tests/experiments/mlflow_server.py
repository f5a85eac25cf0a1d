"""A real `mlflow server` over PostgreSQL in a temporary folder, for tests; it can be killed and started again."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

SECONDS = 600.0  # that a server may take to start on a busy machine


def postgres_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, newest first where Debian has several, or None."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    folders += [Path(found).parent for found in [shutil.which("postgres")] if found]
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def unavailable() -> str:
    """Why there can be no server here, or nothing."""
    if postgres_binaries() is None:
        return "no PostgreSQL (apt-get install postgresql)"
    if importlib.util.find_spec("psycopg2") is None:
        return "no psycopg2 (pip install psycopg2-binary)"
    return ""


class Server:
    """`mlflow server` over PostgreSQL, the database reached by a unix socket.

    Args:
        folder: of the database, its socket and the logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def backend(self) -> str:
        return f"postgresql+psycopg2://postgres@/postgres?host={self.folder}"

    def _postgres(self, binary: str, *words: str) -> None:
        """Run one of PostgreSQL's programs, which refuse to run as root, as the user `postgres` where we are root."""
        binaries = postgres_binaries()
        assert binaries is not None
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        with (self.folder / "postgres.txt").open("ab") as log:
            subprocess.run(
                [*as_user, str(binaries / binary), *words], check=True, stdout=log, stderr=log, cwd=self.folder
            )

    def create_database(self) -> None:
        """Make the database and start it."""
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        data = str(self.folder / "db")
        self._postgres("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off -c max_connections=50"
        self._postgres("pg_ctl", "-D", data, "-w", "-o", options, "-l", str(self.folder / "db.txt"), "start")

    def remove_database(self) -> None:
        """Stop the database and remove all files."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._postgres("pg_ctl", "-D", str(self.folder / "db"), "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start the tracking server and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.backend, "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        # Without the job runner the server is one process that takes memory and time for tracking alone.
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        log = (self.folder / "mlflow.txt").open("ab")
        self.process = subprocess.Popen(
            command, env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        self._await_answer()

    def _await_answer(self) -> None:
        assert self.process is not None
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=60) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"mlflow server does not answer: {(self.folder / 'mlflow.txt').read_text()[-3000:]}")

    def kill(self) -> None:
        """End the tracking server and its workers at once, as a power cut would."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server over an empty database; all of it is gone behind the block."""
    server = Server(Path(tempfile.mkdtemp(prefix="mlflow-")))
    try:
        server.create_database()
        server.start()
        yield server
    finally:
        server.kill()
        server.remove_database()
