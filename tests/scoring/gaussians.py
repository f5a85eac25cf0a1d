"""Features of known laws, for the tests of metrics."""

import numpy as np

from components.scoring.contracts import Features


class Detector:
    """What a metric asks of its detector where features are given."""

    label = "given"
    score_suffix = "[given]"


def features(count, dimensions=16, *, seed=0, shift=0.0, scale=1.0, rows_per_clip=1):
    draw = np.random.default_rng(seed).normal(shift, scale, size=(count, rows_per_clip, dimensions))
    return Features(draw.astype(np.float32))


def true_distance(dimensions, *, shift=0.0, scale=1.0):
    """The Fréchet distance of N(shift, scale^2) from N(0, 1) in every dimension."""
    return dimensions * (shift**2 + (scale - 1) ** 2)


def stored(features, path):
    np.save(path, features.of(range(features.clips)).reshape(features.clips, features.rows_per_clip, -1))
    return Features(path)


def spoiled(features, clips, value=np.nan):
    array = features.of(range(features.clips)).reshape(features.clips, features.rows_per_clip, -1)
    array[clips, -1, 0] = value
    return Features(array)


def reordered(features, seed=0):
    return Features(features.of(np.random.default_rng(seed).permutation(features.clips))[:, None])
