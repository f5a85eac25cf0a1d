"""Weights that a training starts from: read from a file of any known layout, and held against the network."""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from components.model.checkpoints import from_official
from components.model.checkpoints.contents import MODEL, read_file
from components.model.latte import Latte
from registry.errors import RunError, SpecError

Entries = Mapping[str, Tensor]
SHOWN = 6  # mismatches that are told; of the others the number
TABLE = 1e-2  # how far a fixed table in a file may be from the network's: official averages drift by rounding
TABLES = ("spatial_position", "temporal_position.table")  # fixed by the grid and the number of frames


def read(file: Path, weights: str | None) -> dict[str, Tensor]:
    """Return the weights of a file under the workbench's names, on the CPU.

    Args:
        file: a checkpoint of this workbench, an official one, a flat file of entries, or safetensors.
        weights: `ema` or `model`; None: averaged ones where there are any.

    Raises:
        RunError: the file cannot be read, would run code, or has no such weights.
    """
    try:
        contents = read_file(file)
        # The average of a training leaves fixed tables out, which its model has.
        return from_official({**contents.weights.get(MODEL, {}), **contents.weights[contents.kind(weights)]})
    except SpecError as error:
        raise RunError(str(error)) from None


def learned(model: Latte) -> dict[str, Tensor]:
    """Return the learned weights of a network by name, without fixed tables."""
    return dict(model.named_parameters())


def depth_of(entries: Entries) -> int:
    """Return how many blocks the entries are of."""
    numbers = {name.split(".")[1] for name in entries if name.startswith("blocks.")}
    return len(numbers)


def mismatches(model: Latte, entries: Entries, besides: Collection[str] = ()) -> list[str]:
    """Return a line for each weight that is missing, left over, or of another shape; both shapes are told.

    Args:
        model: whose weights they should be; a network without memory will do.
        entries: under the workbench's names; fixed tables among them may be of another grid only if they are `besides`.
        besides: names that are not asked about.
    """
    own, tables = learned(model), dict(model.named_buffers())
    wrong = [f"it has no {name} {_shape(value)}" for name, value in own.items() if name not in {*entries, *besides}]
    wrong += [f"it has no {name}" for name in tables if name in TABLES and name not in {*entries, *besides}]
    for name, value in entries.items():
        network = own.get(name, tables.get(name))
        if name in besides:
            continue
        if network is None:
            wrong.append(f"the network has no {name} {_shape(value)}")
        elif network.shape != value.shape:
            wrong.append(f"{name} is {_shape(value)}, the network has {_shape(network)}")
        elif name in tables and network.device.type != "meta" and not _near(value, network):
            wrong.append(f"{name} has other values than the network's fixed table")
    return wrong


def _near(value: Tensor, table: Tensor) -> bool:
    return bool((value.float() - table.float()).abs().max() < TABLE)


def _shape(value: Tensor) -> str:
    return str(tuple(value.shape))


def told(wrong: list[str]) -> str:
    """Return the mismatches in one line."""
    more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return f"does not fit the network: {'; '.join(wrong[:SHOWN])}{more}"


@torch.no_grad()
def copy(model: Latte, entries: Entries) -> None:
    """Set the learned weights that are among the entries; fixed tables stay as the network has them."""
    for name, parameter in model.named_parameters():
        if name in entries:
            parameter.copy_(entries[name])
