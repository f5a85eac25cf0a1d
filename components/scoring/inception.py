"""Inception features of frames, through clean-fid's own resizing and its own wrapper of the network."""

import hashlib
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.scoring.scripted import open_scripted
from components.scoring.scripted_file import as_written, refuse_another
from components.weights import KNOWN, find, refuse_damaged, sha256_of
from registry.errors import RunError
from registry.paths import cache_folder

FILE = KNOWN["inception"].file
VARIABLE = KNOWN["inception"].variable
PUBLISHED = KNOWN["inception"].sha256
CLEAN_FIDS = Path("." if platform.system() == "Windows" else "/tmp")  # where clean-fid downloads it to
SIDE = 299
FRAMES_AT_ONCE = 16


class Inception:
    """A feature vector of every frame, as clean-fid makes them in its mode `clean`.

    Frames are resized to 299x299 by clean-fid (Pillow, bicubic, antialiased, not rounded) and go, in 0..255, through
    the network: with the published file clean-fid's `InceptionV3W`, which gives 2048 pooled features; with any other
    scripted file that file itself, float (n, 3, 299, 299) in 0..255 -> (n, D), as clean-fid's documented hook for
    other extractors takes them.

    Args:
        weights: path of the file; empty: see `find_inception`.
        sha256: the SHA-256 of the file, which must be said of any but the published one, since it is a program.

    Raises:
        SpecError: the file named does not exist, or nobody said that it may be run.
        RunError: there is no file, or it is not a scripted network.
    """

    label = "inception"
    rows_per_clip = "frames"
    minimum_frames = 1

    def __init__(self, weights: str = "", sha256: str = "") -> None:
        self.path = find_inception(weights)
        self.sha256 = sha256_of(self.path)
        refuse_damaged(self.path, self.sha256)
        self.published = self.sha256 == PUBLISHED
        self.layer = "pooled" if self.published else "output"
        self._network = self._open(sha256)
        self._resize: Callable[[np.ndarray], np.ndarray] | None = None
        self.dimensions = self._dimensions()

    def _open(self, named: str) -> Any:
        setting = "the metric's `sha256`"
        if self.published:
            refuse_another(self.path, self.sha256, named, setting)
            return _published_network(self.path)
        return open_scripted(self.path, self.sha256, published=False, named=named, setting=setting)

    @property
    def suffix(self) -> str:
        """What the names of scores end in: nothing with the published weights, else the start of the file's hash."""
        return "" if self.published else f"[{self.sha256[:8]}]"

    def fingerprint(self) -> str:
        """SHA-256 of the weights and the preprocessing."""
        return hashlib.sha256(f"{self.sha256} clean-fid clean {SIDE}".encode()).hexdigest()

    def features(self, videos: Tensor) -> Tensor:
        """Features float32 (N, F, D) of uint8 videos (N, F, H, W, 3), every clip alone.

        Raises:
            RunError: the network refuses the frames, or answers in another shape.
        """
        return torch.stack([self._of_clip(clip) for clip in videos])

    def _of_clip(self, clip: Tensor) -> Tensor:
        from cleanfid.resize import build_resizer

        self._resize = self._resize or build_resizer("clean")
        resized = np.stack([self._resize(frame) for frame in clip.cpu().numpy()])
        frames = torch.from_numpy(resized).permute(0, 3, 1, 2).contiguous()
        return torch.cat(
            [self._run(frames[i : i + FRAMES_AT_ONCE], clip.device) for i in range(0, len(frames), FRAMES_AT_ONCE)]
        )

    def _run(self, frames: Tensor, device: torch.device) -> Tensor:
        from cleanfid.fid import get_batch_features

        try:
            with as_written():
                found: np.ndarray = get_batch_features(frames, self._network.to(device), device)
        except RuntimeError as error:
            last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise RunError(f"{self.path}: the network fails on float frames {tuple(frames.shape)}: {last}") from error
        if found.ndim != 2 or len(found) != len(frames):
            raise RunError(f"{self.path}: (n, D) is expected of {tuple(frames.shape)}, not {found.shape}")
        return torch.from_numpy(found.astype(np.float32, copy=False)).to(device)

    def _dimensions(self) -> int:
        if self.published:
            return 2048
        return self._run(torch.zeros(1, 3, SIDE, SIDE), torch.device("cpu")).shape[1]


def find_inception(weights: str = "") -> Path:
    """The file of the weights: the one named, else the variable's, else that in the cache or where clean-fid puts it.

    In clean-fid's folder, where anybody may write, only the published file counts.

    Raises:
        SpecError: the file named by `weights` does not exist.
        RunError: no file is found; the message says where to put which.
    """
    theirs = CLEAN_FIDS / FILE
    elsewhere = weights or os.environ.get(VARIABLE) or (cache_folder() / FILE).is_file()
    if not elsewhere and theirs.is_file() and sha256_of(theirs) == PUBLISHED:
        return theirs
    setting = "the metric's `weights`"
    return find("inception", given=weights, setting=setting, instead="leave these metrics out")


def _published_network(path: Path) -> nn.Module:
    from cleanfid.inception_torchscript import InceptionV3W

    def wrapped(folder: Path) -> nn.Module:
        network: nn.Module = InceptionV3W(str(folder), download=False, resize_inside=False)
        return network.eval()

    if path.name == FILE:
        return wrapped(path.parent)
    with tempfile.TemporaryDirectory() as folder:  # clean-fid wants the file under its published name
        (Path(folder) / FILE).symlink_to(path.resolve())
        return wrapped(Path(folder))
