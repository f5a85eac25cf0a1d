"""What happens to frames before they are measured: sizes, and the round trips of storage."""

import io
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from components.data.transforms import lanczos_frames, to_pixels, to_uint8_frames
from components.scoring.features.preprocessing import Treatment, through_h264, through_pictures
from registry.runs.machine import ROOT
from tests.fixtures.made_videos import gradient_frames

NOTHING = Treatment(
    resolution=None,
    transform="center_square_then_resize",
    kernel="bilinear",
    antialias=True,
    storage=(),
    jpeg_quality=75,
    jpeg_subsampling="4:2:0",
    h264_crf=5,
)
FRAMES = gradient_frames(5, 32, 48, seed=3)


def noisy(side: int = 32, count: int = 4) -> np.ndarray:
    """Frames that no lossy codec returns as they were: gradients with texture."""
    grain = np.random.default_rng(0).integers(0, 40, (count, side, side, 3))
    return np.clip(gradient_frames(count, side, side).astype(int) + grain, 0, 255).astype(np.uint8)


def grey(count: int, height: int = 64, width: int = 64) -> np.ndarray:
    """Smooth frames without colour, whose halved chroma planes lose nothing."""
    return np.repeat(gradient_frames(count, height, width)[..., :1], 3, axis=-1)


def pillow_jpeg(frames: np.ndarray, **settings: object) -> np.ndarray:
    """Frames saved and opened one by one with Pillow, as the official script does."""
    read = []
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", **settings)  # type: ignore[arg-type]
        read.append(np.asarray(Image.open(file)))
    return np.stack(read)


def off(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(left.astype(int) - right.astype(int)).mean())


def test_nothing_to_do_leaves_frames_as_they_are() -> None:
    assert NOTHING(FRAMES, "raw") is FRAMES
    square = noisy(32)
    for kernel in ("bilinear", "bicubic", "lanczos"):
        assert replace(NOTHING, resolution=32, kernel=kernel)(square, "video") is square


def test_png_is_the_identity() -> None:
    frames = noisy(17)
    assert np.array_equal(through_pictures(frames, "PNG"), frames)
    assert np.array_equal(replace(NOTHING, storage=("png", "png"))(frames, "raw"), frames)


def test_jpeg_is_pillows_own_default() -> None:
    """The official script asks for `q=95`, which is no keyword of Pillow: what it gets is the default."""
    frames = noisy()
    found = replace(NOTHING, storage=("jpeg",))(frames, "raw")
    assert np.array_equal(found, pillow_jpeg(frames))
    assert np.array_equal(found, pillow_jpeg(frames, q=95))
    assert not np.array_equal(found, frames)


@pytest.mark.parametrize(("quality", "subsampling", "number"), [(95, "4:4:4", 0), (75, "4:2:2", 1), (30, "4:2:0", 2)])
def test_jpeg_settings_reach_the_encoder(quality: int, subsampling: str, number: int) -> None:
    frames = noisy()
    treated = replace(NOTHING, storage=("jpeg",), jpeg_quality=quality, jpeg_subsampling=subsampling)
    assert np.array_equal(treated(frames, "raw"), pillow_jpeg(frames, quality=quality, subsampling=number))


def test_jpeg_frames_make_the_trip_once() -> None:
    frames, jpeg = noisy(), replace(NOTHING, storage=("jpeg",))
    assert jpeg(frames, "jpeg") is frames
    for stored in ("raw", "video"):
        assert not np.array_equal(jpeg(frames, stored), frames)
    resized = replace(jpeg, resolution=16)  # what the tool stores is the resized frame
    assert np.array_equal(resized(frames, "jpeg"), pillow_jpeg(replace(resized, storage=())(frames, "jpeg")))


def test_videos_make_the_trip_through_h264_once() -> None:
    frames, h264 = noisy(), replace(NOTHING, storage=("h264",), h264_crf=30)
    assert h264(frames, "video") is frames
    assert np.array_equal(h264(frames, "raw"), through_h264(frames, 30))
    assert h264(frames, "jpeg") is frames  # JPEG frames are made of such videos
    assert np.array_equal(replace(h264, storage=("h264", "jpeg"))(frames, "video"), pillow_jpeg(frames))


def test_video_comes_before_the_resize_and_pictures_behind_it() -> None:
    frames, both = noisy(), replace(NOTHING, storage=("h264", "jpeg"))
    assert np.array_equal(both(frames, "raw"), pillow_jpeg(through_h264(frames, 5)))
    smaller = replace(both, resolution=16)
    resized = replace(NOTHING, resolution=16)(through_h264(frames, 5), "raw")
    assert np.array_equal(smaller(frames, "raw"), pillow_jpeg(resized))


def test_h264_is_worse_with_crf() -> None:
    frames = noisy(64, 8)
    errors = [off(through_h264(frames, crf), frames) for crf in (0, 5, 23, 40)]
    assert errors == sorted(errors)
    assert errors[-1] > 1.2 * errors[0]  # much of either is the chroma's half size
    smooth = grey(8)
    assert off(through_h264(smooth, 0), smooth) < 1.5  # luma has 220 of 256 steps
    assert off(through_h264(smooth, 5), smooth) < 1.5
    assert off(through_h264(smooth, 40), smooth) > 2 * off(through_h264(smooth, 5), smooth)


ENCODED = """
import hashlib
from components.scoring.features.preprocessing import through_h264
from tests.components.scoring.features.test_preprocessing import noisy
for side in (24, 40, 56, 72, 144):
    for _ in range(2):
        print(hashlib.sha256(through_h264(noisy(side), 30)).hexdigest())
"""


def test_h264_does_not_depend_on_what_was_in_memory() -> None:
    """glibc fills memory with MALLOC_PERTURB_; x264's assembly read it at these sizes, and encoded otherwise."""
    found = set()
    for byte in ("1", "255"):
        told = subprocess.run(
            [sys.executable, "-c", ENCODED],
            cwd=ROOT,
            env={**os.environ, "MALLOC_PERTURB_": byte},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(told.stdout)
    (lines,) = found
    hashes = lines.split()
    assert hashes[::2] == hashes[1::2]
    assert len(set(hashes)) == 5


@pytest.mark.parametrize("size", [(31, 32), (32, 31), (31, 33), (32, 32)])
def test_h264_takes_odd_sides(size: tuple[int, int]) -> None:
    frames = grey(3, *size)
    found = through_h264(frames, 0)
    assert found.shape == frames.shape
    assert found.dtype == np.uint8
    assert off(found, frames) < 1.5
    assert off(found[:, -1], frames[:, -1]) < 3  # the padding does not bleed into the edge
    assert off(found[:, :, -1], frames[:, :, -1]) < 3


def test_one_frame_makes_every_trip() -> None:
    frames = noisy(32, 1)
    assert replace(NOTHING, storage=("png", "h264", "jpeg"))(frames, "raw").shape == frames.shape


@pytest.mark.parametrize("transform", ["center_square_then_resize", "short_side_then_center_crop"])
@pytest.mark.parametrize("resolution", [16, 24, 64])
def test_resizing_is_that_of_the_training_data(transform: str, resolution: int) -> None:
    treated = replace(NOTHING, resolution=resolution, transform=transform)
    for kernel in ("bilinear", "bicubic"):
        for antialias in (True, False):
            found = replace(treated, kernel=kernel, antialias=antialias)(FRAMES, "raw")
            pixels = to_pixels(FRAMES, resolution, transform, antialias, kernel)
            assert np.array_equal(found, to_uint8_frames(pixels))
            assert found.shape == (5, resolution, resolution, 3)
    found = replace(treated, kernel="lanczos")(FRAMES, "raw")
    assert np.array_equal(found, lanczos_frames(FRAMES, resolution, transform))


def test_kernels_differ() -> None:
    frames = noisy(48)
    treatments = [replace(NOTHING, resolution=20, kernel=kernel) for kernel in ("bilinear", "bicubic", "lanczos")]
    treatments.append(replace(treatments[0], antialias=False))
    assert len({treated(frames, "raw").tobytes() for treated in treatments}) == 4


def test_lanczos_is_pillows() -> None:
    frames = noisy(48)
    picture = Image.fromarray(frames[1]).resize((20, 20), Image.Resampling.LANCZOS)
    assert np.array_equal(replace(NOTHING, resolution=20, kernel="lanczos")(frames, "raw")[1], np.asarray(picture))
