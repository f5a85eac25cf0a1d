"""Standard output and error as they are: what they cannot show is replaced, and a reader that has gone is no error.

Quick to import: every verb passes here, also `--help`.
"""

import contextlib
import os
import sys
from collections.abc import Iterator


def replace_what_cannot_be_shown() -> None:
    """Let characters that the streams' encoding lacks (Latin-1, ASCII) be printed as `?` instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")


@contextlib.contextmanager
def quiet_when_nobody_reads() -> Iterator[None]:
    """End silently, with exit code 1, when what reads standard output has gone, as `head` does when it has enough.

    What is still buffered is written at the end of the block, so that it cannot fail later, at the interpreter's end.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
