"""Waiting for events: no test waits for seconds, and none fails because the machine is busy."""

import subprocess
import time
from collections.abc import Callable
from typing import Any, Protocol

PATIENCE = 600.0  # seconds: a bound of last resort, so that what never happens ends the test and not the whole run


class Process(Protocol):
    """A command that a test has begun, and what it said (`tests.cli.command.Begun`)."""

    def poll(self) -> int | None: ...

    def told(self) -> Any: ...


def until(what: Callable[[], object], why: str, process: "Process | subprocess.Popen[str] | None" = None) -> None:
    """Wait until a question is answered with something true.

    Args:
        what: the question.
        why: what is waited for, in words that follow "it is not so that".
        process: who has to bring it about; the test fails at once if it ends before.

    Raises:
        AssertionError: the process ended, or patience did.
    """
    end = time.monotonic() + PATIENCE
    while not what():
        if process is not None and process.poll() is not None and not what():
            told = process.communicate() if isinstance(process, subprocess.Popen) else process.told()
            raise AssertionError(f"the process ended, and it is not so that {why}: {told}")
        if time.monotonic() > end:
            raise AssertionError(f"after {PATIENCE:.0f} s it is not so that {why}")
        time.sleep(0.02)
