"""The published I3D network as a detector: its weights, and how clips are brought to 224x224."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from components.scoring.detectors.i3d_folding import fold
from components.scoring.detectors.i3d_network import CLASSES, I3D, MINIMUM_FRAMES, SIDE
from components.scoring.scripted import open_scripted
from components.scoring.scripted_file import is_scripted, refuse_another
from components.unpickling import load_tensors
from components.weights import KNOWN, find, refuse_damaged, sha256_of
from registry.errors import RunError
from registry.parts.catalogue import part

PUBLISHED = {KNOWN[name].sha256 for name in ("i3d", "i3d_state_dict")}


@part("detector", "i3d")
class I3DDetector:
    """The 400 logits of I3D trained on Kinetics-400, the features behind every published FVD.

    `weights` is the path of `i3d_pretrained_400.pt` (a state dict, loaded strictly into our network) or of
    `i3d_torchscript.pt` (scripted); left empty, the environment variable LATTE_WORKBENCH_I3D and then the cache
    folder ~/.cache/latte-workbench are looked at. With these two published files, told by their SHA-256, scores have
    plain names such as `fvd`; with any other file they are called `fvd[i3d:<first 8 of its SHA-256>]`. `sha256` says
    which file is meant, and has to be said of a scripted file that is not the published one, because such a file is a
    program. `preprocessing` is `direct_square`, straight to 224x224 as the scripted file does itself, or
    `short_side_crop`, the shorter side to 224 and a centre crop, as in VideoGPT's tools; for square clips they agree.
    Clips need at least 9 frames.

    Source: paper section 4.1 (FVD after StyleGAN-V); Carreira and Zisserman 2017, arXiv 1705.07750
    Official code: yes, as the scripted file of StyleGAN-V; the network here is written anew
    """

    label = "i3d"
    score_suffix = ""
    layer = "logits"
    rows_per_clip = 1
    dimensions = CLASSES
    minimum_frames = 9  # MINIMUM_FRAMES, written out: it is read without importing

    def __init__(
        self,
        *,
        weights: str = "",
        preprocessing: Literal["direct_square", "short_side_crop"] = "direct_square",
        sha256: str = "",
    ) -> None:
        self.path = find_weights(weights)
        self.weights_sha256 = sha256_of(self.path)
        refuse_damaged(self.path, self.weights_sha256)
        published = self.weights_sha256 in PUBLISHED
        self.score_suffix = "" if published else f"[i3d:{self.weights_sha256[:8]}]"
        self.preprocessing = preprocessing
        self.scripted = is_scripted(self.path)
        self.network = self._open(published, sha256)

    def _open(self, published: bool, sha256: str) -> Any:
        setting, found = "scoring.detector.sha256", self.weights_sha256
        if self.scripted:
            return open_scripted(self.path, found, published=published, named=sha256, setting=setting)
        refuse_another(self.path, found, sha256, setting)
        return fold(load_native(self.path))

    @torch.no_grad()
    def features(self, videos: Tensor) -> Tensor:
        """Features float32 (N, 400) of uint8 videos (N, F, H, W, 3), on the device of the videos.

        Raises:
            RunError: fewer than 9 frames, or a scripted file that is another network.
        """
        if videos.shape[1] < MINIMUM_FRAMES:
            raise RunError(f"i3d needs clips of at least {MINIMUM_FRAMES} frames, not {videos.shape[1]}")
        network = self.network.to(videos.device)
        features: Tensor
        if not self.scripted:
            features = network(PREPROCESSING[self.preprocessing](videos))
            return features.float()
        own = self.preprocessing == "direct_square"  # which the scripted file does itself
        inputs = rearrange(videos, "n f h w c -> n c f h w") if own else PREPROCESSING[self.preprocessing](videos)
        try:
            features = network(inputs.contiguous(), rescale=own, resize=own, return_features=True)
        except RuntimeError as error:
            last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise RunError(f"{self.path}: the network fails on clips {tuple(inputs.shape)}: {last}") from error
        return features.float()

    def fingerprint(self) -> str:
        """SHA-256 hex digits of the weights file (by itself: `weights_sha256`) and the preprocessing.

        How the network is computed (`i3d_folding`, the device) is not in it: features differ by rounding alone, so that
        stored ones may stand beside new ones.
        """
        return hashlib.sha256(f"{self.weights_sha256} {self.preprocessing}".encode()).hexdigest()


def direct_square(videos: Tensor) -> Tensor:
    """uint8 (N, F, H, W, 3) -> float (N, 3, F, 224, 224) in [-1, 1], the aspect not kept."""
    return _resized(videos, (SIDE, SIDE)) / 127.5 - 1


def short_side_crop(videos: Tensor) -> Tensor:
    """uint8 (N, F, H, W, 3) -> float (N, 3, F, 224, 224) in [-1, 1]: the shorter side to 224, the centre kept."""
    height, width = videos.shape[2:4]
    scale = SIDE / min(height, width)
    size = (SIDE, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), SIDE)
    top, left = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    return _resized(videos, size)[..., top : top + SIDE, left : left + SIDE] / 127.5 - 1


PREPROCESSING: dict[str, Callable[[Tensor], Tensor]] = {
    "direct_square": direct_square,
    "short_side_crop": short_side_crop,
}


def _resized(videos: Tensor, size: tuple[int, int]) -> Tensor:
    frames = rearrange(videos, "n f h w c -> (n f) c h w").float()
    resized = functional.interpolate(frames, size=size, mode="bilinear", align_corners=False)
    return rearrange(resized, "(n f) c h w -> n c f h w", n=len(videos))


def find_weights(weights: str = "") -> Path:
    """The file of the weights: the one named, else that of the environment variable, else that in the cache folder.

    Raises:
        SpecError: the file named by `weights` does not exist.
        RunError: no file is found; the message says where to put which.
    """
    return find(
        "i3d",
        "i3d_state_dict",
        given=weights,
        setting="scoring.detector.weights",
        instead="choose the detector moving_shapes_r3d, whose weights come with the workbench",
    )


def load_native(path: Path) -> I3D:
    """The network with the weights of a state dict, loaded strictly; files of old PyTorch may lack batch counts.

    Raises:
        RunError: the file is no state dict of this network.
    """
    state = load_tensors(path, "weights")
    with torch.device("meta"):
        network = I3D()
    if not isinstance(state, dict):
        raise RunError(f"{path}: a state dict of I3D is expected, not a {type(state).__name__}")
    counts = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
    state = {**{name: torch.zeros((), dtype=torch.int64) for name in counts}, **state}
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise RunError(f"{path}: these are not the weights of I3D with 400 classes: {error}") from error
    return network.float()
