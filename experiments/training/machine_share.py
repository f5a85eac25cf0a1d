"""How much of the machine's matrix products a training makes use of: what it needs against what the machine can do."""

import time

import torch

from components.network_counts import count_network
from experiments.training.losses import autocast
from registry.schema.spec import Spec

SIDE = {"cpu": 1024, "cuda": 4096}  # of the matrices whose product is the peak
TRIES = 3  # of which the fastest counts
FLOP_A_MAC = 6  # of a training step: 2 forward, twice as many backward


class MachineShare:
    """The share of the peak of matrix products that trained clips take up.

    What a clip needs are the multiply-accumulates of the network as this code evaluates it, three times; what is
    computed again (`runtime.checkpointing`) is not counted. The peak is the best of `TRIES` products of two square
    matrices of `SIDE`, in the training's precision and with its threads, measured when this object is made: that takes
    about 0.1 s on a core. It is of the machine as it is then, with whatever else is at work on it.

    Args:
        spec: of the training.
        device: of this process.
        processes: that train together, each with such a device.
    """

    def __init__(self, spec: Spec, device: torch.device, processes: int) -> None:
        self.flop_of_clip = FLOP_A_MAC * count_network(spec).trained
        with autocast(device, spec.runtime.precision):
            self.peak = processes * peak(device)

    def percentage(self, clips_per_second: float) -> float:
        """Return the percentage of the peak that so many clips of all processes take."""
        return four_digits(100 * clips_per_second * self.flop_of_clip / self.peak)


def four_digits(number: float) -> float:
    """Return a measured number in four digits, however small it is."""
    return float(f"{number:.4g}")


def peak(device: torch.device) -> float:
    """Return the operations a second of large products, in the precision of an autocast block around; draws nothing."""
    side = SIDE[device.type]
    numbers = torch.linspace(-1, 1, side, device=device)
    left, right = numbers.outer(numbers), numbers.outer(numbers.flip(0))
    if torch.is_autocast_enabled(device.type):
        left, right = (one.to(torch.get_autocast_dtype(device.type)) for one in (left, right))
    taken = []
    for _ in range(TRIES):
        _wait(device)
        began = time.perf_counter()
        left @ right
        _wait(device)
        taken.append(time.perf_counter() - began)
    return float(2 * side**3 / min(taken))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
