"""A folded unit of I3D gives what convolution, batch norm and ReLU give, to rounding."""

import pytest
import torch
from torch.nn import functional

from components.scoring.detectors.i3d_folding import FoldedUnit, by_pairs, filters_of, fold
from components.scoring.detectors.i3d_network import I3D, Unit
from tests.parity.rounding import EPS


def random_unit(inputs: int, outputs: int, kernel: int, stride: int = 1) -> Unit:
    """A unit in evaluation whose batch norm is not the identity."""
    generator = torch.Generator().manual_seed(0)
    unit = Unit(inputs, outputs, kernel=kernel, stride=stride).eval().requires_grad_(False)
    unit.conv3d.weight.normal_(generator=generator)
    unit.bn.running_mean.normal_(generator=generator)  # type: ignore[union-attr]
    unit.bn.running_var.uniform_(0.5, 2, generator=generator)  # type: ignore[union-attr]
    unit.bn.weight.uniform_(0.5, 2, generator=generator)
    unit.bn.bias.normal_(generator=generator)
    return unit


def clips(channels: int, *size: int) -> torch.Tensor:
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(1))


def off_at_most(kernel: torch.Tensor, x: torch.Tensor, frames: int) -> float:
    """Return what two ways of summing can differ by, where a pair is made of that many frames.

    n terms are summed, and each rounding is off by EPS/2 of the magnitudes' sum at most. Roundings have either sign, so
    that n of them come to a few times the root of n; either way has its own. A filter sums up to three parts of the
    kernel and a pair four frames, which the magnitudes have in them.
    """
    terms = kernel[0].numel() * frames
    magnitudes = float(kernel.abs().flatten(1).sum(1).max() * x.abs().max()) * frames
    return terms**0.5 * EPS * magnitudes


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_pairs_of_frames(frames: int) -> None:
    """In float64, where what rounding leaves is a billionth of float32's, the two are the same formula."""
    x, unit = clips(3, frames, 6, 5).double(), random_unit(3, 4, kernel=3).double()
    kernel, bias = unit.conv3d.weight, unit.bn.bias
    expected = functional.conv3d(x, kernel, bias, padding=1)
    found = by_pairs(x, filters_of(kernel), bias)
    torch.testing.assert_close(found, expected, rtol=0, atol=2**-29 * off_at_most(kernel, x, 4))


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (7, 2)])
@pytest.mark.parametrize("size", [(4, 14, 15), (5, 16, 14), (2, 7, 7)])
def test_folded_unit(kernel: int, stride: int, size: tuple[int, int, int]) -> None:
    """Folding rounds a kernel's numbers once more, and the mean times a factor: the bound of the sum has them."""
    x, unit = clips(3, *size), random_unit(3, 8, kernel, stride)
    folded = FoldedUnit(unit)
    expected, found = unit(x), folded(x)
    assert expected.gt(0).any()
    atol = off_at_most(folded.kernel, x, 4) + 4 * EPS * float(folded.bias.abs().max())
    assert atol < 0.02 * float(expected.max())
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def test_every_unit_of_the_network_is_folded() -> None:
    network = fold(I3D())
    units = [module for module in network.modules() if isinstance(module, FoldedUnit)]
    assert len(units) == 57
    assert not any(isinstance(module, Unit) for module in network.modules())
