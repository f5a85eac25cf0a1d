"""Small videos and pictures made for the tests."""

from pathlib import Path

import av
import numpy as np
from PIL import Image


def gradient_frames(count: int, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """Smooth frames uint8 (n, H, W, 3), all different."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    phase = draw.uniform(0, 6, 3)
    waves = [127 + 120 * np.sin(9 * (x + y) + 0.4 * k + phase[:, None, None]) for k in range(count)]
    return np.stack(waves).transpose(0, 2, 3, 1).astype(np.uint8)


def write_video(path: Path, frames: np.ndarray, keyframe_every: int = 8, b_frames: int = 0) -> Path:
    """Encode frames uint8 (n, H, W, 3) as MPEG-4 (every FFmpeg has that encoder)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = keyframe_every
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.options = {"qscale": "2"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return path


def write_pictures(folder: Path, names: list[str], height: int = 48, width: int = 64) -> Path:
    """One picture a name; a name's place in the list is the brightness of its picture, times ten."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        Image.fromarray(np.full((height, width, 3), 10 * place, np.uint8)).save(folder / name)
    return folder
