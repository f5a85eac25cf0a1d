"""Scripted networks (TorchScript files) given by a path: what public code publishes its feature networks as."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from registry.errors import RunError


def load_scripted(path: Path) -> nn.Module:
    """The network of a TorchScript file, on the CPU and in evaluation mode.

    Raises:
        RunError: the file is no TorchScript file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch.jit is deprecated, but this is the published format
            network: nn.Module = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{path}: no scripted network (torch.jit.save) can be loaded from it: {reason}") from error
    return network.eval()


@contextmanager
def as_written() -> Iterator[None]:
    """Run scripted networks operation by operation.

    Otherwise the first calls are profiled and later ones fused, which may round the same clip differently.
    """
    with torch.no_grad(), torch.jit.optimized_execution(False):
        yield
