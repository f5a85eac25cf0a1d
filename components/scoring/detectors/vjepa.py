"""V-JEPA through the package videojedi, as a second opinion: the features of JEDi before its fine-tuned probe."""

import contextlib
import hashlib
import importlib
import io
import logging
import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from components.unpickling import why_refused
from components.weights import KNOWN, find, sha256_of
from registry.errors import RunError
from registry.parts.catalogue import part

PREPROCESSING = "videojedi 1.1.0: 224x224 bilinear antialiased, / 255, ImageNet mean and deviation; mean of all tokens"
SIDE = 224
# What the package would otherwise download: the network that the published weights are of.
NETWORK = {
    "pretrain": {
        "model_name": "vit_huge",
        "patch_size": 16,
        "tubelet_size": 2,
        "frames_per_clip": 16,
        "uniform_power": True,
        "use_sdpa": True,
        "use_silu": False,
        "tight_silu": False,
        "checkpoint_key": "target_encoder",
        "folder": "",
        "checkpoint": "",
    },
    "data": {"num_classes": 174, "frames_per_clip": 16, "num_segments": 2, "num_views_per_segment": 3},
    "optimization": {"resolution": SIDE, "attend_across_segments": True},
}


@part("detector", "vjepa")
class VJEPADetector:
    """The 1280 features of V-JEPA (huge, 16 pixel patches), the mean of its tokens, through videojedi.

    The network and its normalisation are the package's own; it is imported only when this detector is asked for.
    JEDi proper takes the features of a probe fine-tuned on Something-Something v2 behind this encoder and a
    polynomial kernel (our `kvd` is one of degree 3, theirs of degree 2), so that `kvd[vjepa]` is like JEDi and not
    equal to it. `weights` is the path of `vith16.pth.tar`; left empty, the environment variable LATTE_WORKBENCH_VJEPA
    and then the cache folder are looked at. Clips must have 16 frames, which the network is built for.

    Source: none in the paper; Luo et al. 2025, arXiv 2410.05203 (JEDi)
    Official code: yes, the package videojedi of its authors, called
    """

    label = "vjepa"
    score_suffix = "[vjepa]"
    layer = "pooled"
    rows_per_clip = 1
    dimensions = 1280
    minimum_frames = 16

    def __init__(self, *, weights: str = "") -> None:
        try:
            with _contained():
                package: Any = importlib.import_module("videojedi")
        except ImportError as error:
            raise RunError(
                f"detector vjepa: the package videojedi cannot be imported ({error}): run `pip install --no-deps "
                "videojedi==1.1.0 vjepa==0.1.2 opencv-python-headless beartype` (with its dependencies it asks for "
                "pandas 2.2, torchvision 0.19 and av 12, older than ours)"
            ) from error
        path = find("vjepa", given=weights, setting="scoring.detector.weights")
        if path.name != KNOWN["vjepa"].file:
            raise RunError(f"detector vjepa: videojedi wants weights called {KNOWN['vjepa'].file}, not {path.name}")
        self.weights_sha256 = sha256_of(path)
        with _contained(), tempfile.TemporaryDirectory() as folder:
            settings = Path(folder) / "network.yaml"
            settings.write_text(yaml.safe_dump(NETWORK), encoding="utf-8")
            try:
                # torch.load's default since 2.6 is weights_only=True: a file with code in it is refused.
                self._model = package.VJEPA(model_dir=str(path.parent), config_fname=str(settings), finetuned=False)
            except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
                told = f"these are not the weights of V-JEPA that videojedi uses: {why_refused(error)}"
                raise RunError(f"{path}: {told}") from error
        self._refuse_other_weights(path)

    def _refuse_other_weights(self, path: Path) -> None:
        """The package leaves entries that are missing or of another shape at random values, and only logs it."""
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        stored = stored.get("target_encoder", stored.get("encoder"))
        shapes = {name.replace("module.", "").replace("backbone.", ""): value.shape for name, value in stored.items()}
        wanted = {name: value.shape for name, value in self._model.encoder.model.state_dict().items()}
        wrong = [name for name, shape in wanted.items() if shapes.get(name) != shape]
        if wrong:
            raise RunError(
                f"{path}: these are not the weights of V-JEPA: {len(wrong)} entries differ, such as {wrong[0]}"
            )

    @torch.no_grad()
    def features(self, videos: Tensor) -> Tensor:
        """Features float32 (N, 1280) of uint8 videos (N, 16, H, W, 3), on the device of the videos.

        Raises:
            RunError: clips of another length.
        """
        if videos.shape[1] != self.minimum_frames:
            raise RunError(f"vjepa needs clips of exactly {self.minimum_frames} frames, not {videos.shape[1]}")
        frames = rearrange(videos, "n f h w c -> (n f) c h w").float() / 255
        resized = functional.interpolate(frames, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        self._model.encoder.to(videos.device)
        features = self._model.get_feats(rearrange(resized, "(n f) c h w -> n f c h w", n=len(videos)))
        return torch.as_tensor(features, dtype=torch.float32, device=videos.device)

    def fingerprint(self) -> str:
        """SHA-256 hex digits of the weights file (by itself: `weights_sha256`) and the preprocessing."""
        return hashlib.sha256(f"{self.weights_sha256} {PREPROCESSING}".encode()).hexdigest()


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Undo what the package leaves behind: printing, logging, a process group, variables, random numbers."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        raise RunError("detector vjepa: videojedi starts a process group of its own and cannot join the one there is")
    root, state, variables = logging.getLogger(), torch.random.get_rng_state(), dict(os.environ)
    level, handlers = root.level, list(root.handlers)
    for name in ("SLURM_NTASKS", "SLURM_PROCID"):  # it would wait for the other tasks of the job
        os.environ.pop(name, None)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
        torch.random.set_rng_state(state)
        os.environ.clear()
        os.environ.update(variables)
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
