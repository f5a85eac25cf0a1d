"""Work that goes on in a thread beside a block, such as a heartbeat."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Let a thread work while the block inside goes on, and wait for it at the end.

    Args:
        work: is called once, with an event that is set when the block ends; it should wait for that between its turns.
    """
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
