"""TorchScript files: telling them from others, and loading them in this process, which trusts them."""

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from registry.errors import RunError, SpecError


def refuse_another(path: Path, sha256: str, named: str, setting: str) -> None:
    """Refuse a file that is not the one that the spec names by its SHA-256, if it names one.

    Raises:
        SpecError: the file has another SHA-256.
    """
    if named and named.lower() != sha256:
        raise SpecError(f"{setting}: {path} has SHA-256 {sha256}, not {named}")


def is_scripted(path: Path) -> bool:
    """Tell by its entries whether a file is a TorchScript archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError):
        return False


def load_scripted(path: Path) -> nn.Module:
    """Return the network of a TorchScript file in this process, on the CPU and in evaluation mode.

    Raises:
        RunError: the file is not a TorchScript file.
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
