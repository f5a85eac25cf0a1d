"""Files of tensors, read without running code, and why one was refused (torch advises to switch its guard off)."""

import pickle
import re
from pathlib import Path
from typing import Any

from registry.errors import RunError, shortened

_NAMED = re.compile(r"GLOBAL (\S+)")


def load_tensors(path: Path, wanted: str) -> Any:
    """Return what a file of `torch.save` holds, on the CPU: tensors in dictionaries and lists.

    Args:
        path: the file.
        wanted: what it should hold, for the message.

    Raises:
        RunError: the file is absent, damaged, not a file of tensors, or would run code.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are not a pickle make the unpickler raise nearly anything
        raise RunError(f"{path}: no {wanted} can be read from it: {why_refused(error)}") from error


def why_refused(error: Exception) -> str:
    """Return in one line why `torch.load(…, weights_only=True)` did not read a file.

    Args:
        error: what it raised.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, RuntimeError):
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, pickle.UnpicklingError) and (found := _NAMED.search(str(error))):
        return f"it would run code ({shortened(found.group(1))}); only files of tensors are read"
    return "it is not a file of tensors"
