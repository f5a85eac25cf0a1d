"""KVD: the kernel distance, its spread, and that it is unbiased."""

import numpy as np
import pytest

from components.scoring import contracts
from components.scoring.contracts import Features
from components.scoring.metrics.kernel import KVD, mmd2
from registry.errors import RunError
from tests.fixtures.gaussians import Detector, features, reordered, spoiled, stored


def score(fake, real, **parameters):
    return KVD(Detector(), **parameters).score(fake, real)["kvd[given]"]


def everything(side):
    return side.of(range(side.clips)).astype(np.float64)


def by_pairs(x, y, of_x=None, of_y=None):
    """The definition, pair by pair."""
    dimensions = x.shape[1]

    def mean(a, b, videos=None):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if videos is None or videos[i] != videos[j]]
        return np.mean([(a[i] @ b[j] / dimensions + 1) ** 3 for i, j in pairs])

    of_x, of_y = (range(len(rows)) if of is None else of for rows, of in ((x, of_x), (y, of_y)))
    return mean(x, x, of_x) + mean(y, y, of_y) - 2 * mean(x, y)


def test_it_is_the_definition():
    fake, real = features(9, shift=0.3), features(14, seed=1)
    assert mmd2(everything(fake), everything(real)) == pytest.approx(by_pairs(everything(fake), everything(real)))


@pytest.mark.parametrize(("n_fake", "n_real"), [(2, 2), (2, 40), (9, 14), (33, 40), (2200, 520)])
def test_blocks_and_slices_leave_the_value(n_fake, n_real):
    fake, real = features(n_fake, shift=0.3), features(n_real, seed=1)
    found = score(fake, real, subsets=0)
    assert found.value == pytest.approx(mmd2(everything(fake), everything(real)), rel=1e-9)


def of_videos(side):
    return np.repeat(side.videos, side.rows_per_clip)


def test_frames_of_a_clip_are_no_pairs():
    fake, real = features(20, rows_per_clip=3, shift=0.3), features(30, rows_per_clip=3, seed=1)
    rows, videos = [everything(side) for side in (fake, real)], [of_videos(side) for side in (fake, real)]
    assert score(fake, real).value == pytest.approx(by_pairs(*rows, *videos), rel=1e-9)
    assert score(fake, real).value == pytest.approx(mmd2(*rows, *videos), rel=1e-9)


@pytest.mark.parametrize(("frames", "clips_of_a_video"), [(8, 1), (1, 4), (4, 2)])
def test_it_is_unbiased_where_frames_and_clips_are_alike(frames, clips_of_a_video):
    """Rows of one video have a correlation of 0.9; both sides are of one law, so that the true value is 0."""
    random, values = np.random.default_rng(0), []
    for _ in range(60):
        sides = []
        for videos in (16, 20):
            own = random.standard_normal((videos, 1, 1, 16)) * 0.9**0.5
            rows = own + random.standard_normal((videos, clips_of_a_video, frames, 16)) * 0.1**0.5
            array = rows.reshape(videos * clips_of_a_video, frames, 16).astype(np.float32)
            sides.append(Features(array, videos=np.repeat(np.arange(videos), clips_of_a_video)))
        values.append(score(*sides).value)
    assert abs(np.mean(values)) < 4 * np.std(values, ddof=1) / len(values) ** 0.5
    assert min(values) < 0


def test_it_does_not_depend_on_the_order_or_the_place(tmp_path):
    fake, real = features(100, shift=0.5), features(90, seed=1)
    first = score(fake, real)
    assert score(reordered(fake), reordered(real, 3)).value == pytest.approx(first.value, rel=1e-10)
    assert score(stored(fake, tmp_path / "a.npy"), stored(real, tmp_path / "b.npy")) == first


@pytest.mark.parametrize("clips", [8, 40])
def test_it_is_unbiased_where_fvd_is_not(clips):
    values = [score(features(clips, seed=2 * s), features(clips, seed=2 * s + 1)).value for s in range(150)]
    noise = np.std(values, ddof=1) / len(values) ** 0.5
    assert abs(np.mean(values)) < 4 * noise
    assert min(values) < 0


def test_the_interval_holds_what_it_says():
    scores = [score(features(96, seed=2 * s, shift=0.3), features(96, seed=2 * s + 1)) for s in range(60)]
    mean = np.mean([found.value for found in scores])
    assert sum(found.interval[0] <= mean <= found.interval[1] for found in scores) >= 51


def test_subsets_are_told_where_they_differ():
    fake, real = features(60, shift=0.3), features(70, seed=1)
    details = score(fake, real, subsets=200, subset_size=30).details
    assert (details["subsets"], details["subset_size"]) == (200, 30)
    assert details["subset_mean"] == pytest.approx(score(fake, real).value, abs=5 * details["subset_sd"] / 200**0.5)
    assert details == score(fake, real, subsets=200, subset_size=30).details
    assert "subset_mean" not in score(fake, real, subset_size=60).details


def test_subsets_of_frames_have_as_many_rows_as_those_of_clips():
    """Sixteen times as many rows take 256 times as long, and gigabytes."""
    fake, real = features(60, rows_per_clip=16), features(70, seed=1, rows_per_clip=16)
    assert score(fake, real, subsets=3, subset_size=64).details["subset_size"] == 4
    assert "subset_mean" not in score(fake, real, subset_size=960).details


def test_blocks_are_small(tmp_path, monkeypatch):
    most, of = 0, contracts.Features.of

    def watched(self, clips):
        nonlocal most
        most = max(most, len(clips))
        return of(self, clips)

    fake, real = stored(features(3000, 8), tmp_path / "a.npy"), stored(features(3000, 8, seed=1), tmp_path / "b.npy")
    monkeypatch.setattr(contracts.Features, "of", watched)
    score(fake, real, subsets=2, subset_size=400)
    assert most == 400


def test_bad_sides_are_refused():
    with pytest.raises(RunError, match=r"kvd\[given\]: at least 2 sampled clips"):
        score(features(1), features(4))
    with pytest.raises(RunError, match=r"kvd\[given\]: the features of 1 of 5 real clips"):
        score(features(4), spoiled(features(5), [2]))
    with pytest.raises(RunError, match=r"kvd\[given\]: at least 2 real videos are needed, and all clips are of one"):
        score(features(4), Features(everything(features(4)).astype(np.float32)[:, None], videos=[7, 7, 7, 7]))
