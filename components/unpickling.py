"""Files of tensors, read without running code, and why one was refused (torch advises to switch its guard off)."""

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

from registry.errors import RunError, shortened

_NAMED = re.compile(r"GLOBAL (\S+)")


def load_tensors(path: Path, wanted: str, mapped: bool = False) -> Any:
    """Return what a file of `torch.save` holds, on the CPU: tensors in dictionaries and lists.

    Args:
        path: the file.
        wanted: what it should hold, for the message.
        mapped: tensors stay in the file until they are used, where the file's form allows it (`torch.save` since 1.6).

    Raises:
        RunError: the file is absent, damaged, not a file of tensors, would run code, or claims more than it holds.
    """
    import torch

    refused = f"{path}: no {wanted} can be read from it"
    try:
        packed = zipfile.is_zipfile(path)
        if packed and (why := _larger_than_told(path)):
            raise RunError(f"{refused}: {why}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of a pickle's protocol; what is wrong with a file is raised
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and packed)
    except RunError:
        raise
    except Exception as error:  # bytes that are not a pickle make the unpickler raise nearly anything
        raise RunError(f"{refused}: {why_refused(error)}") from error


def _larger_than_told(path: Path) -> str:
    """Return why an archive would grow as it is read, empty where it would not: `torch.save` compresses nothing."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > size:
                return f"its entry {shortened(entry.filename)} claims {entry.file_size:,} bytes, the file has {size:,}"
    return ""


def why_refused(error: Exception) -> str:
    """Return in one line why `torch.load(…, weights_only=True)` did not read a file.

    Args:
        error: what it raised.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, zipfile.BadZipFile):
        return f"it is damaged ({error})"
    if isinstance(error, RuntimeError):
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, pickle.UnpicklingError) and (found := _NAMED.search(str(error))):
        return f"it would run code ({shortened(found.group(1))}); only files of tensors are read"
    return "it is not a file of tensors"
