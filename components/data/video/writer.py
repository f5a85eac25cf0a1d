"""Writing frames as a video that people watch: H.264 in an mp4 that every browser plays."""

import contextlib
import os
import uuid
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from registry.errors import RunError

ENCODER = "libx264"
CRF = 17  # constant rate factor: at 17 the eye sees no loss
# Looking ahead, libx264 halves each frame, and of a small one reads memory that it never wrote: one file in ten of a
# 20x20 video was another one, as that memory happened to be. Without it the same frames give the same file.
ALIKE = "rc-lookahead=0:mbtree=0"
BT709, LIMITED = 1, 1  # numbers of the colour space and of the range in the H.264 standard (tables E-3 to E-5)


def write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float, *, loops: int = 1, crf: int = CRF) -> None:
    """Write frames as H.264 in an mp4, whole or not at all; one frame is held at a time.

    4:2:0 chroma, colours by BT.709 and said so, and the index in front (`faststart`): what browsers play, from the
    first byte on. An odd side gets its last row or column once more, since 4:2:0 needs even ones. One thread, so that
    the number of cores changes nothing.

    Args:
        path: of the mp4; its folder must be there.
        frames: uint8 (H, W, 3) each, all of one size, at least one.
        fps: frames a second.
        loops: how many times the frames are played; they are encoded once.
        crf: constant rate factor of libx264: 0 is lossless, 51 the worst.

    Raises:
        RunError: there is no frame, PyAV has no H.264 encoder, or the file cannot be written.
    """
    import av

    if ENCODER not in av.codecs_available:
        raise RunError(
            f"{path}: not written, since this PyAV ({av.__version__}) has no H.264 encoder ({ENCODER}); the wheels of "
            "PyPI bring one: pip install --force-reinstall --only-binary av av"
        )
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream(ENCODER, rate=Fraction(fps).limit_denominator(1000))
            packets = list(_encoded(stream, frames, crf))
            if not packets:
                raise RunError(f"{path}: there are no frames to write")
            for packet in _repeated(packets, loops):
                packet.stream = stream
                container.mux(packet)
        os.replace(temporary, path)
    except (av.error.FFmpegError, OSError) as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _encoded(stream: Any, frames: Iterable[np.ndarray], crf: int) -> Iterator[Any]:
    """Packets of the frames, which begin with a keyframe and need nothing before it."""
    import av

    size = None
    for frame in frames:
        even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        if size is None:
            size = stream.height, stream.width = even.shape[:2]
            stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), "preset": "veryfast", "x264-params": ALIKE}
            context = stream.codec_context
            context.thread_count = 1
            context.colorspace = context.color_primaries = context.color_trc = BT709
            context.color_range = LIMITED
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        yield from stream.encode(picture)
    if size is not None:
        yield from stream.encode(None)


def _repeated(packets: list[Any], loops: int) -> Iterator[Any]:
    """Copies of the packets, again and again, each time later by the length of all."""
    import av

    length = round(len(packets) / (packets[0].stream.average_rate * packets[0].time_base))
    for loop in range(loops):
        for packet in packets:
            copy = av.Packet(bytes(packet))
            copy.pts, copy.dts = packet.pts + loop * length, packet.dts + loop * length
            copy.time_base, copy.is_keyframe, copy.duration = packet.time_base, packet.is_keyframe, packet.duration
            yield copy
