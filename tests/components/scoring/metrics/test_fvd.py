"""FVD: its value, its N-curve, its limit and its interval."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from components.scoring import contracts
from components.scoring.metrics import fvd
from components.scoring.metrics.frechet import Moments, frechet_distance
from components.scoring.metrics.fvd import FVD
from registry.errors import RunError
from tests.fixtures.gaussians import Detector, features, reordered, spoiled, stored, true_distance


def score(fake, real):
    return FVD(Detector()).score(fake, real)


def direct(fake, real):
    sides = []
    for side in (fake, real):
        sides.append(Moments(side.dimensions))
        sides[-1].update(side.of(range(side.clips)))
    return frechet_distance(*sides)


@pytest.mark.parametrize(("n_fake", "n_real"), [(2, 2), (2, 50), (7, 8), (8, 8), (33, 40), (300, 270)])
def test_the_value_is_the_distance_of_all_clips(n_fake, n_real):
    fake, real = features(n_fake, shift=0.3), features(n_real, seed=1)
    scores = score(fake, real)
    assert scores["fvd[given]"].value == pytest.approx(direct(fake, real), rel=1e-9)


def test_names_and_facts():
    assert FVD(Detector()).names() == ("fvd[given]", "fvd_extrapolated[given]")
    assert (FVD.by_detector, FVD.needs_reference, FVD.higher_is_better) == (True, True, False)
    assert list(score(features(64), features(64, seed=1))) == ["fvd[given]", "fvd_extrapolated[given]"]


def test_the_order_of_measuring_plays_no_part():
    fake, real = features(100, shift=0.5), features(90, seed=1)
    first, second = score(fake, real)["fvd[given]"], score(reordered(fake), reordered(real, 3))["fvd[given]"]
    assert second.value == pytest.approx(first.value, rel=1e-12)


def test_the_same_features_give_the_same_scores_bit_for_bit(tmp_path):
    fake, real = features(100, shift=0.5), features(90, seed=1)
    again = score(stored(fake, tmp_path / "fake.npy"), stored(real, tmp_path / "real.npy"))
    assert again == score(fake, real)


def test_the_curve_has_the_disjoint_subsets():
    fake, real = features(100, shift=0.5), features(171, seed=1)
    curve = score(fake, real)["fvd[given]"].curve
    assert [point.share for point in curve] == [1 / 8, 1 / 4, 1 / 2, 1]
    assert [point.n_fake for point in curve] == [12, 25, 50, 100]
    assert [point.n_real for point in curve] == [21, 42, 85, 171]
    assert [point.value for point in curve] == sorted((point.value for point in curve), reverse=True)
    assert curve[-1].value == score(fake, real)["fvd[given]"].value
    assert [point.sd is None for point in curve] == [False, False, False, True]


def test_sorted_classes_do_not_bend_the_curve():
    """Two classes far apart, one after the other: slices of neighbours would be of one class each."""
    halves = [features(128, 4, seed=seed, shift=shift).of(range(128)) for seed, shift in ((0, -5), (1, 5))]
    ordered = contracts.Features(np.concatenate(halves)[:, None])
    curve = score(ordered, features(256, 4, seed=2))["fvd[given]"].curve
    assert curve[0].value == pytest.approx(curve[-1].value, rel=0.1)


@pytest.mark.parametrize(
    ("clips", "points", "with_interval"), [(2, 0, False), (7, 0, False), (8, 2, False), (16, 3, True), (32, 4, True)]
)
def test_few_clips_give_fewer_slices(clips, points, with_interval):
    found = score(features(clips), features(clips + 1, seed=1))["fvd[given]"]
    assert len(found.curve) == points
    assert (found.interval is not None) == with_interval
    assert found.interval is None or found.interval[0] < found.value < found.interval[1]


def test_no_limit_from_fewer_than_two_clips_a_dimension():
    found = score(features(31), features(100, seed=1))
    assert list(found) == ["fvd[given]"]
    assert "16 clips" in found["fvd[given]"].details["note"]
    assert "so 32 are needed" in found["fvd[given]"].details["note"]
    limit = score(features(32), features(100, seed=1))["fvd_extrapolated[given]"]
    assert limit.details["shares"] == [0.5, 1.0]


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.3, 1.0), (0.1, 1.3)])
@pytest.mark.parametrize("clips", [32, 64, 256])
def test_the_limit_has_lost_the_bias(clips, shift, scale):
    """Gaussian features whose distance is known: in 40 draws the limit is right within its noise, FVD is not."""
    true, draws = true_distance(16, shift=shift, scale=scale), 40
    values, limits = [], []
    for seed in range(draws):
        scores = score(features(clips, seed=2 * seed, shift=shift, scale=scale), features(clips, seed=2 * seed + 1))
        values.append(scores["fvd[given]"].value)
        limits.append(scores["fvd_extrapolated[given]"].value)
    bias, left = np.mean(values) - true, np.mean(limits) - true
    noise = np.std(limits, ddof=1) / draws**0.5
    assert bias > 5 * noise
    assert abs(left) < 4 * noise + 0.05 * bias


def test_the_interval_holds_what_it_says():
    """The mean of FVD over draws lies in 95 % of the intervals; of 60, at least 51 must (99.8 % of the time)."""
    scores = [
        score(features(96, seed=2 * seed, shift=0.4), features(96, seed=2 * seed + 1))["fvd[given]"]
        for seed in range(60)
    ]
    mean = np.mean([found.value for found in scores])
    assert sum(found.interval[0] <= mean <= found.interval[1] for found in scores) >= 51
    widths = [found.interval[1] - found.interval[0] for found in scores]
    assert np.mean(widths) < 10 * np.std([found.value for found in scores])


@pytest.mark.parametrize(
    ("fake", "real", "told"),
    [
        (features(1), features(5), "at least 2 sampled clips are needed, not 1"),
        (features(5), features(1), "at least 2 real clips are needed, not 1"),
        (features(0), features(5), "at least 2 sampled clips are needed, not 0"),
        (features(5), None, "there are none"),
        (features(5), features(5, 8), "16 dimensions on the sampled side, 8 on the real side"),
        (spoiled(features(600), [300, 599]), features(5), r"2 of 600 sampled clips are not finite \(first: clip 300"),
        (features(5), spoiled(features(5), [4], np.inf), r"1 of 5 real clips are not finite \(first: clip 4"),
    ],
)
def test_bad_sides_are_refused_in_plain_words(fake, real, told):
    with pytest.raises(RunError, match=told):
        score(fake, real)


def test_a_clip_of_many_rows_is_named_as_a_clip():
    bad = spoiled(features(300, rows_per_clip=4), [260])
    with pytest.raises(RunError, match=r"1 of 300 sampled clips are not finite \(first: clip 260"):
        score(bad, features(5, rows_per_clip=4))


def test_the_file_is_read_in_blocks(tmp_path, monkeypatch):
    most, of = 0, contracts.Features.of

    def watched(self, clips):
        nonlocal most
        most = max(most, len(clips))
        return of(self, clips)

    fake, real = (
        stored(features(20_000, 64), tmp_path / "a.npy"),
        stored(features(20_000, 64, seed=1), tmp_path / "b.npy"),
    )
    monkeypatch.setattr(contracts.Features, "of", watched)
    assert score(fake, real)["fvd[given]"].value < 1
    assert most == contracts.BLOCK


def test_linear_algebra_runs_on_one_thread(monkeypatch):
    """More threads sum in another order: FVD of 900 clips of 400 features differed by 1e-11 between one and two."""
    seen = set()

    def watched(*moments):
        seen.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return frechet_distance(*moments)

    monkeypatch.setattr(fvd, "frechet_distance", watched)
    with threadpool_limits(2):
        score(features(20), features(20, seed=1))
    assert seen == {1}
