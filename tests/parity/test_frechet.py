"""Fixture 8: the Fréchet distance."""

import numpy as np
import pytest

from components.scoring.metrics.frechet import Moments, frechet_distance
from tests.parity import mix_recipe


@pytest.fixture(scope="module")
def sets(golden):
    stored = golden.tensors("frechet")
    expected = golden.json("frechet.json")["sets"]
    found = {}
    for name, values in expected.items():
        sides = []
        for side in ("fake", "real"):
            key = f"{name}/{side}"
            sides.append(stored[key] if key in stored else mix_recipe.features(**values["recipe"][side]))
        found[name] = (*map(moments_of, sides), values)
    return found


def moments_of(features):
    moments = Moments(features.shape[1])
    moments.update(features)
    return moments


def tolerance(fake, real, value):
    full_rank = min(fake.count, real.count) > fake.dimensions
    return pytest.approx(value, rel=1e-6 if full_rank else 1e-5, abs=1e-10)


def test_the_population_distance(sets):
    for name, (fake, real, values) in sets.items():
        assert frechet_distance(fake, real) == tolerance(fake, real, values["population_eigen"]), name


def test_the_unbiased_distance(sets):
    for name, (fake, real, values) in sets.items():
        assert frechet_distance(fake, real, unbiased=True) == tolerance(fake, real, values["unbiased_eigen"]), name


def test_the_moments(sets, golden):
    compared = 0
    for key, expected in golden.tensors("frechet").items():
        name, _, side = key.partition("/")
        side, _, kind = side.partition("_")
        if kind:
            moments = sets[name][0 if side == "fake" else 1]
            ours = {
                "mean": moments.mean(),
                "cov_population": moments.covariance(),
                "cov_unbiased": moments.covariance(unbiased=True),
            }[kind]
            np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-10, atol=1e-12, err_msg=key)
            compared += 1
    assert compared > 0
