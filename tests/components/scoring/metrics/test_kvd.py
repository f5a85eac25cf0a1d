"""KVD: the kernel distance, its spread, and that it is unbiased."""

import numpy as np
import pytest

from components.scoring import contracts
from components.scoring.metrics.kernel import KVD, mmd2
from registry.errors import RunError
from tests.fixtures.gaussians import Detector, features, reordered, spoiled, stored


def score(fake, real, **parameters):
    return KVD(Detector(), **parameters).score(fake, real)["kvd[given]"]


def everything(side):
    return side.of(range(side.clips)).astype(np.float64)


def by_pairs(x, y):
    """The definition, pair by pair."""
    dimensions = x.shape[1]

    def mean(a, b, skip):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (skip and i == j)]
        return np.mean([(a[i] @ b[j] / dimensions + 1) ** 3 for i, j in pairs])

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


def test_it_is_the_definition():
    fake, real = features(9, shift=0.3), features(14, seed=1)
    assert mmd2(everything(fake), everything(real)) == pytest.approx(by_pairs(everything(fake), everything(real)))


@pytest.mark.parametrize(("n_fake", "n_real"), [(2, 2), (2, 40), (9, 14), (33, 40), (2200, 520)])
def test_blocks_and_slices_leave_the_value(n_fake, n_real):
    fake, real = features(n_fake, shift=0.3), features(n_real, seed=1)
    found = score(fake, real, subsets=0)
    assert found.value == pytest.approx(mmd2(everything(fake), everything(real)), rel=1e-9)


def test_rows_of_frames_count_as_rows():
    fake, real = features(20, rows_per_clip=3, shift=0.3), features(30, rows_per_clip=3, seed=1)
    assert score(fake, real).value == pytest.approx(mmd2(everything(fake), everything(real)), rel=1e-9)


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
