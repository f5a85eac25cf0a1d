"""Memory that tensors leave behind: kept inside the block, given back behind it."""

import platform
import resource
from pathlib import Path

import pytest
import torch

from components.memory import kept

CPU = torch.device("cpu")
PAGE = resource.getpagesize()
HELD = 3 * 40 * 2**20  # bytes of the tensors below: each larger than what glibc keeps by itself


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def use() -> int:
    """Make some tensors at once and leave them behind; return how many pages the system had to give for them."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(HELD // 3 // 4) for _ in range(3)]
    del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_is_used_again_and_given_back_behind_the_block() -> None:
    with kept(CPU):
        assert _settled() < HELD / PAGE / 100
        full = resident()
    assert resident() < full - HELD / 2
    with kept(CPU):  # and once more
        assert _settled() < HELD / PAGE / 100


def _settled() -> int:
    """The least of some rounds: the C library may take a few to find places that fit."""
    return min(use() for _ in range(6))


def test_the_block_lets_errors_pass() -> None:
    with pytest.raises(KeyError), kept(CPU):
        raise KeyError


def test_nothing_happens_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("the C library was asked"))
    with kept(torch.device("cuda")):
        pass


def test_no_number_changes() -> None:
    """Bit for bit, also in memory that others left behind."""
    left, right = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = (left @ right).softmax(dim=-1)
    with kept(CPU):
        use()
        found = [(left @ right).softmax(dim=-1) for _ in range(3)]
    assert all(torch.equal(one, expected) for one in found)
