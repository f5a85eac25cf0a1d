"""Readers: the k-th frame of a video is the k-th in decode order, whatever reads it.

No reader resizes. Which reader is exact for a file is found once, by `components.data.video.index`; what is found
there (`VideoIndex`) is all that reading needs. This module does not import torch, so that child processes start fast.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

# A frame of more than this many bytes in 8-bit RGB is refused before it is decoded; 8K UHD (7680x4320) just fits.
MAX_FRAME_BYTES = 100_000_000
# decord decodes ahead without limit, so it is given only videos that fit into this as a whole.
MAX_DECORD_BYTES = 256 * 2**20


class VideoError(Exception):
    """A video that cannot be read, with the reason as a user should see it."""


class VideoReader(Protocol):
    """Frames of one video by their number in decode order, counted from 0."""

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """The frames of those numbers, in that order, repeats allowed: uint8 (n, H, W, 3)."""
        ...

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """All frames in order, at most `size` at a time: uint8 (n, H, W, 3)."""
        ...


@dataclass(frozen=True)
class VideoIndex:
    """What one full decode of a video found.

    Attributes:
        frames: how many frames can be had; damaged packets are passed over, hidden frames do not count.
        height: of the upright picture, in pixels.
        width: of the upright picture, in pixels.
        fps: frames a second as the file states it; 0 where it states none.
        sha256: of the file, or of all pictures of a frame folder.
        damaged: packets or pictures that could not be decoded and were left out.
        reader: `decord` where a rule allows it and its frames were the same bit for bit, `pyav`, `pictures` or `made`.
        note: oddities that were handled by a rule, in words.
        pts: timestamp of every frame where seeking was found to be exact, else None (decode from the start).
        keyframes: numbers of the frames that decoding can start at; None with `pts`.
        left_out: names of the pictures of a frame folder that could not be decoded.
    """

    frames: int
    height: int
    width: int
    fps: float
    sha256: str
    damaged: int = 0
    reader: str = "pyav"
    note: str = ""
    pts: tuple[int, ...] | None = None
    keyframes: tuple[int, ...] | None = None
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "VideoIndex":
        tuples = {
            key: tuple(values[key]) if values[key] is not None else None for key in ("pts", "keyframes", "left_out")
        }
        return cls(**{**values, **tuples})


@cache
def decord_is_installed() -> bool:
    """Whether decord can be imported here; it has no wheels for ARM and Mac, and a broken one counts as none."""
    try:
        import decord  # noqa: F401
    except Exception:
        return False
    return True


def check_indices(path: Path, indices: Sequence[int], frames: int) -> list[int]:
    """The indices as plain ints; an IndexError names the video where one is outside of 0..frames-1."""
    plain = [int(index) for index in indices]
    wrong = [index for index in plain if not 0 <= index < frames]
    if wrong:
        raise IndexError(f"{path}: no frame {wrong[0]}; it has frames 0 to {frames - 1}")
    return plain


# --- PyAV ---------------------------------------------------------------------------------------------------------


def open_container(path: Path) -> Any:
    """Open a file with PyAV; nothing but files is opened, whatever a playlist says."""
    import av

    return av.open(str(path), metadata_errors="replace", container_options={"protocol_whitelist": "file"})


def upright(frame: Any) -> np.ndarray:
    """A decoded PyAV frame as uint8 (H, W, 3) with its display rotation (multiples of 90 degrees) applied."""
    picture: np.ndarray = frame.to_ndarray(format="rgb24")
    quarter_turns = round((frame.rotation or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, quarter_turns)) if quarter_turns else picture


def decode_packets(container: Any, stream: Any) -> Iterator[tuple[Any, list[Any] | None]]:
    """Packets in stored order with the frames that each gives; None in place of the frames where it is damaged."""
    import av

    demuxed = container.demux(stream)
    while True:
        try:
            packet = next(demuxed)
        except StopIteration:
            return
        except av.error.FFmpegError:  # the file ends inside a packet: what was read so far is what can be had
            break
        try:
            yield packet, packet.decode()
        except av.error.FFmpegError:
            yield packet, None
    try:
        yield None, stream.codec_context.decode(None)
    except av.error.FFmpegError:
        return


def decode_in_order(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames in decode order, damaged packets passed over."""
    for _, frames in decode_packets(container, stream):
        yield from frames or ()


class PyAVReader:
    """Reads with PyAV: by seeking where the index found that exact, else by decoding from the start.

    Args:
        path: the video file.
        index: what `index_video` found in it.
    """

    def __init__(self, path: Path, index: VideoIndex) -> None:
        self.path, self.index = path, index

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """Frames uint8 (n, H, W, 3); VideoError where the file no longer gives them."""
        wanted = check_indices(self.path, indices, self.index.frames)
        found = self.by_seeking(sorted(set(wanted))) if self.index.pts is not None else None
        if found is None:
            found = self._from_the_start(set(wanted))
        if not wanted:
            return np.empty((0, self.index.height, self.index.width, 3), np.uint8)
        return np.stack([found[number] for number in wanted])

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """All frames in order, `size` at a time."""
        held: list[np.ndarray] = []
        count = 0
        with self._open() as container:
            for frame in decode_in_order(container, container.streams.best("video")):
                held.append(self._picture(frame))
                count += 1
                if len(held) == size:
                    yield np.stack(held)
                    held = []
        if held:
            yield np.stack(held)
        if count != self.index.frames:
            raise self._changed(f"{count} frames instead of {self.index.frames}")

    def _open(self) -> Any:
        import av

        try:
            container = open_container(self.path)
        except (av.error.FFmpegError, OSError) as error:
            raise VideoError(f"{self.path}: cannot be opened: {error}") from None
        stream: Any = container.streams.best("video")
        if stream is None:
            raise self._changed("no video stream")
        stream.thread_type = "NONE"
        return container

    def _picture(self, frame: Any) -> np.ndarray:
        picture = upright(frame)
        if picture.shape != (self.index.height, self.index.width, 3):
            raise self._changed(f"a frame of shape {picture.shape}")
        return picture

    def _changed(self, what: str) -> VideoError:
        return VideoError(f"{self.path}: gave {what}; it changed since it was indexed, so run prepare again")

    def _from_the_start(self, wanted: set[int]) -> dict[int, np.ndarray]:
        found: dict[int, np.ndarray] = {}
        last = max(wanted, default=-1)
        with self._open() as container:
            for number, frame in enumerate(decode_in_order(container, container.streams.best("video"))):
                if number in wanted:
                    found[number] = self._picture(frame)
                if number >= last:
                    break
        if len(found) < len(wanted):
            raise self._changed(f"no frame {min(wanted - set(found))}")
        return found

    def by_seeking(self, wanted: list[int], alive: Callable[[], None] = lambda: None) -> dict[int, np.ndarray] | None:
        """The wanted frames, or None where a seek did not lead to the timestamp of the index.

        Args:
            wanted: numbers of frames, rising.
            alive: called after every decoded frame, so that a watcher can tell slow from stuck.
        """
        import av

        pts, keyframes = self.index.pts, self.index.keyframes
        assert pts is not None
        assert keyframes is not None
        number_of = {time: number for number, time in enumerate(pts)}
        found: dict[int, np.ndarray] = {}
        with self._open() as container:
            stream = container.streams.best("video")
            decoded = decode_in_order(container, stream)
            # Frame 0 always comes first: a decoder that starts in the middle without having seen it gives garbage for
            # the 4:4:4 H.264 of old x264.
            frame = next(decoded, None)
            position = -1 if frame is None else number_of.get(frame.pts, -1)
            if position != 0:
                return None
            for target in wanted:
                start = max((key for key in keyframes if key <= target), default=0)
                if start > position:
                    try:
                        container.seek(pts[start], stream=stream, backward=True, any_frame=False)
                    except av.error.FFmpegError:
                        return None
                    decoded, position = decode_in_order(container, stream), -1
                while position != target:
                    frame = next(decoded, None)
                    alive()
                    position = -1 if frame is None else number_of.get(frame.pts, -1)
                    if frame is None or position > target:
                        return None
                found[target] = self._picture(frame)
        return found


# --- decord -------------------------------------------------------------------------------------------------------


def decord_batches(path: Path, frames: int, batches: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
    """Batches of frames from one decord reader of a video of that many frames; it lives only inside this call.

    Only `get_batch` is used: at some widths plain indexing gives shifted pixels without an error.

    Raises:
        VideoError: decord could not open or decode the file, or gave arrays of a wrong shape.
    """
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        if len(reader) != frames:
            raise VideoError(f"{path}: decord counts {len(reader)} frames instead of {frames}")
        for batch in batches:
            pictures = reader.get_batch(list(batch)).asnumpy()
            if pictures.ndim != 4 or pictures.shape[-1] != 3 or len(pictures) != len(batch):
                raise VideoError(f"{path}: decord gave an array of shape {pictures.shape}")
            yield pictures
    except (RuntimeError, IndexError, decord.DECORDError) as error:
        raise VideoError(f"{path}: decord failed: {str(error).splitlines()[0]}") from None


class DecordReader:
    """Reads with decord; only for files that a rule gives it, and whose every check against PyAV was bit-identical.

    Args:
        path: the video file.
        index: what `index_video` found in it.
    """

    def __init__(self, path: Path, index: VideoIndex) -> None:
        self.path, self.index = path, index

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """Frames uint8 (n, H, W, 3); VideoError where the file no longer gives them."""
        wanted = check_indices(self.path, indices, self.index.frames)
        if not wanted:
            return np.empty((0, self.index.height, self.index.width, 3), np.uint8)
        return self._checked(next(iter(decord_batches(self.path, self.index.frames, [wanted]))))

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """All frames in order, `size` at a time."""
        count = self.index.frames
        batches = [range(first, min(first + size, count)) for first in range(0, count, size)]
        for pictures in decord_batches(self.path, count, batches):
            yield self._checked(pictures)

    def _checked(self, pictures: np.ndarray) -> np.ndarray:
        if pictures.shape[1:] != (self.index.height, self.index.width, 3):
            raise VideoError(f"{self.path}: gave frames of shape {pictures.shape[1:]}; it changed, run prepare again")
        return pictures
