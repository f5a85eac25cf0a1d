"""Resizing beyond the fixtures: the sizes on which the reference fails, antialiasing, and the way back to 8 bits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.transforms import TRANSFORMS, quantise, to_pixels, to_uint8_frames
from registry.errors import SpecError


@pytest.mark.parametrize("side", [98, 237, 239, 249, 322])
def test_sizes_that_raise_in_the_reference(side: int) -> None:
    assert int(side * (256 / side)) == 255  # the defect that is avoided
    frames = np.zeros((1, side, side + 7, 3), np.uint8)
    assert to_pixels(frames, 256, "short_side_then_center_crop", False).shape == (1, 3, 256, 256)


@settings(max_examples=60)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    resolution=st.integers(1, 64),
    transform=st.sampled_from(TRANSFORMS),
    antialias=st.booleans(),
)
def test_any_size_gives_the_square_and_keeps_a_flat_colour(
    height: int, width: int, resolution: int, transform: str, antialias: bool
) -> None:
    frames = np.full((1, height, width, 3), (0, 100, 255), np.uint8)
    pixels = to_pixels(frames, resolution, transform, antialias)
    assert pixels.shape == (1, 3, resolution, resolution)
    np.testing.assert_array_equal(
        to_uint8_frames(pixels), np.broadcast_to(frames[:, :1, :1], (1, resolution, resolution, 3))
    )


def test_no_resize_is_exact() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    for transform in TRANSFORMS:
        np.testing.assert_array_equal(to_uint8_frames(to_pixels(frames, 32, transform, False)), frames)


def test_antialias_averages_fine_stripes() -> None:
    frames = np.zeros((1, 64, 64, 3), np.uint8)
    frames[:, :, ::4] = 255
    plain, smooth = (to_pixels(frames, 16, "center_square_then_resize", antialias) for antialias in (False, True))
    # A quarter of the pixels are white; without a low-pass the two middle ones of four are read, which are black.
    torch.testing.assert_close(smooth[..., 2:-2], torch.full_like(smooth[..., 2:-2], -0.5), atol=0.02, rtol=0)
    assert float(plain.max()) == -1


def test_every_grey_level_comes_back_through_float16() -> None:
    levels = torch.arange(256)
    pixels = (levels / 255 - 0.5) / 0.5
    assert torch.equal(quantise(pixels.to(torch.float16).float()), levels.to(torch.uint8))


def test_unknown_transform_names_the_key() -> None:
    with pytest.raises(SpecError, match=r"data\.transform"):
        to_pixels(np.zeros((1, 4, 4, 3), np.uint8), 4, "squeeze", False)
