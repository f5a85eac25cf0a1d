"""Threads that talk to a server which may never answer: no process waits for them as it ends."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def by_threads(call: Callable[[Item], Answer], items: Sequence[Item], at_once: int) -> list[Answer]:
    """Return the call's answer for each item, in their order.

    Args:
        call: made once for each item.
        items: what it is called with.
        at_once: so many calls are made at once.

    Raises:
        BaseException: the first that a call raised; no other call is begun behind it.
    """
    left = deque(enumerate(items))
    answers: dict[int, Answer] = {}
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            try:
                number, item = left.popleft()
            except IndexError:
                return
            try:
                answers[number] = call(item)
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(at_once, len(items)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [answers[number] for number in range(len(items))]
