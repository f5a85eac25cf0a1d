"""Pooling one axis after the other gives what pooling whole windows gives."""

import pytest
import torch
from torch.nn import functional

from components.scoring.detectors.i3d_network import _max_pool, pad_same


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (1, 1, 1)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2))],
)
@pytest.mark.parametrize("size", [(3, 7, 8), (4, 6, 5), (1, 14, 14)])
def test_bit_for_bit(kernel: tuple[int, int, int], stride: tuple[int, int, int], size: tuple[int, int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = functional.max_pool3d(pad_same(x, kernel, stride), kernel, stride)
    assert torch.equal(_max_pool(x, kernel, stride), expected)
