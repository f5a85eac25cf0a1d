"""Progress of long work: what is done, how much of it, and of how much in all."""

import time
from collections.abc import Callable

Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def plain_progress(every_seconds: float = 10.0) -> Progress:
    """Progress as plain lines for a log, at most one in so many seconds."""
    last = [0.0]

    def show(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] >= every_seconds or done == total:
            last[0] = now
            print(f"{time.strftime('%H:%M:%S')} {what} {done}/{total}", flush=True)

    return show
