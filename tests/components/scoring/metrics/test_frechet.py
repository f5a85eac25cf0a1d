"""Moments and the Fréchet distance between them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.scoring.metrics.frechet import Moments, frechet_distance
from registry.errors import RunError


def rows(count, dimensions=5, seed=0):
    return np.random.default_rng(seed).normal(3.0, 2.0, size=(count, dimensions)).astype(np.float32)


def moments_of(features, *cuts):
    moments = Moments(features.shape[1])
    for piece in np.split(features, sorted(cuts)):
        moments.update(piece)
    return moments


@given(st.integers(2, 30), st.lists(st.integers(0, 30), max_size=5))
def test_moments_do_not_depend_on_the_blocks(count, cuts):
    features = rows(count)
    whole, pieces = moments_of(features), moments_of(features, *[min(cut, count) for cut in cuts])
    assert whole.count == pieces.count == count
    np.testing.assert_allclose(pieces.sum, whole.sum, rtol=1e-12)
    np.testing.assert_allclose(pieces.outer, whole.outer, rtol=1e-12)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
def test_merged_shards_are_the_whole(first, second, third):
    features = rows(first + second + third)
    shards = [moments_of(piece) for piece in np.split(features, [first, first + second])]
    merged, whole = shards[0].merge(shards[1]).merge(shards[2]), moments_of(features)
    assert merged.count == first + second + third
    np.testing.assert_allclose(merged.mean(), whole.mean(), rtol=1e-12)
    np.testing.assert_allclose(merged.outer, whole.outer, rtol=1e-12)
    exact = features.astype(np.float64)
    np.testing.assert_allclose(merged.mean(), exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(merged.covariance(), np.cov(exact.T, ddof=0), atol=1e-10)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_distance_is_symmetric_and_not_negative(a, b):
    first, second = moments_of(rows(4, seed=a)), moments_of(rows(9, seed=b))
    there, back = frechet_distance(first, second), frechet_distance(second, first)
    assert there == pytest.approx(back, rel=1e-6)
    assert there > -1e-6


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_the_distance_stays_under_a_rotation_and_a_shift(seed):
    draw = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(draw.normal(size=(5, 5)))
    first, second = (draw.normal(size=(20, 5)) for _ in range(2))
    turned = [(features @ rotation + 2).astype(np.float32) for features in (first, second)]
    plain = [features.astype(np.float32) for features in (first, second)]
    assert frechet_distance(*map(moments_of, turned)) == pytest.approx(
        frechet_distance(*map(moments_of, plain)), rel=1e-4, abs=1e-6
    )


def test_in_one_dimension_the_distance_has_a_closed_form():
    a, b = moments_of(np.array([[1.0], [3.0]])), moments_of(np.array([[10.0], [16.0]]))
    assert frechet_distance(a, b) == pytest.approx((2 - 13) ** 2 + (1 - 3) ** 2)


def test_bad_features_are_refused():
    moments = Moments(5)
    with pytest.raises(RunError, match=r"2 of 3 feature vectors are not finite \(first: number 1\)"):
        moments.update(np.array([[1.0] * 5, [np.nan] * 5, [1, 2, 3, 4, np.inf]]))
    with pytest.raises(RunError, match=r"shape \(2, 4\)"):
        moments.update(np.zeros((2, 4)))
    with pytest.raises(RunError, match="at least 2 feature vectors"):
        frechet_distance(moments_of(rows(1)), moments_of(rows(3)))
    with pytest.raises(RunError, match="cannot be compared"):
        frechet_distance(Moments(5), Moments(6))
    with pytest.raises(RunError, match="cannot be compared"):
        Moments(5).merge(Moments(6))


@pytest.mark.parametrize(("first", "second"), [(4, 9), (12, 40), (12, 60), (60, 12), (39, 41), (60, 70)])
def test_neither_few_nor_many_clips_lose_accuracy(first, second):
    """The trace of the root is also the sum of the singular values of X1 X2^T of the centred features.

    Of 40 dimensions, so that vectors are few on both sides, on one, or on none.
    """
    a, b = rows(first, 40), rows(second, 40, seed=1)
    x, y = (side.astype(np.float64) - side.astype(np.float64).mean(0) for side in (a, b))
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum() / (first * second) ** 0.5
    shift = a.astype(np.float64).mean(0) - b.astype(np.float64).mean(0)
    expected = shift @ shift + (x**2).sum() / first + (y**2).sum() / second - 2 * root
    assert frechet_distance(moments_of(a), moments_of(b)) == pytest.approx(expected, rel=1e-11)
