"""Fixture 10: transforms, frame picking and UCF-101 labels, at whatever sizes and totals the fixtures have."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange

from components.data.clips import class_ranks, pick, reference_window
from components.data.transforms import lanczos_frames, quantise, to_pixels
from tests.parity import rounding

OURS = {
    "short_edge_resize_then_center_crop": "short_side_then_center_crop",
    "center_square_crop_then_resize": "center_square_then_resize",
}


@pytest.fixture(scope="module")
def transforms(golden: Any) -> dict[str, torch.Tensor]:
    return golden.tensors("transforms")


@pytest.fixture(scope="module")
def picking(golden: Any) -> Any:
    return golden.json("frame_sampling.json")


@pytest.mark.parametrize("theirs", OURS)
def test_transforms(golden: Any, transforms: dict[str, torch.Tensor], theirs: str) -> None:
    resolution = golden.config("transforms")["size"]
    names = [name for name in transforms if name.endswith(f"/{theirs}")]
    assert len(names) == len(golden.config("transforms")["sizes"])
    for name in names:
        clip = rearrange(transforms[f"{name.split('/')[0]}/clip_uint8_TCHW"], "t c h w -> t h w c")
        pixels = to_pixels(clip, resolution, OURS[theirs], antialias=False)
        atol = rounding.of_resize(*clip.shape[1:3])  # the values are in [-1, 1]
        torch.testing.assert_close(pixels, transforms[name], atol=atol, rtol=0)


def test_evaluation_crop_and_lanczos(golden: Any, transforms: dict[str, torch.Tensor]) -> None:
    names = [name for name in transforms if name.endswith("/eval_frame0_uint8_HWC")]
    assert names
    for name in names:
        frame = rearrange(transforms[f"{name.split('/')[0]}/clip_uint8_TCHW"][:1], "t c h w -> t h w c").numpy()
        (square,) = lanczos_frames(frame, golden.config("transforms")["size"], "center_square_then_resize")
        np.testing.assert_array_equal(square, transforms[name].numpy())


def test_quantise(transforms: dict[str, torch.Tensor]) -> None:
    assert torch.equal(quantise(transforms["quantise/in"]), transforms["quantise/out_uint8"])


def test_flip_is_the_last_axis(transforms: dict[str, torch.Tensor]) -> None:
    assert torch.equal(transforms["hflip/in"].flip(-1), transforms["hflip/out"])


def test_picked_frames(picking: Any) -> None:
    frames, interval = picking["num_frames"], picking["interval"]
    for case in picking["pick"]:
        for way in ("linspace", "stride"):
            assert pick(way, case["start"], case["end"], frames, interval) == case[f"{way}_indices"], case


def test_drawn_windows(picking: Any) -> None:
    for case in picking["draws"]:
        draw = random.Random(case["python_random_seed"])
        windows = [list(reference_window(case["total"], picking["span"], draw)) for _ in case["draws"]]
        assert windows == case["draws"]


def test_reachable_starts(picking: Any) -> None:
    for case in picking["draws"]:
        first, last = case["reachable_starts"]
        draw = random.Random(0)
        starts = {reference_window(case["total"], picking["span"], draw)[0] for _ in range(60 * (last + 1))}
        assert (min(starts), max(starts)) == (first, last)


def test_ucf101_labels(picking: Any) -> None:
    """Every table of labels in the file; one that lists only some classes of its set must have them in our order."""
    tables = [table for key, table in picking.items() if key.endswith("index_from_sorted_folder_names")]
    assert tables
    for expected in tables:
        ranks = class_ranks(reversed(list(expected)))
        assert sorted(ranks, key=ranks.__getitem__) == sorted(expected, key=expected.__getitem__)
        if sorted(expected.values()) == list(range(len(expected))):
            assert ranks == expected
