"""A small 3-D residual network trained on made-up videos: the detector that works offline."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load
from torch import Tensor

from components.scoring.detectors.moving_shapes_network import PREPROCESSING, MovingShapesNetwork, prepared
from registry.errors import RunError
from registry.parts.catalogue import part

WEIGHTS = Path(__file__).with_name("moving_shapes_r3d.safetensors")


@part("detector", "moving_shapes_r3d")
class MovingShapesR3D:
    """64 pooled features of a small 3-D residual network trained on moving shapes; its weights come with the workbench.

    It learned to tell direction, shape, size, colour, place and speed of a moving shape, on black and on made-up
    backgrounds, and how strongly noise, blur, shuffled, frozen and dropped frames were applied. Its score agrees with
    no published number and is therefore named `fvd[moving_shapes_r3d]`. A fixed linear map, half-way to whitening,
    evens the directions of the features, so that distances are of order 1. Clips of any size are resized to 64x64,
    antialiased, and need at least 4 frames; what is finer than that it does not see.

    Source: none in the paper; after Tran et al. 2018, arXiv 1711.11248 (3-D residual networks)
    Official code: no, our own; trained by components.scoring.detectors.train_moving_shapes_r3d
    """

    label = "moving_shapes_r3d"
    score_suffix = "[moving_shapes_r3d]"
    caution = "orders samples, offline; comparable to published numbers is detector=i3d alone"
    layer = "pooled"
    rows_per_clip = 1
    dimensions = 64
    minimum_frames = 4

    def __init__(self) -> None:
        try:
            content = WEIGHTS.read_bytes()
        except OSError as error:
            raise RunError(
                f"detector moving_shapes_r3d: its weights, which are part of the installation, cannot be read: {error}"
            ) from error
        self.weights_sha256 = hashlib.sha256(content).hexdigest()
        with torch.device("meta"):  # no default initialisation, which would draw from the global generator
            network = MovingShapesNetwork()
        state = {name: value.float() for name, value in load(content).items()}
        counts = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
        state |= {name: torch.zeros((), dtype=torch.int64) for name in counts}
        network.load_state_dict(state, strict=True, assign=True)
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def features(self, videos: Tensor) -> Tensor:
        """Features float32 (N, 64) of uint8 videos (N, F, H, W, 3), on the device of the videos.

        Raises:
            RunError: fewer than 4 frames.
        """
        if videos.shape[1] < self.minimum_frames:
            raise RunError(
                f"moving_shapes_r3d needs clips of at least {self.minimum_frames} frames, not {videos.shape[1]}"
            )
        features: Tensor = self.network.to(videos.device)(prepared(videos))
        return features

    def fingerprint(self) -> str:
        """SHA-256 hex digits of the weights file and the preprocessing."""
        return hashlib.sha256(f"{self.weights_sha256} {PREPROCESSING}".encode()).hexdigest()
