"""VideoMAE v2 through the package cd-fvd, as a second opinion that looks more at motion than I3D does."""

import hashlib
import importlib
import pickle
from typing import Any

import torch
from torch import Tensor

from components.unpickling import why_refused
from components.weights import find, sha256_of
from registry.errors import RunError
from registry.parts.catalogue import part

PREPROCESSING = "cd-fvd 0.1.1 preprocess_videomae: / 255, 224x224 bilinear without antialiasing"


@part("detector", "videomae")
class VideoMAEDetector:
    """The 1408 pooled features of VideoMAE v2 (giant, fine-tuned on Something-Something v2), through cd-fvd.

    The network and its preprocessing are the package's own; it is imported only when this detector is asked for. The
    score is named `fvd[videomae]`, as content-debiased FVD. `weights` is the path of
    `vit_g_hybrid_pt_1200e_ssv2_ft.pth` (2 GB); left empty, the environment variable LATTE_WORKBENCH_VIDEOMAE and then
    the cache folder are looked at. Clips must have 16 frames, which the network is built for.

    Source: none in the paper; Ge et al. 2024, arXiv 2404.12391 (content-debiased FVD)
    Official code: yes, the package cd-fvd of its authors, called
    """

    label = "videomae"
    score_suffix = "[videomae]"
    layer = "pooled"
    rows_per_clip = 1
    dimensions = 1408
    minimum_frames = 16

    def __init__(self, *, weights: str = "") -> None:
        try:
            self._package: Any = importlib.import_module("cdfvd.third_party.VideoMAEv2.utils")
        except ImportError as error:
            raise RunError(
                f"detector videomae: the package cd-fvd cannot be imported ({error}): run "
                "`pip install 'latte-workbench[second-opinion]'` or `pip install cd-fvd==0.1.1`"
            ) from error
        path = find("videomae", given=weights, setting="scoring.detector.weights")
        self.weights_sha256 = sha256_of(path)
        state = torch.random.get_rng_state()  # the package initialises its network before it loads the weights
        try:
            # torch.load's default since 2.6 is weights_only=True: a file with code in it is refused.
            network = self._package.load_videomae_model(torch.device("cpu"), str(path))
        except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            told = f"these are not the weights of VideoMAE v2 that cd-fvd uses: {why_refused(error)}"
            raise RunError(f"{path}: {told}") from error
        finally:
            torch.random.set_rng_state(state)
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def features(self, videos: Tensor) -> Tensor:
        """Features float32 (N, 1408) of uint8 videos (N, 16, H, W, 3), on the device of the videos.

        Raises:
            RunError: clips of another length.
        """
        if videos.shape[1] != self.minimum_frames:
            raise RunError(f"videomae needs clips of exactly {self.minimum_frames} frames, not {videos.shape[1]}")
        prepared = self._package.preprocess_videomae(videos.cpu().numpy()).to(videos.device)
        features: Tensor = self.network.to(videos.device).forward_features(prepared)
        return features.float()

    def fingerprint(self) -> str:
        """SHA-256 hex digits of the weights file (by itself: `weights_sha256`) and the preprocessing."""
        return hashlib.sha256(f"{self.weights_sha256} {PREPROCESSING}".encode()).hexdigest()
