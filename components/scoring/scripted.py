"""Scripted networks (TorchScript files) given by a path: what public code publishes its feature networks as.

A scripted file is a program: it can write files, and need not end. So only files run that are published under a known
SHA-256, and files whose SHA-256 the spec says; the latter in a process of their own.
"""

from pathlib import Path
from typing import Any

from components.scoring import scripted_process
from components.scoring.scripted_file import is_scripted, load_scripted, refuse_another
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
    return scripted_process.GuardedNetwork(path)
