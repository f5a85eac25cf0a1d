"""I3D as it is computed where nothing is trained: each unit one convolution, and fewer products in those of 3x3x3.

The batch norm is folded into the kernel, and the ReLU overwrites what the convolution wrote. On a CPU, a 3x3x3 kernel
makes two frames at once out of four products of frames and 3x3 kernels where plain sums need six, the minimal filter
F(2, 3) along time. The numbers are those of the network but for rounding (docs/performance.md).

Source: Lavin and Gray, arXiv 1509.09308, section 4.1 (F(2, 3)), here along one axis of three
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from components.scoring.detectors.i3d_network import I3D, Unit, pad_same

SMALLEST_SIDE = 14  # pixels; below it, the sums of frames take longer than the products that they spare


def fold(network: I3D) -> I3D:
    """Replace every unit of a network whose weights are loaded, in place; return the network, for evaluation only."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Unit):
                setattr(parent, name, FoldedUnit(child))
    return network.eval().requires_grad_(False)


class FoldedUnit(nn.Module):
    """What a `Unit` computes in evaluation, (B, C, T, H, W) -> (B, C', T', H', W')."""

    kernel: Tensor
    bias: Tensor

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        norm, self.stride = unit.bn, unit.conv3d.stride
        assert norm.running_mean is not None and norm.running_var is not None, "I3D's batch norms count"  # noqa: PT018
        with torch.no_grad():
            factors = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            self.register_buffer("bias", norm.bias - norm.running_mean * factors)
            self.register_buffer("kernel", unit.conv3d.weight * rearrange(factors, "c -> c 1 1 1 1"))
            self.filters = nn.ParameterList(filters_of(self.kernel) if unit.conv3d.kernel_size == (3, 3, 3) else [])

    def forward(self, x: Tensor) -> Tensor:
        if len(self.filters) and x.device.type == "cpu" and x.shape[-1] >= SMALLEST_SIDE:
            return functional.relu_(by_pairs(x, list(self.filters), self.bias))
        padded = pad_same(x, self.kernel.shape[2:], self.stride)
        return functional.relu_(functional.conv3d(padded, self.kernel, self.bias, stride=self.stride))


def filters_of(kernel: Tensor) -> list[Tensor]:
    """The four filters (C', C, 3, 3) that `by_pairs` needs of a kernel (C', C, 3, 3, 3)."""
    first, middle, last = kernel.unbind(2)
    outer, inner = (first + last) / 2, middle / 2
    return [first, outer + inner, outer - inner, last.clone()]


def by_pairs(x: Tensor, filters: list[Tensor], bias: Tensor) -> Tensor:
    """A 3x3x3 convolution of x (B, C, T, H, W) with "same" padding, two frames at once: (B, C', T, H, W).

    Of four neighbouring frames d and a kernel whose 3x3 parts are g, the two frames in the middle become
    m0 + m1 + m2 and m1 - m2 - m3, where m0 = (d0 - d2) g0, m1 = (d1 + d2) (g0 + g1 + g2) / 2,
    m2 = (d2 - d1) (g0 - g1 + g2) / 2 and m3 = (d1 - d3) g2.
    """
    frames = x.shape[2]
    padded = functional.pad(x, (0, 0, 0, 0, 1, 1 + frames % 2))  # an odd last frame gets a pair that is dropped
    d0, d1, d2, d3 = (
        rearrange(padded[:, :, first : first + frames : 2], "b c t h w -> (b t) c h w") for first in range(4)
    )
    y0 = functional.conv2d(d0 - d2, filters[0], bias, padding=1)
    y1 = functional.conv2d(d3 - d1, filters[3], bias, padding=1)
    both, less = (functional.conv2d(d, g, padding=1) for d, g in ((d1 + d2, filters[1]), (d2 - d1, filters[2])))
    pairs = torch.stack([y0.add_(both).add_(less), y1.add_(both).sub_(less)], dim=1)
    made: Tensor = rearrange(pairs, "(b t) two c h w -> b c (t two) h w", b=len(x))[:, :, :frames]
    return made
