"""How busy the machine is while a training runs: a line of `system.jsonl` now and then, never part of an identity.

The names are those of MLflow's own system metrics, so that its page shows them as such. GPUs are looked at where
nvidia-ml-py is installed and the driver answers; nothing is asked of PyTorch.
A training adds clips a second, their share of the machine's matrix products (`experiments.training.machine_share`) and
how long steps waited for their data, whenever it logs.
"""

import contextlib
import importlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from experiments.record.beside import beside
from experiments.record.recording import Recorder
from registry.runs.stored import MEMORY, pace_of
from registry.schema.result_columns import PACE

MEGABYTE = 1e6
FIRST_SECONDS, SECONDS = 1.0, 30.0  # from the begin to the first line, and later from one line to the next


class MachineLoad:
    """Reads the load of this machine and the memory of this process."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._gpus = _gpus()
        psutil.cpu_percent()  # the first answer is about no time at all

    def read(self) -> dict[str, float]:
        """Return the load since the last reading: percents of the whole machine, megabytes of 10^6 bytes."""
        memory = psutil.virtual_memory()
        values = {
            "time": time.time(),
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / MEGABYTE,
            MEMORY: self._process.memory_info().rss / MEGABYTE,
        }
        for number, (library, handle) in enumerate(self._gpus):
            with contextlib.suppress(library.NVMLError):
                used = library.nvmlDeviceGetMemoryInfo(handle).used
                values[f"gpu_{number}_utilization_percentage"] = library.nvmlDeviceGetUtilizationRates(handle).gpu
                values[f"gpu_{number}_memory_usage_megabytes"] = used / MEGABYTE
        return {name: round(value, 3) for name, value in values.items()}


def pace_now(training: Path) -> dict[str, float]:
    """Return how fast a training of this process was, with its memory as it is now where nothing was noted so far."""
    paces, memory = pace_of(training), psutil.Process().memory_info().rss / MEGABYTE
    return paces | {PACE[-1]: round(max(memory, paces.get(PACE[-1], 0.0)), 3)}


def _gpus() -> list[tuple[Any, Any]]:
    """Return (library, handle) of every GPU; none without nvidia-ml-py or without a driver."""
    try:
        library = importlib.import_module("pynvml")
        library.nvmlInit()
        return [(library, library.nvmlDeviceGetHandleByIndex(i)) for i in range(library.nvmlDeviceGetCount())]
    except Exception:  # whatever a driver does, a training does without the load of its GPUs
        return []


@contextlib.contextmanager
def recorded(training: Path) -> Iterator[None]:
    """Note the load in a training's folder while the work inside goes on: soon, then now and then, and at its end."""
    recorder = Recorder(training)

    def note(load: MachineLoad) -> None:
        with contextlib.suppress(OSError):
            recorder.load(load.read())

    def work(ended: threading.Event) -> None:
        load, pause = MachineLoad(), FIRST_SECONDS
        while not ended.wait(pause):
            note(load)
            pause = min(2 * pause, SECONDS)
        note(load)

    with beside(work):
        yield
