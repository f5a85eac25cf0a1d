"""Starting programs from a process that has imported what they need: each is a fork of it and pays for no import.

`WarmStart` starts `python -m experiments.worker.warm_start`, which imports modules, runs nothing of them, and then
forks one process for each program that it is asked for. A fork is a process of its own, with its own memory, variables
and output, and its end ends nothing else. What Python and torch read while they are imported (`PYTHONPATH`,
`OMP_NUM_THREADS`) they have read in the process that forks; `CUDA_VISIBLE_DEVICES` may differ, since importing torch
leaves the GPUs alone.

If whoever asked has gone, the process that forks ends, and what it started goes on.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO

from registry.runs.attempts import process_start

MODULE = "experiments.worker.warm_start"
TO_PROGRAMS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
LONGEST = 1 << 20  # bytes read at once
INTERRUPTED = -signal.SIGINT  # exit code of a program that lets KeyboardInterrupt through
PAUSE = 0.05  # seconds between two looks at a process whose end nobody reports any more


class WarmStart:
    """Starts programs, each as a fork of one process that has imported what they need.

    Args:
        modules: what it imports.
        environment: its variables.
        folder: where it works, if not here.
    """

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> None:
        self._socket, other = socket.socketpair()
        with other:
            self._server = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(other.fileno()), *modules],
                env=environment,
                cwd=folder,
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._unread, self._ready, self._gone = b"", False, False
        self._started: list[int] = []
        self.ended: dict[int, int] = {}  # exit codes of the processes that have ended, by their ids

    def start(
        self, words: Sequence[str], environment: Mapping[str, str], output: IO[bytes], errors: IO[bytes] | None = None
    ) -> "Forked | None":
        """Return the process of a program; None where the process that forks could not import, or was ended.

        Args:
            words: `-m`, a module and its arguments, or a script and its arguments.
            environment: all variables of the program.
            output: takes what it prints.
            errors: takes its standard error, if not the same file.
        """
        while not self._ready and self.look(None):  # until it has imported; nothing has been asked for so far
            pass
        request = json.dumps({"words": list(words), "environment": dict(environment)}).encode() + b"\n"
        with contextlib.suppress(OSError):  # it was ended
            sent = socket.send_fds(self._socket, [request], [output.fileno(), (errors or output).fileno()])
            self._socket.sendall(request[sent:])
        while not self._started and self.look(None):
            pass
        return Forked(self, self._started.pop()) if self._started else None

    def look(self, seconds: float | None) -> bool:
        """Take in what is reported within so many seconds (None: wait for it); return whether more may follow."""
        if not self._gone and select.select([self._socket], [], [], seconds)[0]:
            read = self._socket.recv(LONGEST)
            self._gone = not read
            *lines, self._unread = (self._unread + read).split(b"\n")
            for what, *numbers in map(json.loads, lines):
                if what == "ready":
                    self._ready = True
                elif what == "started":
                    self._started.append(numbers[0])
                else:
                    self.ended[numbers[0]] = numbers[1]
        return not self._gone

    @property
    def pid(self) -> int:
        """The id of the process that forks."""
        return self._server.pid

    def close(self) -> None:
        """End the process that forks; what it started goes on."""
        self._gone = True
        self._socket.close()
        self._server.kill()
        self._server.wait()


class Forked:
    """A process that was forked, with those methods of `subprocess.Popen` that a launcher needs.

    Args:
        warm: which takes in that it has ended.
        pid: its id.
    """

    def __init__(self, warm: WarmStart, pid: int) -> None:
        self._warm, self.pid = warm, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs; an end that nobody reports counts as a kill."""
        if self.returncode is None:
            reported = self._warm.look(0)
            self.returncode = self._warm.ended.pop(self.pid, None)
            if self.returncode is None and not reported and process_start(self.pid) is None:
                self.returncode = -signal.SIGKILL
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code when the process has ended.

        Raises:
            subprocess.TimeoutExpired: it did not within so many seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            if not self._warm.look(left):
                time.sleep(PAUSE)
        return code

    def terminate(self) -> None:
        """Ask the process to end, if it runs."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once, if it runs."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Signal the process, if it runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import inside without looking for garbage, of which there is none: looking takes up to a quarter of the time.

    What was imported is left alone by later collections, also in forks, so that it stays shared.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _serve(channel: socket.socket, modules: Sequence[str]) -> list[str]:
    """Import modules, then fork for every request; return the program's words in the fork, none when all is over."""
    # Ctrl-C, and what Slurm says to all processes of a job, is for the programs, whose ends are still to be reported.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in TO_PROGRAMS}
    with importing():
        for module in modules:
            import_module(module)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _report(channel, "ready")
    while True:
        ready, _, _ = select.select([channel.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, LONGEST)
            for pid, code in _ended():
                _report(channel, "ended", pid, code)
        if channel.fileno() in ready:
            line, files, _, _ = socket.recv_fds(channel, LONGEST, 2)
            while line and not line.endswith(b"\n"):
                line += channel.recv(LONGEST)
            if not line:
                return []
            signal.pthread_sigmask(signal.SIG_BLOCK, TO_PROGRAMS)  # until the program has its handlers
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for number, handler in before.items():
                    signal.signal(number, handler)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_PROGRAMS)
                for descriptor, file in enumerate(files, 1):
                    os.dup2(file, descriptor)
                for file in (*files, woken, wake, channel.detach()):
                    os.close(file)
                request = json.loads(line)
                os.environ.clear()
                os.environ.update(request["environment"])
                words: list[str] = request["words"]
                return words
            signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_PROGRAMS)
            _report(channel, "started", pid)
            for file in files:
                os.close(file)


def _report(channel: socket.socket, what: str, *numbers: int) -> None:
    channel.sendall(json.dumps([what, *numbers]).encode() + b"\n")


def _ended() -> Iterator[tuple[int, int]]:
    """The id and exit code of each process that has ended since the last time."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended[0], os.waitstatus_to_exitcode(ended[1])


def _run(words: list[str]) -> int:
    """Be the program that was asked for, as `python …` would be; return its exit code."""
    sys.orig_argv = [sys.executable, *words]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # else every fork would draw the same
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException as error:
        traceback.print_exc()
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _end(code: int) -> None:
    """End this process as Python does, but leave what was imported as it is: to take it apart would copy it all."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    if code == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 0xFF)


if __name__ == "__main__":
    if program := _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:]):
        _end(_run(program))
