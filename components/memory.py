"""Whether the C library keeps the memory that tensors on the CPU leave behind, or gives it back to the system."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEEPING = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}
# What glibc comes to by itself where large blocks are used; once anything is set, it no longer moves them.
_USUAL = {_TRIM_THRESHOLD: 2**26, _MMAP_THRESHOLD: 2**25, _MMAP_MAX: 65536}


@contextmanager
def kept(device: torch.device) -> Iterator[None]:
    """Keep memory that is freed inside the block for the next tensors; give back what is left behind the block.

    Every step makes and frees the same large tensors. glibc returns them to the system, which then fills each page anew
    with zeros: a tenth of a step of a small network. The setting is that of the process; it changes no number. Nothing
    happens on a GPU, whose memory torch keeps itself, nor with another C library.

    Args:
        device: where the tensors are.
    """
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    for parameter, value in _KEEPING.items():
        libc.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in _USUAL.items():
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)
