"""The latent cache: moments of every frame of every video, encoded once, read by every arm.

It is named by manifest digest, autoencoder fingerprint, resolution, transform and antialiasing. Clip length, interval,
picking and flip do not name it: they are chosen when reading. Files in its folder:
    plain.npy         float16 (all frames, M, h, w), videos one after the other in the manifest's order
    flipped.npy       the same of the mirrored frames, where some arm flips
    statistics.json   mean and spread of each channel, where the autoencoder states no scale (`standardisation`)
    <name>.damaged    note of a process that met a damaged block
Each is written under another name and renamed when whole, by one process at a time, so that a build that was killed is
begun again. A file says what it holds, and is verified block by block (`registry.runs.arrays`): opening it costs one
read of its footer, and every process hashes a block of a quarter of a megabyte when it reads from it for the first
time (a second or two in all for every gigabyte that a training reads). A damaged block ends the process that meets it,
before it changes a number; whoever opens the cache next reads all of the file, and encodes it again if it is damaged
indeed.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from components.data.autoencoders import Autoencoder
from components.data.damage_notes import note_of, read_rows
from components.data.datasets import Progress
from components.data.standardisation import Standardisation, measured
from components.data.transforms import to_pixels
from components.data.video.reader import VideoError, VideoReader
from registry.errors import RunError
from registry.runs.arrays import ArrayFile, DamagedError, array_writer
from registry.runs.files import locked

CHUNK_BYTES = 16 * 2**20  # of decoded 8-bit frames that are held at once while building
CHUNK_FRAMES = 64
PLAIN, FLIPPED = "plain", "flipped"


@dataclass(frozen=True)
class Encoding:
    """What the latents of a dataset depend on.

    Attributes:
        digest: of the manifest.
        autoencoder: encodes; on whatever device it is.
        resolution: of the encoded frames, in pixels.
        transform: see `components.data.transforms`.
        antialias: see `components.data.transforms`.
    """

    digest: str
    autoencoder: Autoencoder
    resolution: int
    transform: str
    antialias: bool

    @cached_property
    def identity(self) -> str:
        """Everything that the latents depend on, as text."""
        fingerprint = self.autoencoder.fingerprint()
        return json.dumps([self.digest, fingerprint, self.resolution, self.transform, self.antialias])

    @property
    def key(self) -> str:
        """Name of the cache's folder: 10 hex digits of a hash of all that its content depends on."""
        return hashlib.sha256(self.identity.encode()).hexdigest()[:10]

    def pixels(self, frames: np.ndarray) -> Tensor:
        """Return pixels (n, 3, R, R) in [-1, 1] of frames uint8 (n, H, W, 3)."""
        return to_pixels(frames, self.resolution, self.transform, self.antialias)

    def moments(self, pixels: Tensor, flipped: bool) -> np.ndarray:
        """Return moments float16 (n, M, h, w) of pixels, mirrored or not."""
        moments = self.autoencoder.encode_moments(pixels.flip(-1) if flipped else pixels)
        encoded: np.ndarray = moments.to(torch.float16).cpu().contiguous().numpy()
        return encoded


class LatentCache:
    """Moments of a dataset, read through a memory map; open it anew in another process rather than pickle it.

    Args:
        lengths: frames of each video, in the manifest's order.
        plain: moments (all frames, M, h, w).
        flipped: the same of the mirrored frames, or None where the cache has none.
        by: what is done to moments as they are read, where the autoencoder states no scale.
    """

    def __init__(
        self, lengths: Sequence[int], plain: ArrayFile, flipped: ArrayFile | None, by: Standardisation | None = None
    ) -> None:
        self.lengths, self.standardisation = list(lengths), by
        self._first = np.concatenate([[0], np.cumsum(self.lengths)])
        self._files = (plain, flipped)

    @property
    def moments_shape(self) -> tuple[int, int, int]:
        """(M, h, w) of one frame."""
        channels, height, width = self._files[0].array.shape[1:]
        return channels, height, width

    def clip(self, video: int, frame_indices: Sequence[int] | Tensor, flipped: bool = False) -> Tensor:
        """Moments float32 (F, M, h, w) of those frames of a video, standardised where the cache is.

        Args:
            video: its number in the manifest.
            frame_indices: frame numbers, in the wanted order.
            flipped: of the mirrored frames.

        Raises:
            IndexError: a frame that the video does not have.
            RunError: the file is damaged there; or mirrored frames, where the cache was built without.
        """
        file = self._files[bool(flipped)]
        if file is None:
            raise RunError("the latent cache holds no mirrored frames; prepare it with data.flip above 0")
        numbers = np.asarray(frame_indices, dtype=np.int64)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self.lengths[video]:
            raise IndexError(f"video {video} has frames 0 to {self.lengths[video] - 1}, not {numbers.tolist()}")
        moments = read_rows(file, self._first[video] + numbers)
        read = torch.from_numpy(moments.astype(np.float32))
        return read if self.standardisation is None else self.standardisation.moments(read)

    def standardised(self, folder: Path, encoding: Encoding, train: Sequence[int]) -> "LatentCache":
        """The cache as a training reads it: standardised, where the autoencoder states no scale, else as it is.

        Args:
            folder: of this cache.
            encoding: what the latents are made by.
            train: numbers of the training split's videos, over which mean and spread are taken.
        """
        if encoding.autoencoder.scale is not None:
            return self
        videos = [(video, self.lengths[video]) for video in train]
        by = measured(folder, encoding.identity, self.clip, videos, encoding.autoencoder.channels)
        return LatentCache(self.lengths, *self._files, by)

    def batch(self, videos: Sequence[int], frame_indices: Tensor, flipped: Sequence[bool] | Tensor) -> Tensor:
        """Moments float32 (B, F, M, h, w) of one clip of each video.

        Args:
            videos: numbers in the manifest (B,).
            frame_indices: frame numbers (B, F).
            flipped: whether each clip is mirrored (B,).
        """
        clips = zip(videos, frame_indices, flipped, strict=True)
        return torch.stack([self.clip(video, indices, bool(mirrored)) for video, indices, mirrored in clips])

    def stills(self, videos: Sequence[Sequence[int]], frames: Tensor) -> Tensor:
        """Moments float32 (B, n, M, h, w) of single frames, n of each sample and each of a video of its own.

        Args:
            videos: numbers in the manifest (B, n).
            frames: frame numbers (B, n).
        """
        return torch.stack([
            torch.cat([self.clip(video, [frame]) for video, frame in zip(row, numbers, strict=True)])
            for row, numbers in zip(videos, frames.tolist(), strict=True)
        ])  # fmt: skip

    @classmethod
    def open(cls, folder: Path, encoding: Encoding, lengths: Sequence[int], flip: bool) -> "LatentCache":
        """Open what was built; RunError where it is not there, or damaged."""
        try:
            files = [_opened(folder, name, encoding, lengths) for name in _names(flip)]
        except DamagedError as error:
            raise RunError(f"{error}; run prepare first") from None
        return cls(lengths, files[0], files[1] if flip else None)

    @classmethod
    def build(
        cls,
        folder: Path,
        encoding: Encoding,
        lengths: Sequence[int],
        reader: Callable[[int], VideoReader],
        flip: bool,
        progress: Progress | None = None,
    ) -> None:
        """Encode every frame into the files that are not there or damaged; memory is bounded, however long the videos.

        Args:
            folder: of this cache.
            encoding: what the latents are made by.
            lengths: frames of each video.
            reader: gives the reader of a video by its number.
            flip: also the mirrored frames.
            progress: is called with (label, frames done, frames in all).

        Raises:
            VideoError: a video cannot be read any more.
            OSError: a file cannot be written, such as on a full disk.
        """
        if not _missing(folder, encoding, lengths, flip):
            return

        def told(what: str, done: int, total: int) -> None:
            if progress is not None:
                progress(what, done, total)

        with locked(folder, lambda: told("waiting for another process that encodes the same", 0, 1)):
            missing = _missing(folder, encoding, lengths, flip)
            for name, problem in missing.items():
                if (folder / f"{name}.npy").exists():
                    told(f"encoding again what is damaged: {problem}", 1, 1)
            for left in folder.glob(".*.tmp"):  # by builders that were killed: the only living one is this
                left.unlink(missing_ok=True)
            _encode(folder, list(missing), encoding, lengths, reader, told)
            for name in missing:
                note_of(folder / f"{name}.npy").unlink(missing_ok=True)


def _encode(
    folder: Path,
    names: Sequence[str],
    encoding: Encoding,
    lengths: Sequence[int],
    reader: Callable[[int], VideoReader],
    progress: Progress,
) -> None:
    shape = (sum(lengths), encoding.autoencoder.moments, *encoding.autoencoder.latent_shape[1:])
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                array_writer(folder / f"{name}.npy", shape, np.float16, _identity(name, encoding, lengths))
            )
            for name in names
        }
        done = 0
        for video, length in enumerate(lengths):
            given = 0
            for frames in _chunks(reader(video)):
                given += len(frames)
                if given > length:
                    break
                pixels = encoding.pixels(frames)
                for name, append in writers.items():
                    append(encoding.moments(pixels, name == FLIPPED))
                progress("encoding frames", done + given, sum(lengths))
            if given != length:
                raise VideoError(f"video {video} gave {given} frames instead of {length}; run prepare again")
            done += given


def _missing(folder: Path, encoding: Encoding, lengths: Sequence[int], flip: bool) -> dict[str, str]:
    """The files that are to be encoded, and why; one that a process found damaged is read as a whole first."""
    found = {}
    for name in _names(flip):
        note = note_of(folder / f"{name}.npy")
        try:
            file = _opened(folder, name, encoding, lengths)
            if note.exists():
                file.verify()
                note.unlink(missing_ok=True)  # it was a cable, or memory
        except DamagedError as error:
            found[name] = str(error)
    return found


def _opened(folder: Path, name: str, encoding: Encoding, lengths: Sequence[int]) -> ArrayFile:
    return ArrayFile(folder / f"{name}.npy", _identity(name, encoding, lengths))


def _identity(name: str, encoding: Encoding, lengths: Sequence[int]) -> str:
    return f"{name} latents of {sum(lengths)} frames of {len(lengths)} videos by {encoding.identity}"


def _names(flip: bool) -> list[str]:
    return [PLAIN, FLIPPED] if flip else [PLAIN]


def _chunks(reader: VideoReader) -> Iterator[np.ndarray]:
    """All frames of a video, few enough at a time for the memory that is allowed."""
    size = math.prod(reader.frames([0]).shape[1:])
    return reader.chunks(max(1, min(CHUNK_FRAMES, CHUNK_BYTES // size)))
