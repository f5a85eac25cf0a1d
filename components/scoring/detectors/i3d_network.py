"""I3D: the Inception-v1 network inflated to three dimensions, 400 Kinetics classes.

The modules carry the entry names of the published `i3d_pretrained_400.pt`, in its order, so that it loads strictly.
Layout (B, C, T, H, W) throughout.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 400
SIDE = 224  # pixels, height and width
MINIMUM_FRAMES = 9  # fewer leave less than the two time steps that the average pool spans

# Output channels of a mixed block: branch 0, 1a, 1b, 2a, 2b, 3b.
MIXED = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}


class I3D(nn.Module):
    """Clips (B, 3, T, 224, 224) in [-1, 1] with T >= 9 -> logits (B, 400), averaged over time."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = _Logits()
        self.Conv3d_1a_7x7 = Unit(3, 64, kernel=7, stride=2)
        self.Conv3d_2b_1x1 = Unit(64, 64, kernel=1)
        self.Conv3d_2c_3x3 = Unit(64, 192, kernel=3)
        for name, (inputs, outputs) in MIXED.items():
            self.add_module(name, _Mixed(inputs, outputs))

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.logits(self.pooled(clips))
        return logits.flatten(2).mean(dim=2)

    def pooled(self, clips: Tensor) -> Tensor:
        """The 1024 channels after the average pool, (B, 1024, T', 1, 1)."""
        x = clips
        for _, x in self.stages(clips):  # noqa: B007 - only the last stage is wanted
            pass
        return functional.avg_pool3d(x, kernel_size=(2, 7, 7), stride=1)

    def stages(self, clips: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The name and the output of every stage up to the average pool, in order."""
        x = clips
        for name, stage in self._sequence():
            x = stage(x)
            yield name, x

    def _sequence(self) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
        yield "Conv3d_1a_7x7", self.Conv3d_1a_7x7
        yield "MaxPool3d_2a_3x3", lambda x: _max_pool(x, (1, 3, 3), (1, 2, 2))
        yield "Conv3d_2b_1x1", self.Conv3d_2b_1x1
        yield "Conv3d_2c_3x3", self.Conv3d_2c_3x3
        yield "MaxPool3d_3a_3x3", lambda x: _max_pool(x, (1, 3, 3), (1, 2, 2))
        for name in MIXED:
            if name == "Mixed_4b":
                yield "MaxPool3d_4a_3x3", lambda x: _max_pool(x, (3, 3, 3), (2, 2, 2))
            if name == "Mixed_5b":
                yield "MaxPool3d_5a_2x2", lambda x: _max_pool(x, (2, 2, 2), (2, 2, 2))
            yield name, self.get_submodule(name)


class _Logits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(1024, CLASSES, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.conv3d(x)
        return logits


class Unit(nn.Module):
    """Convolution with "same" padding, batch norm (eps 1e-5), ReLU."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel_size=kernel, stride=stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        padded = pad_same(x, self.conv3d.kernel_size, self.conv3d.stride)
        return functional.relu(self.bn(self.conv3d(padded)))


class _Mixed(nn.Module):
    """Four branches side by side: 1x1x1; 1x1x1 and 3x3x3, twice; max pool and 1x1x1."""

    def __init__(self, inputs: int, outputs: tuple[int, ...]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = outputs
        self.b0 = Unit(inputs, b0, kernel=1)
        self.b1a = Unit(inputs, b1a, kernel=1)
        self.b1b = Unit(b1a, b1b, kernel=3)
        self.b2a = Unit(inputs, b2a, kernel=1)
        self.b2b = Unit(b2a, b2b, kernel=3)
        self.b3b = Unit(inputs, b3b, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = _max_pool(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


def _max_pool(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """The largest of each window, one axis after the other: the same numbers as of whole windows, in less time.

    torch's kernel looks at all 27 numbers of a 3x3x3 window, and keeps where the largest was.
    """
    x = pad_same(x, kernel, stride)
    for axis, (width, step) in enumerate(zip(kernel, stride, strict=True), start=2):
        last = x.shape[axis] - width
        largest = None
        for first in range(width):
            some = x[(slice(None),) * axis + (slice(first, first + last + 1, step),)]
            largest = some if largest is None else torch.maximum(largest, some)
        assert largest is not None, "a window has a width"
        x = largest
    return x


def pad_same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros around time, height and width, so that ceil(size / stride) outputs fit; the smaller half in front."""
    padding: list[int] = []
    for size, k, s in zip(x.shape[-1:1:-1], kernel[::-1], stride[::-1], strict=True):  # pad counts from the last axis
        total = max(k - (size % s or s), 0)
        padding += [total // 2, total - total // 2]
    return functional.pad(x, padding)
