"""Why an attempt should end before its work is done: a signal, or that nobody wants it; asked after every step."""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.record.recording import ClaimedError, OwnAttempt
from registry.runs.records import Desired
from registry.runs.stored import desires, open_evaluations

TWICE_SECONDS = 1.0  # within which a signal is the same one: on Ctrl-C, torchrun and the terminal both send it
LOOK_SECONDS = 2.0  # between looks at what is desired, which may lie on a slow shared file system
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class Stop:
    """A question for the loops: must the attempt end now? Once yes, it stays yes.

    Signals: SIGUSR2 says that Slurm's time is up or that the job is preempted, so that it should start anew; SIGTERM
    and SIGINT only that it should end. Otherwise it goes on as long as one experiment wants one evaluation that has no
    result, and pauses at a step where all that is wanted is to pause there or before.

    Args:
        folder: of the training.
        attempt: the attempt of this process, if it makes one.

    Attributes:
        how: `interrupted`, `paused`, `cancelled` or `stopped` once the answer is yes, else empty.
        reason: in words, likewise.
        again: whether the job should be started anew.
    """

    def __init__(self, folder: Path, attempt: OwnAttempt | None = None) -> None:
        self.folder, self.attempt = folder, attempt
        self.how, self.reason, self.again = "", "", False
        self._signals: dict[int, float] = {}  # and when it first came
        self._desired: list[Desired] = []
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
        asked = self._desired
        active = [desired for desired in asked if not desired.over]
        until = max((desired.until for desired in active if desired.until is not None), default=None)
        if asked and not active:
            last = max(asked, key=lambda desired: desired.time)
            self.how = "cancelled" if any(desired.action == "cancel" for desired in asked) else "stopped"
            self.reason = last.reason
        elif self._signals:
            self.again = signal.SIGUSR2 in self._signals
            self.how = "interrupted"
            self.reason = "Slurm's time limit or preemption" if self.again else "asked to end (SIGTERM or Ctrl-C)"
        elif step is not None and until is not None and step >= until and all(one.until for one in active):
            self.how, self.reason = "paused", active[-1].reason
        return bool(self.how)

    def _look(self, now: bool) -> None:
        clock = time.monotonic()
        if now or clock - self._looked >= LOOK_SECONDS:
            self._looked, self._desired = clock, _unfinished(self.folder)
            if self.attempt is not None and self.attempt.superseded:
                raise ClaimedError(f"{self.folder}: another process took this one for dead, and goes on from here")

    def signalled(self, number: int, frame: Any) -> None:
        """Take note of a signal; SIGTERM or SIGINT a second time stop at once."""
        now = time.monotonic()
        first = self._signals.setdefault(number, now)
        if number != signal.SIGUSR2 and now - first > TWICE_SECONDS:
            signal.default_int_handler(number, frame)


def _unfinished(training: Path) -> list[Desired]:
    """What is wanted, or no longer wanted, of the evaluations that have neither a result nor failed."""
    return [desired for folder in open_evaluations(training) for desired in desires(folder)]


@contextlib.contextmanager
def stop_requests(folder: Path, attempt: OwnAttempt | None = None) -> Iterator[Stop]:
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
