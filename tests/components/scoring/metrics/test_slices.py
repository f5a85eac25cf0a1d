"""Slices hold whole videos, and the clips' order plays no part in how many there are."""

import numpy as np
import pytest

from components.scoring.contracts import Features
from components.scoring.metrics.fvd import FVD
from components.scoring.metrics.slices import cut


@pytest.mark.parametrize(("videos", "slices"), [(7, 1), (8, 2), (16, 4), (32, 8), (300, 8)])
def test_videos_stay_whole(videos: int, slices: int) -> None:
    per_video = np.random.default_rng(0).integers(1, 5, videos)
    side = np.repeat(np.arange(videos) * 3, per_video)
    (found, other) = cut([side, np.arange(videos)], seed=0)
    assert len(found) == len(other) == slices
    assert sorted(np.concatenate(found).tolist()) == list(range(len(side)))
    assert sum(len(set(side[piece])) for piece in found) == videos


class Detector:
    label, layer, score_suffix = "none", "none", "[none]"


def test_clips_of_one_video_widen_the_interval() -> None:
    """Four nearly equal clips a video are no four independent clips."""
    stream = np.random.default_rng(1)
    of_video = stream.normal(size=(64, 1, 8)).repeat(4, axis=0) + 0.05 * stream.normal(size=(256, 1, 8))
    real = Features(stream.normal(0.5, 1, size=(256, 1, 8)).astype(np.float32))
    array, videos = of_video.astype(np.float32), np.arange(256) // 4
    widths = []
    for fake in (Features(array), Features(array, videos=videos)):
        interval = FVD(Detector()).score(fake, real)["fvd[none]"].interval  # type: ignore[arg-type]
        assert interval is not None
        widths.append(interval[1] - interval[0])
    assert widths[1] > 1.3 * widths[0]
