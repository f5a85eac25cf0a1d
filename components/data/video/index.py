"""Look into a video once: decode all of it, and find out which reader gives exactly those frames.

The linear decode by PyAV is the truth. Seeking with PyAV is used only where the frames that it gives, at random and all
together, are equal to that bit for bit.

Whether decord may read a file is decided by rule, from container, codec and structure (`why_not_decord`); in doubt PyAV
reads it. The frames that decord gives are then compared with the truth, and that comparison can only take trust away:
decord decodes in a thread of its own, and what it gives for some files depends on where it starts and on which thread
was faster, so that right frames today prove nothing about tomorrow.

Rules for odd files: damaged packets are passed over and counted, decoding goes on after them. Frames that an edit list
hides do not count. Display rotation in quarter turns is applied; pixel aspect ratio is not. Of several video streams
the one that FFmpeg calls best is read. A size that changes inside the video rejects it, as does a frame of more than
`MAX_FRAME_BYTES`, before it is decoded.
"""

import hashlib
import random
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from components.data.video.reader import (
    MAX_DECORD_BYTES,
    MAX_FRAME_BYTES,
    PyAVReader,
    VideoError,
    VideoIndex,
    decode_packets,
    decord_batches,
    open_container,
    upright,
)
from registry.parts.start_files import sha256_of

# What FFmpeg opens as a "video" though it is text or a single picture.
NOT_VIDEO = {"tty", "ansi", "bin", "xbin", "adf", "idf", "txd", "image2", "sbg"}
DECORD_CODECS = {"h264", "hevc", "vp8", "vp9", "mjpeg", "mpeg4"}
DECORD_PIXELS = {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p"}
DECORD_CONTAINERS = {"mp4", "matroska", "avi"}
DECORD_PADDINGS = (32, 64)  # widths are padded to a multiple of this: decord 0.6.0, and builds on a newer FFmpeg


@dataclass
class Decoded:
    """What the linear decode saw: the index so far, a digest of every frame, and what decord's rules look at."""

    index: VideoIndex
    digests: list[bytes]
    codec: str
    container: str
    pixels: str
    stored_size: tuple[int, int]  # height, width
    timed: bool  # the file states how long it lasts
    packets: int
    key_packets: int
    rising: bool
    starts_with_key: bool
    leading: bool  # some packet is shown before the keyframe that it is stored after: open groups of pictures
    b_frames: bool
    packets_without_time: int


@dataclass
class _Seen:
    """Collected while decoding."""

    digests: list[bytes] = field(default_factory=list)
    pts: list[int | None] = field(default_factory=list)
    keyframes: list[int] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    packets: int = 0
    damaged: int = 0
    key_times: list[int | None] = field(default_factory=list)
    leading: bool = False
    b_frames: bool = False
    without_time: int = 0


def digest_of(picture: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16).digest()


def decode_all(path: Path, alive: Callable[[], None] = lambda: None) -> Decoded:
    """Decode a video file from start to end with PyAV; `index.pts` is set only where seeking proved exact.

    Args:
        path: the file.
        alive: called after every packet, sought frame and hashed block, so that a watcher can tell slow from stuck.

    Raises:
        VideoError: no frame can be had, or the file is refused by a rule; the reason without the path.
    """
    import av

    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise VideoError("not a regular file")
    if status.st_size == 0:
        raise VideoError("empty file")
    try:
        container = open_container(path)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"not a video that can be opened ({_short(error)})") from None
    with container:
        form = container.format.name
        if form in NOT_VIDEO or form.endswith("_pipe"):
            raise VideoError(f"not a video but text or a single picture (opened as {form})")
        stream: Any = container.streams.best("video")
        if stream is None:
            raise VideoError("no video stream")
        if stream.disposition & av.stream.Disposition.attached_pic:
            raise VideoError("no video stream but a cover picture")
        codec = stream.codec_context
        if codec is None:
            raise VideoError("a codec that this FFmpeg cannot decode")
        _refuse_large(codec.width, codec.height)
        codec.thread_type = "NONE"
        seen = _look_at_all(container, stream, alive)
        if not seen.digests:
            raise VideoError(f"no frame can be decoded ({seen.damaged} of {seen.packets} packets damaged)")
        rate = stream.average_rate or stream.guessed_rate
        rising = all(time is not None for time in seen.pts) and _rises(seen.pts)
        index = VideoIndex(
            frames=len(seen.digests),
            height=seen.shape[0],
            width=seen.shape[1],
            fps=round(float(rate), 3) if rate else 0.0,
            sha256=sha256_of(path, lambda done, total: alive()),
            damaged=seen.damaged,
            note=_note(stream, seen),
        )
        decoded = Decoded(
            index=index,
            digests=seen.digests,
            codec=codec.name,
            container=form,
            pixels=codec.pix_fmt or "",
            stored_size=(codec.height, codec.width),
            timed=stream.duration is not None or container.duration is not None,
            packets=seen.packets,
            key_packets=max(len(seen.key_times), len(seen.keyframes)),
            rising=rising,
            starts_with_key=seen.keyframes[:1] == [0],
            leading=seen.leading,
            b_frames=seen.b_frames,
            packets_without_time=seen.without_time,
        )
    if rising and not seen.damaged and decoded.starts_with_key:
        times = tuple(time for time in seen.pts if time is not None)
        seekable = replace(index, pts=times, keyframes=tuple(seen.keyframes))
        if _seeks_right(path, seekable, seen.digests, alive):
            decoded.index = seekable
    return decoded


def why_not_decord(decoded: Decoded) -> str:
    """Return the rule by which decord is not used for this video, or "" where none speaks against it.

    The rules cover what decord 0.6.0 was seen to do wrong, and what comes near it. MPEG-4 with B-frames is among them
    whatever its structure: with several keyframes decord gives frames of another group, and with one keyframe
    (UCF-101's clips) it gives an earlier frame in place of the last one, more often the busier the machine is.
    """
    index, several = decoded.index, decoded.key_packets > 1
    height, width = decoded.stored_size
    rules = {
        f"codec {decoded.codec}": decoded.codec not in DECORD_CODECS,
        f"pixel format {decoded.pixels}": decoded.pixels not in DECORD_PIXELS,
        f"container {decoded.container}": not DECORD_CONTAINERS & set(decoded.container.split(",")),
        f"width {width}": width < 8 or rows_run_together(width),
        f"odd size {width}x{height}": width % 2 == 1 or height % 2 == 1,  # chroma at the border differs by processor
        "no duration in the file": not decoded.timed,
        "damaged packets": index.damaged > 0,
        "packets and frames differ in number": decoded.packets != index.frames,
        "first frame is not a keyframe": not decoded.starts_with_key,
        "timestamps that do not rise": not decoded.rising,
        "open groups of pictures": several and decoded.leading,
        "B-frames without timestamps": decoded.b_frames and decoded.packets_without_time > 0,
        "MPEG-4 with B-frames": decoded.b_frames and decoded.codec == "mpeg4",
        "AVI with B-frames": decoded.b_frames and decoded.container == "avi",  # it has no presentation times
        "too large to be decoded ahead": index.frames * index.height * index.width * 3 > MAX_DECORD_BYTES,
    }
    return next((rule for rule, applies in rules.items() if applies), "")


def rows_run_together(width: int) -> bool:
    """Whether decord takes padded rows for several shorter ones, as it does where they are a multiple of the width."""
    padded = [-(-width // padding) * padding for padding in DECORD_PADDINGS]
    return any(row != width and 3 * row % width == 0 for row in padded)


def decord_agrees(path: Path, decoded: Decoded, alive: Callable[[], None] = lambda: None) -> bool:
    """Return whether decord gives the same frames bit for bit: all in order, single ones from fresh readers, at random.

    True proves nothing where `why_not_decord` has a reason. decord can hang or kill the process, so call this only in a
    child.
    """
    count, keys = decoded.index.frames, decoded.index.keyframes or (0,)
    draw = random.Random(count)
    shuffled = [draw.randrange(count) for _ in range(24)]
    in_order = [range(first, min(first + 16, count)) for first in range(0, count, 16)]
    readers: list[Sequence[Sequence[int]]] = [in_order, *([[number]] for number in _probes(count, keys))]
    readers.append([shuffled[:12], sorted(shuffled[12:], reverse=True), range(0, count, 3)[:16]])
    try:
        for batches in readers:
            for batch, pictures in zip(batches, decord_batches(path, count, batches), strict=True):
                if [digest_of(picture) for picture in pictures] != [decoded.digests[number] for number in batch]:
                    return False
                alive()
    except VideoError:
        return False
    return True


def _look_at_all(container: Any, stream: Any, alive: Callable[[], None]) -> _Seen:
    from av.video.frame import PictureType

    seen = _Seen()
    for packet, frames in decode_packets(container, stream):
        if packet is not None and packet.size > 0:
            _look_at_packet(seen, packet)
        if frames is None:
            seen.damaged += 1
        for frame in frames or ():
            _refuse_large(frame.width, frame.height)
            picture = upright(frame)
            if not seen.digests:
                seen.shape = picture.shape
            elif picture.shape != seen.shape:
                raise VideoError(
                    f"frame {len(seen.digests)} is {picture.shape[1]}x{picture.shape[0]}, "
                    f"those before it are {seen.shape[1]}x{seen.shape[0]}"
                )
            if frame.key_frame:
                seen.keyframes.append(len(seen.digests))
            seen.b_frames |= frame.pict_type in (PictureType.B, PictureType.BI)
            seen.digests.append(digest_of(picture))
            seen.pts.append(frame.pts)
        alive()
    return seen


def _look_at_packet(seen: _Seen, packet: Any) -> None:
    seen.packets += 1
    if packet.is_keyframe:
        seen.key_times.append(packet.pts)
    elif seen.key_times and packet.pts is not None:
        key_time = seen.key_times[-1]
        seen.leading |= key_time is not None and packet.pts < key_time
    seen.without_time += packet.pts is None


def _seeks_right(path: Path, index: VideoIndex, digests: list[bytes], alive: Callable[[], None]) -> bool:
    """Whether seeking gives the frames of the linear decode, at every tested place and for all of them together."""
    assert index.keyframes is not None
    if len(index.keyframes) < 2:
        return True  # nothing to seek to: it decodes from the start either way
    reader = PyAVReader(path, index)
    wanted = _probes(index.frames, index.keyframes)
    try:
        for batch in [*([number] for number in wanted), wanted]:
            pictures = reader.by_seeking(sorted(batch), alive)
            if pictures is None or any(digest_of(pictures[number]) != digests[number] for number in batch):
                return False
    except VideoError:
        return False
    return True


def _probes(count: int, keyframes: Sequence[int]) -> list[int]:
    """Frame numbers where a wrong seek shows: the middle, the end, and around up to four keyframes."""
    inner = [key for key in keyframes if key > 0]
    some = inner[:: max(1, len(inner) // 3)][:4]
    near = [key + offset for key in some for offset in (-1, 0, 1, 4)]
    return sorted({number for number in [count // 2, count - 1, *near] if 0 <= number < count})


def _refuse_large(width: int, height: int) -> None:
    if width * height * 3 > MAX_FRAME_BYTES:
        raise VideoError(
            f"frames of {width}x{height} pixels are too large ({MAX_FRAME_BYTES // 10**6} MB a frame at most)"
        )


def _rises(times: Iterable[int | None]) -> bool:
    listed = [time for time in times if time is not None]
    return all(before < after for before, after in pairwise(listed))


def _note(stream: Any, seen: _Seen) -> str:
    notes = []
    if seen.damaged:
        notes.append(f"{seen.damaged} damaged packet{'s' * (seen.damaged > 1)} passed over")
    if stream.frames and stream.frames != len(seen.digests):
        notes.append(f"header says {stream.frames} frames")
    return "; ".join(notes)


def _short(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return str(text).strip().splitlines()[0] if str(text).strip() else type(error).__name__
