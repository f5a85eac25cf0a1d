"""What happens to the frames of a clip before they are measured: crop, resize, and the round trips of storage."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from components.data.transforms import lanczos_frames, to_pixels, to_uint8_frames

FPS = 8  # of the H.264 round trip, as the official sampling script writes its mp4


@dataclass(frozen=True)
class Treatment:
    """How the frames of either side become what an extractor sees.

    H.264 comes first, at the size that clips have, as samples are saved before anybody resizes them; then the resize,
    then pictures. What a clip has been through already is left out: H.264 for video files and for JPEG frames, which
    are made of those, and JPEG for JPEG frames that need no resize. So a clip makes each trip once, whether samples
    come as arrays or as the files that were made of them.

    Args:
        resolution: side of the square in pixels; None leaves the frames as they are.
        transform: `short_side_then_center_crop` or `center_square_then_resize`.
        kernel: `bilinear`, `bicubic` (torch) or `lanczos` (Pillow).
        antialias: low-pass before shrinking.
        storage: round trips in order: `png`, `jpeg`, `h264`.
        jpeg_quality: of Pillow's encoder, 1 to 100.
        jpeg_subsampling: of the chroma, such as `4:2:0`.
        h264_crf: constant rate factor of libx264 in yuv420p.
    """

    resolution: int | None
    transform: str
    kernel: str
    antialias: bool
    storage: tuple[str, ...]
    jpeg_quality: int
    jpeg_subsampling: str
    h264_crf: int

    def __call__(self, frames: np.ndarray, stored: str) -> np.ndarray:
        """Frames uint8 (F, H, W, 3), which were stored as `video`, `jpeg` or `raw` -> uint8 (F, R, R, 3)."""
        if "h264" in self.storage and stored == "raw":
            frames = through_h264(frames, self.h264_crf)
        resized = self._resize(frames)
        for step in self.storage:
            if step == "jpeg" and not (stored == "jpeg" and resized is frames):
                settings = {"quality": self.jpeg_quality, "subsampling": self.jpeg_subsampling}
                resized = through_pictures(resized, "JPEG", **settings)
            elif step == "png":
                resized = through_pictures(resized, "PNG")
        return resized

    def changes_size(self, height: int, width: int) -> bool:
        """Whether frames of that size are resized."""
        return self.resolution is not None and (height, width) != (self.resolution, self.resolution)

    def _resize(self, frames: np.ndarray) -> np.ndarray:
        if self.resolution is None or not self.changes_size(*frames.shape[1:3]):
            return frames
        if self.kernel == "lanczos":
            return lanczos_frames(frames, self.resolution, self.transform)
        return to_uint8_frames(to_pixels(frames, self.resolution, self.transform, self.antialias, self.kernel))


def through_pictures(frames: np.ndarray, form: str, **settings: object) -> np.ndarray:
    """Frames uint8 (F, H, W, 3) written and read as pictures by Pillow."""
    read = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, form, **settings)
        read.append(np.asarray(Image.open(buffer)))
    return np.stack(read)


def through_h264(frames: np.ndarray, crf: int) -> np.ndarray:
    """Frames uint8 (F, H, W, 3) encoded by libx264 as yuv420p mp4 and decoded; odd sides are padded for the trip."""
    import av

    height, width = frames.shape[1:3]
    padded = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as written:
        stream = written.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = padded.shape[1], padded.shape[2], "yuv420p"
        # x264's assembly reads memory beyond a row of blocks at sizes such as 40 or 240 and then decides by it; its C
        # code does not, and gives the same video where neither does. It takes 8 ms a frame of 256x256 instead of 3.
        stream.options = {"crf": str(crf), "x264-params": "asm=0"}
        stream.codec_context.thread_count = 1
        for frame in padded:
            written.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        written.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as container:
        read = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(read)[:, :height, :width]
