"""A small random 3-D residual network: the control that tells what training a detector is worth."""

import hashlib
import math

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from registry.errors import RunError, SpecError
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count, NonNegativeInt

MAX_SEED = 2**32 - 1
MAX_WIDTH = 256  # 44 million weights


@part("detector", "random_r3d")
class RandomR3D:
    """Features of a small seeded random 3-D residual network: a control beside trained detectors.

    Random convolutions see texture, shape and motion, so that the distance tells broken samples from good ones; what a
    trained detector sees beyond that is what its training is worth. It agrees with no published number: its score is
    named `fvd[random_r3d]`, never plain `fvd`. It sees each frame together with its change since the frame before,
    and takes clips of any size with at least 2 frames.

    Source: none in the paper; after the finding that random networks give usable Fréchet distances
        (Naeem et al. 2020, arXiv 2002.09797)
    Official code: no, our own
    """

    label = "random_r3d"
    score_suffix = "[random_r3d]"
    layer = "pooled"
    rows_per_clip = 1
    minimum_frames = 2

    def __init__(self, *, seed: NonNegativeInt = 0, width: Count = 16) -> None:
        if seed > MAX_SEED:
            raise SpecError(
                f"scoring.detector.seed: {seed} is more than {MAX_SEED}, the largest that NumPy's stream takes"
            )
        if width > MAX_WIDTH:
            raise SpecError(f"scoring.detector.width: {width} is more than {MAX_WIDTH}: this network is a small one")
        self.dimensions = 4 * width
        with torch.device("meta"):  # no default initialisation, which would draw from the global generator
            network = _Network(width)
        self.network = network.to_empty(device="cpu")
        # NumPy promises that this generator's stream never changes, so neither do the weights.
        stream = np.random.RandomState(seed)
        with torch.no_grad():
            for weight in self.network.parameters():
                fan_in = math.prod(weight.shape[1:])
                normal = stream.standard_normal(tuple(weight.shape)) * math.sqrt(2 / fan_in)
                weight.copy_(torch.from_numpy(normal.astype(np.float32)))
        self.network.eval().requires_grad_(False)

    def features(self, videos: Tensor) -> Tensor:
        """Features float32 (N, D) of uint8 videos (N, F, H, W, 3), on the device of the videos.

        Raises:
            RunError: fewer than 2 frames.
        """
        if videos.shape[1] < self.minimum_frames:
            raise RunError(f"random_r3d needs clips of at least {self.minimum_frames} frames, not {videos.shape[1]}")
        pixels = rearrange(videos, "n f h w c -> n c f h w").float() / 127.5 - 1
        change = functional.pad(pixels[:, :, 1:] - pixels[:, :, :-1], (0, 0, 0, 0, 1, 0))
        features: Tensor = self.network.to(videos.device)(torch.cat([pixels, change], dim=1))
        return features

    def fingerprint(self) -> str:
        """SHA-256 hex digits of the weights and the preprocessing, which is fixed."""
        digest = hashlib.sha256(b"random_r3d: frames / 127.5 - 1 and their changes")
        for weight in self.network.parameters():
            digest.update(weight.cpu().numpy().tobytes())
        return digest.hexdigest()


class _Network(nn.Module):
    """(N, 6, F, H, W) -> (N, 4 width): a stem and two residual blocks that halve the sizes, pooled over all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = _conv(6, width, stride=(1, 2, 2))
        self.blocks = nn.Sequential(_Block(width, 2 * width), _Block(2 * width, 4 * width))

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.blocks(functional.relu(self.stem(x))).mean(dim=(2, 3, 4))
        return pooled


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = _conv(inputs, outputs, stride=(2, 2, 2))
        self.second = _conv(outputs, outputs, stride=(1, 1, 1))
        self.shortcut = nn.Conv3d(inputs, outputs, kernel_size=1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.second(functional.relu(self.first(x)))
        return functional.relu((self.shortcut(x) + branch) / math.sqrt(2))


def _conv(inputs: int, outputs: int, stride: tuple[int, int, int]) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
