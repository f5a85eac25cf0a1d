"""Tasks that run a module of Python, forked from a process that has imported what they need, where there is one."""

import contextlib
import json
import os
import signal
import socket
from typing import Any

VARIABLE = "FAKE_SLURM_WARM"  # path of the socket on which `tests.slurm.warm_jobs` answers


class Forked:
    """A task that is not our child, with those parts of `subprocess.Popen` that srun needs."""

    def __init__(self, channel: Any, pid: int) -> None:
        self._channel, self.pid = channel, pid

    def wait(self) -> int:
        """Return the exit code when the task has ended; one whose end nobody can report any more counts as killed."""
        code = self._channel.readline()
        return int(json.loads(code)) if code else -signal.SIGKILL

    def kill(self) -> None:
        """End the task at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def forked(command: list[str], environment: dict[str, str], output: int, error: int) -> Forked | None:
    """Return the process of `python -u -m MODULE …`; None where it has to be started in the plain way."""
    path = environment.get(VARIABLE)
    if not path or command[1:3] != ["-u", "-m"]:
        return None
    channel = socket.socket(socket.AF_UNIX)
    try:
        channel.connect(path)
    except OSError:  # it has ended
        channel.close()
        return None
    request = {"words": command[2:], "environment": environment, "folder": os.getcwd()}
    text = json.dumps(request).encode() + b"\n"
    sent = socket.send_fds(channel, [text], [output, error])
    channel.sendall(text[sent:])
    reading = channel.makefile()
    pid = reading.readline()
    return Forked(reading, int(pid)) if pid.strip() not in ("", "null") else None
