import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.scoring.detectors.random_r3d import RandomR3D
from components.scoring.frechet import FVD, Moments, frechet_distance
from registry.errors import RunError


def rows(count, dimensions=5, seed=0):
    return np.random.default_rng(seed).normal(3.0, 2.0, size=(count, dimensions)).astype(np.float32)


def moments_of(features, *cuts):
    moments = Moments(features.shape[1])
    for piece in np.split(features, sorted(cuts)):
        moments.update(piece)
    return moments


def clips(count, frames=4, size=16, seed=0):
    return torch.randint(0, 256, (count, frames, size, size, 3), dtype=torch.uint8, generator=generator(seed))


def generator(seed):
    return torch.Generator().manual_seed(seed)


@given(st.integers(2, 30), st.lists(st.integers(0, 30), max_size=5))
def test_moments_are_bit_for_bit_the_same_however_they_are_batched(count, cuts):
    features = rows(count)
    whole, pieces = moments_of(features), moments_of(features, *[min(cut, count) for cut in cuts])
    assert whole.count == pieces.count == count
    assert np.array_equal(whole.sum, pieces.sum)
    assert np.array_equal(whole.outer, pieces.outer)


@given(st.integers(1, 20), st.integers(1, 20))
def test_merged_moments_are_those_of_both_sets(first, second):
    features = rows(first + second)
    merged = moments_of(features[:first]).merge(moments_of(features[first:]))
    assert merged.count == first + second
    np.testing.assert_allclose(merged.mean(), features.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(merged.covariance(), np.cov(features.T.astype(np.float64), ddof=0), atol=1e-10)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_distance_is_symmetric_and_not_negative(a, b):
    first, second = moments_of(rows(4, seed=a)), moments_of(rows(9, seed=b))
    there, back = frechet_distance(first, second), frechet_distance(second, first)
    assert there == pytest.approx(back, rel=1e-6)
    assert there > -1e-6


def test_in_one_dimension_the_distance_has_a_closed_form():
    a, b = moments_of(np.array([[1.0], [3.0]])), moments_of(np.array([[10.0], [16.0]]))
    assert frechet_distance(a, b) == pytest.approx((2 - 13) ** 2 + (1 - 3) ** 2)


def test_moments_survive_a_file(tmp_path):
    moments = Moments(5, origin="here")
    moments.update(rows(6))
    moments.save(tmp_path / "moments.npz")
    loaded = Moments.load(tmp_path / "moments.npz")
    assert (loaded.count, loaded.origin) == (6, "here")
    assert frechet_distance(loaded, moments) == pytest.approx(0, abs=1e-9)
    (tmp_path / "broken.npz").write_bytes(b"nothing")
    with pytest.raises(RunError, match="no moments can be read"):
        Moments.load(tmp_path / "broken.npz")


def test_bad_features_are_refused():
    moments = Moments(5)
    with pytest.raises(RunError, match="2 of 3 clips are not finite"):
        moments.update(np.array([[1.0] * 5, [np.nan] * 5, [1, 2, 3, 4, np.inf]]))
    with pytest.raises(RunError, match=r"shape \(2, 4\)"):
        moments.update(np.zeros((2, 4)))
    with pytest.raises(RunError, match="at least 2 clips"):
        frechet_distance(moments_of(rows(1)), moments_of(rows(3)))
    with pytest.raises(RunError, match="cannot be compared"):
        frechet_distance(Moments(5), Moments(6))


def test_the_score_does_not_depend_on_the_batch_size():
    fvd = FVD(RandomR3D())
    real, sampled = clips(37), clips(37, seed=1)
    scores = [fvd.score(sampled.split(size), fvd.reference(real.split(size))) for size in (1, 7, 32)]
    assert scores[0] == scores[1] == scores[2]
    assert list(scores[0]) == ["fvd[random_r3d]"]


@pytest.mark.parametrize("size", [1, 7, 32])
def test_a_detector_sees_the_same_blocks_however_clips_arrive(size):
    seen = []

    class Watched(RandomR3D):
        def features(self, videos):
            seen.append(len(videos))
            return super().features(videos)

    FVD(Watched()).reference(clips(37).split(size))
    assert seen == [8, 8, 8, 8, 5]


def test_the_precision_of_training_does_not_reach_the_score():
    class Watched(RandomR3D):
        def features(self, videos):
            assert not torch.backends.cudnn.allow_tf32
            return super().features(videos)

    fvd, real = FVD(Watched()), clips(9)
    plain = fvd.reference([real])
    before = torch.backends.cudnn.allow_tf32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(fvd.reference([real]).outer, plain.outer)
    assert torch.backends.cudnn.allow_tf32 == before


def test_only_the_first_clips_count():
    fvd = FVD(RandomR3D(), max_clips=11)
    everything = clips(20)
    first = FVD(RandomR3D()).reference([everything[:11]])
    assert np.array_equal(fvd.reference(everything.split(3)).outer, first.outer)
    assert fvd.reference(everything.split(11)).count == 11


@pytest.mark.parametrize(
    ("batches", "told"),
    [
        ([], "there are no clips"),
        ([clips(1)], "at least 2 clips on either side, not 1"),
        ([clips(2, frames=1)], "clips of 1 frames; random_r3d needs at least 2"),
        ([clips(2), clips(2, size=8)], "clips of different sizes"),
        ([clips(4, size=8)], "cannot be compared"),
        ([clips(4, frames=6)], "cannot be compared"),
        ([clips(2).float()], "must be uint8"),
        ([clips(2).permute(0, 1, 4, 2, 3)], "must be uint8"),
    ],
)
def test_bad_clips_are_refused_in_plain_words(batches, told):
    fvd = FVD(RandomR3D())
    with pytest.raises(RunError, match=told):
        fvd.score(batches, fvd.reference([clips(3)]))


def test_a_reference_made_by_another_detector_is_refused():
    with pytest.raises(RunError, match="cannot be compared"):
        FVD(RandomR3D()).score([clips(3)], FVD(RandomR3D(seed=1)).reference([clips(3)]))
