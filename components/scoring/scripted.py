"""Scripted networks (TorchScript files) given by a path: what public code publishes its feature networks as.

A scripted file is a program: it can write files, and need not end. So only files run that are published under a known
SHA-256, and files whose SHA-256 the spec says; the latter in a process of their own.
"""

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from registry.errors import RunError, SpecError


def open_scripted(path: Path, sha256: str, *, published: bool, named: str, setting: str) -> Any:
    """Return the network of a TorchScript file that may be run: called like it, and moved by `to`.

    Args:
        path: the file.
        sha256: of the file.
        published: whether it is a file whose SHA-256 we know.
        named: the SHA-256 that the spec says, or "".
        setting: where the spec says it, for the message.

    Raises:
        SpecError: nobody said that this file may be run, or another one is there.
        RunError: the file is not a TorchScript file.
    """
    refuse_another(path, sha256, named, setting)
    if not is_scripted(path):
        raise RunError(f"{path}: no scripted network (torch.jit.save) can be loaded from it")
    if published:
        return load_scripted(path)
    if not named:
        raise SpecError(
            f"{path}: is a TorchScript file that is not published under a SHA-256 that is known here. Such a file is a "
            f"program, which could write files and need not end; if you trust it, say so by {setting}={sha256}"
        )
    from components.scoring.scripted_process import GuardedNetwork

    return GuardedNetwork(path)


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
