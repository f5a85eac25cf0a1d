"""The executors by name. A new one is a class with the methods of `Executor`, and a line in `EXECUTORS`."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from experiments.launch.executor import Executor, ExecutorOptions
from experiments.launch.in_process import InProcess
from experiments.launch.local_pool import LocalPool
from experiments.launch.slurm_jobs import SlurmJobs
from experiments.plan.plan import Plan

EXECUTORS: dict[str, type[Executor]] = {"local": LocalPool, "slurm": SlurmJobs, "debug": InProcess}


@contextlib.contextmanager
def opened(plan: Plan, name: str, options: ExecutorOptions, wait: bool = True) -> Iterator[Executor]:
    """Give the executor of that name, and close it when the block ends; SIGTERM counts as Ctrl-C in it.

    Args:
        plan: whose resources count.
        name: of `EXECUTORS`.
        options: how it is opened.
        wait: when the block ends without an error, whatever the executor runs has ended or is to end by itself.

    Raises:
        RunError: there is no such executor here, or it does not answer.
    """
    executor, finished = EXECUTORS[name].open(plan, options), False
    with _sigterm_as_ctrl_c():
        try:
            yield executor
            finished = wait
        finally:
            executor.close(finished)


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only that one may ask for signals
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
