"""Why an attempt should end before its work is done: a signal, or a wish in the run folder; asked after every step."""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.record.recording import Attempt, ClaimedError
from registry.runs.attempts import read_json

TWICE_SECONDS = 1.0  # within which a signal is the same one: on Ctrl-C, torchrun and the terminal both send it
LOOK_SECONDS = 2.0  # between looks at control.json, which may lie on a slow shared file system
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class Stop:
    """A question for the loops: must the attempt end now? Once yes, it stays yes.

    Signals: SIGUSR2 says that Slurm's time is up or that the job is preempted, so that it should start anew; SIGTERM
    and SIGINT only that it should end. Wishes: `cancel`, `stop` (for good), or to pause at a step.

    Args:
        folder: the run folder, whose control.json is looked at.
        attempt: the attempt of this process, if it makes one.

    Attributes:
        how: `interrupted`, `paused`, `cancelled` or `stopped` once the answer is yes, else empty.
        reason: in words, likewise.
        again: whether the job should be started anew.
    """

    def __init__(self, folder: Path, attempt: Attempt | None = None) -> None:
        self.path, self.attempt = folder / "control.json", attempt
        self.how, self.reason, self.again = "", "", False
        self._signals: dict[int, float] = {}  # and when it first came
        self._control: dict[str, Any] = {}
        self._looked = float("-inf")

    def __call__(self, step: int | None = None) -> bool:
        """Whether to end now.

        Args:
            step: the optimiser step that was just made, where there is one.

        Raises:
            ClaimedError: another process took this one for dead, and runs the replicate now.
        """
        if self.how:
            return True
        self._look(now=bool(self._signals))
        action, until = self._control.get("action"), self._control.get("until")
        if action in ("cancel", "stop"):
            self.how, self.reason = ("cancelled" if action == "cancel" else "stopped"), self._control.get("reason", "")
        elif self._signals:
            self.again = signal.SIGUSR2 in self._signals
            self.how = "interrupted"
            self.reason = "Slurm's time limit or preemption" if self.again else "asked to end (SIGTERM or Ctrl-C)"
        elif step is not None and until is not None and step >= until:
            self.how, self.reason = "paused", self._control.get("reason", "")
        return bool(self.how)

    def _look(self, now: bool) -> None:
        clock = time.monotonic()
        if now or clock - self._looked >= LOOK_SECONDS:
            self._looked, self._control = clock, read_json(self.path) or {}
            if self.attempt is not None and self.attempt.superseded:
                raise ClaimedError(f"{self.path.parent}: another process took this one for dead, and goes on from here")

    def signalled(self, number: int, frame: Any) -> None:
        """Take note of a signal; SIGTERM or SIGINT a second time stop at once."""
        now = time.monotonic()
        first = self._signals.setdefault(number, now)
        if number != signal.SIGUSR2 and now - first > TWICE_SECONDS:
            signal.default_int_handler(number, frame)


@contextlib.contextmanager
def stop_requests(folder: Path, attempt: Attempt | None = None) -> Iterator[Stop]:
    """A `Stop` that signals reach while the block runs."""
    stop = Stop(folder, attempt)
    try:
        before = {number: signal.signal(number, stop.signalled) for number in SIGNALS}
    except ValueError:  # not in the main thread: signals are somebody else's
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
