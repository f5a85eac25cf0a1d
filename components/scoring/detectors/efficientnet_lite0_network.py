"""EfficientNet-Lite0 without its classifier, and how frames are brought to it.

Layout (N, C, H, W). A convolution of stride 2 is padded as TensorFlow does ("SAME"): an odd row goes behind.
"""

from typing import NamedTuple

from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

SIDE = 224  # pixels, height and width, that every frame is resized to
STEM, DIMENSIONS = 32, 1280
PREPROCESSING = "224x224 bilinear antialiased, (x - 127) / 128; version 1"


class Stage(NamedTuple):
    """Blocks behind one another; only the first has the stride and another number of channels than the rest."""

    blocks: int
    kernel: int
    stride: int
    widening: int  # channels within a block, as a multiple of those that come in
    channels: int


# Tan and Le 2019, table 1; the first and the last stage have as many blocks at every size of the lite networks.
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def prepared(videos: Tensor) -> Tensor:
    """uint8 (N, F, H, W, 3) -> float (N * F, 3, 224, 224), the aspect not kept."""
    frames = rearrange(videos, "n f h w c -> (n f) c h w").float()
    resized = functional.interpolate(frames, size=(SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
    return (resized - 127) / 128


class EfficientNetLite0(nn.Module):
    """(N, 3, 224, 224) -> (N, 1280): a stem, 16 inverted residual blocks and a head, averaged over the place."""

    bn0: nn.Module
    bn1: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = _convolution(3, STEM, 3, stride=2), _norm(STEM)
        blocks, inputs = [], STEM
        for stage in STAGES:
            for number in range(stage.blocks):
                blocks.append(_Block(inputs, stage, stage.stride if number == 0 else 1))
                inputs = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.conv_head, self.bn1 = _convolution(inputs, DIMENSIONS, 1), _norm(DIMENSIONS)

    def forward(self, x: Tensor) -> Tensor:
        x = _relu6(self.bn0(_same(self.conv_stem, x)))
        x = _relu6(self.bn1(self.conv_head(self.blocks(x))))
        return reduce(x, "n c h w -> n c", "mean")

    def fold(self) -> None:
        """Fold every batch norm into the convolution before it; features change by rounding (2e-6 of the largest)."""
        self.conv_stem, self.bn0 = _folded(self.conv_stem, self.bn0)
        self.conv_head, self.bn1 = _folded(self.conv_head, self.bn1)
        for block in self.blocks:
            assert isinstance(block, _Block)
            block.fold()


class _Block(nn.Module):
    """Widen the channels, look around in each, bring them together; added to what came in where the shape stays."""

    bn0: nn.Module
    bn1: nn.Module
    bn2: nn.Module

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.widening
        if stage.widening > 1:
            self.expand_conv, self.bn0 = _convolution(inputs, wide, 1), _norm(wide)
        self.depthwise_conv = _convolution(wide, wide, stage.kernel, stride, groups=wide)
        self.bn1 = _norm(wide)
        self.project_conv, self.bn2 = _convolution(wide, stage.channels, 1), _norm(stage.channels)
        self.widens, self.adds = stage.widening > 1, stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        inner = _relu6(self.bn0(self.expand_conv(x))) if self.widens else x
        inner = _relu6(self.bn1(_same(self.depthwise_conv, inner)))
        inner = self.bn2(self.project_conv(inner))
        return x + inner if self.adds else inner

    def fold(self) -> None:
        """Fold the block's batch norms into its convolutions."""
        if self.widens:
            self.expand_conv, self.bn0 = _folded(self.expand_conv, self.bn0)
        self.depthwise_conv, self.bn1 = _folded(self.depthwise_conv, self.bn1)
        self.project_conv, self.bn2 = _folded(self.project_conv, self.bn2)


def _folded(convolution: nn.Conv2d, norm: nn.Module) -> tuple[nn.Conv2d, nn.Identity]:
    assert isinstance(norm, nn.BatchNorm2d), "a network is folded once"
    return fuse_conv_bn_eval(convolution, norm), nn.Identity()


def _relu6(x: Tensor) -> Tensor:
    """ReLU6 in place: what a norm or a folded convolution gave belongs to nobody else."""
    return functional.hardtanh_(x, 0.0, 6.0)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _same(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution whose output has ceil(side / stride) rows and columns."""
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    padding = []
    for side in (x.shape[-1], x.shape[-2]):  # width first, as `pad` has it
        missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        padding += [missing // 2, missing - missing // 2]
    padded: Tensor = convolution(functional.pad(x, padding))
    return padded


def own_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries of the published file by the names that they have here, without those of the classifier."""
    return {
        name.replace("._", ".").removeprefix("_"): value for name, value in state.items() if not name.startswith("_fc.")
    }
