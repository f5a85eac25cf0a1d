"""The latent cache: moments of every frame of every video, encoded once, read by every arm.

It is named by manifest digest, autoencoder fingerprint, resolution, transform and antialiasing. Clip length, interval,
picking and flip do not name it: they are chosen when reading. Files in its folder:
    plain.npy    float16 (all frames, M, h, w), videos one after the other in the manifest's order
    flipped.npy  the same of the mirrored frames, where some arm flips
Each is written under another name and renamed when whole, so a file that is there is complete, a build that was killed
is built again, and two builders at once do no harm.
"""

import hashlib
import json
import math
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from components.data.autoencoders import Autoencoder
from components.data.datasets import Progress
from components.data.transforms import to_pixels
from components.data.video.reader import VideoError, VideoReader
from registry.errors import RunError
from registry.runs.files import write_atomically

CHUNK_BYTES = 16 * 2**20  # of decoded 8-bit frames that are held at once while building
CHUNK_FRAMES = 64


def cache_key(digest: str, fingerprint: str, resolution: int, transform: str, antialias: bool) -> str:
    """Name of a cache's folder: 10 hex digits of a hash of all that its content depends on."""
    parts = json.dumps([digest, fingerprint, resolution, transform, antialias])
    return hashlib.sha256(parts.encode()).hexdigest()[:10]


class LatentCache:
    """Moments of a dataset, read through a memory map; open it anew in another process rather than pickle it.

    Args:
        lengths: frames of each video, in the manifest's order.
        plain: moments (all frames, M, h, w).
        flipped: the same of the mirrored frames, or None where the cache has none.
    """

    def __init__(self, lengths: Sequence[int], plain: np.ndarray, flipped: np.ndarray | None) -> None:
        self.lengths = list(lengths)
        self._first = np.concatenate([[0], np.cumsum(self.lengths)])
        self._arrays = (plain, flipped)

    @property
    def moments_shape(self) -> tuple[int, int, int]:
        """(M, h, w) of one frame."""
        channels, height, width = self._arrays[0].shape[1:]
        return channels, height, width

    def clip(self, video: int, frame_indices: Sequence[int] | Tensor, flipped: bool = False) -> Tensor:
        """Moments float32 (F, M, h, w) of those frames of a video.

        Args:
            video: its number in the manifest.
            frame_indices: frame numbers, in the wanted order.
            flipped: of the mirrored frames.

        Raises:
            IndexError: a frame that the video does not have.
            RunError: mirrored frames, where the cache was built without.
        """
        array = self._arrays[bool(flipped)]
        if array is None:
            raise RunError("the latent cache holds no mirrored frames; prepare it with data.flip above 0")
        numbers = np.asarray(frame_indices, dtype=np.int64)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self.lengths[video]:
            raise IndexError(f"video {video} has frames 0 to {self.lengths[video] - 1}, not {numbers.tolist()}")
        return torch.from_numpy(array[self._first[video] + numbers].astype(np.float32))

    def batch(self, videos: Sequence[int], frame_indices: Tensor, flipped: Sequence[bool] | Tensor) -> Tensor:
        """Moments float32 (B, F, M, h, w) of one clip of each video.

        Args:
            videos: numbers in the manifest (B,).
            frame_indices: frame numbers (B, F).
            flipped: whether each clip is mirrored (B,).
        """
        clips = zip(videos, frame_indices, flipped, strict=True)
        return torch.stack([self.clip(video, indices, bool(mirrored)) for video, indices, mirrored in clips])

    @classmethod
    def open(cls, folder: Path, flip: bool) -> "LatentCache":
        """Open what was built; RunError where it is not there."""
        names = ["plain.npy", *(["flipped.npy"] if flip else [])]
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise RunError(f"{folder}: no {missing[0]}; run prepare first")
        lengths = json.loads((folder / "lengths.json").read_text())
        arrays = [np.load(folder / name, mmap_mode="r") for name in names]
        return cls(lengths, arrays[0], arrays[1] if flip else None)

    @classmethod
    def build(
        cls,
        folder: Path,
        lengths: Sequence[int],
        reader: Callable[[int], VideoReader],
        autoencoder: Autoencoder,
        resolution: int,
        transform: str,
        antialias: bool,
        flip: bool,
        progress: Progress | None = None,
    ) -> None:
        """Encode every frame into the files that are not there yet; memory is bounded, whatever the videos' length.

        Args:
            folder: of this cache.
            lengths: frames of each video.
            reader: gives the reader of a video by its number.
            autoencoder: encodes.
            resolution: of the encoded frames, in pixels.
            transform: see `components.data.transforms`.
            antialias: see `components.data.transforms`.
            flip: also the mirrored frames.
            progress: is called with (label, frames done, frames in all).

        Raises:
            VideoError: a video cannot be read any more.
        """
        missing = [
            name for name, wanted in (("plain", True), ("flipped", flip))
            if wanted and not (folder / f"{name}.npy").is_file()
        ]  # fmt: skip
        if not missing:
            return
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        write_atomically(folder / "lengths.json", json.dumps(list(lengths)))
        channels, height, width = autoencoder.moments, *autoencoder.latent_shape[1:]
        header = {"descr": "<f2", "fortran_order": False, "shape": (sum(lengths), channels, height, width)}
        files = {name: _temporary(folder, name) for name in missing}
        try:
            with ExitStack() as stack:
                opened = {name: stack.enter_context(open(file, "wb")) for name, file in files.items()}
                for out in opened.values():
                    np.lib.format.write_array_header_1_0(out, header)
                done = 0
                for video, length in enumerate(lengths):
                    given = 0
                    for frames in _chunks(reader(video)):
                        pixels = to_pixels(frames, resolution, transform, antialias)
                        for name, out in opened.items():
                            moments = autoencoder.encode_moments(pixels.flip(-1) if name == "flipped" else pixels)
                            out.write(moments.to(torch.float16).contiguous().numpy().tobytes())
                        given += len(frames)
                        if progress is not None:
                            progress("encoding frames", done + given, sum(lengths))
                    if given != length:
                        raise VideoError(f"video {video} gave {given} frames instead of {length}; run prepare again")
                    done += given
                for out in opened.values():
                    out.flush()
                    os.fsync(out.fileno())
        except BaseException:
            for file in files.values():
                file.unlink(missing_ok=True)
            raise
        for name, file in files.items():
            os.replace(file, folder / f"{name}.npy")


def _chunks(reader: VideoReader) -> Iterator[np.ndarray]:
    """All frames of a video, few enough at a time for the memory that is allowed."""
    size = math.prod(reader.frames([0]).shape[1:])
    return reader.chunks(max(1, min(CHUNK_FRAMES, CHUNK_BYTES // size)))


def _temporary(folder: Path, name: str) -> Path:
    return folder / f".{name}.{socket.gethostname()}.{os.getpid()}.tmp"


def _remove_leftovers(folder: Path) -> None:
    """Remove what builders of this host left that are no longer running."""
    for file in folder.glob(f".*.{socket.gethostname()}.*.tmp"):
        pid = file.name.split(".")[-2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            file.unlink(missing_ok=True)
