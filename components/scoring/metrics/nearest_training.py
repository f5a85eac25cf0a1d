"""Memory of training clips: how near samples lie to them, beside how near real clips do that were held out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.scoring.contracts import BLOCK, Features, Score
from components.scoring.metrics.held_out import HeldOutMetric
from components.scoring.refusals import comparable, one_thread
from registry.errors import RunError
from registry.parts.catalogue import part

Array = NDArray[np.float64]
DRAWS = 1000  # of the bootstrap
NEAR = 0.5  # of the held-out clips' distance: below, samples are called copies where the interval agrees


@part("metric", "nearest_training")
class NearestTraining(HeldOutMetric):
    """How far samples are from their nearest training clips, as a share of that of held-out real clips; 1 is honest.

    The median over samples of the Euclidean distance, in the detector's features, to the nearest training clip, divided
    by the same median of real clips of the test split. A network that draws what it was shown lies far below 1, though
    its FVD is better than that of an honest one. Clips that were held out are at 1 by construction. A value above 1 is
    no better than 1: samples that look like nothing are far from everything. The training clips are the real side of
    the protocol (`split: train`), cut as it says, so that a copy that starts at another frame is near and not at 0. The
    details have both medians, the share of samples nearer to a training clip than every held-out clip, and a sentence.
    The interval is the percentile bootstrap's over videos, of either side of the ratio; each video counts once.

    Source: none in the paper; distances to the nearest training sample against those of held-out data as in Meehan et
        al. 2020, arXiv 2004.05675; the ratio of medians is our reading
    Official code: no
    """

    scores = ("nearest_training",)
    higher_is_better = True
    undirected = ("nearest_training",)  # best at 1
    biased = ()
    meaning = "1: samples are as far from training clips as held-out real clips are; far below 1: copies of them"

    def estimator(self) -> dict[str, Any]:
        """What the number depends on besides clips and features."""
        return {
            "distance": "Euclidean, to the nearest training clip",
            "ratio": "median over samples / median over clips of the test split, each video once",
            "precision": "float64",
            "interval": f"percentiles of {DRAWS} draws of videos, RandomState(0)",
        }

    @one_thread()
    def score(self, fake: Features, real: Features | None, held_out: Features | None = None) -> dict[str, Score]:
        """The ratio with its interval.

        Args:
            fake: of the samples.
            real: of training clips.
            held_out: of real clips that were not trained on.

        Raises:
            RunError: fewer than 2 clips on a side, features of different dimensions, some not finite, or held-out clips
                that are training clips.
        """
        (name,) = self.names()
        training = comparable(name, fake, real)
        others = comparable(name, fake, held_out)
        near, honest = (by_video(nearest(side, training), side.videos) for side in (fake, others))
        if not np.median(honest) > 0:
            raise RunError(
                f"{name}: half of the clips of the test split have the features of a training clip: the splits share "
                "their videos, so that nothing was held out"
            )
        value = float(np.median(near) / np.median(honest))
        interval = _interval(near, honest)
        details = {
            "samples": float(np.median(near)),
            "held_out": float(np.median(honest)),
            "nearer_than_any_held_out": float(np.mean(near < honest.min())),
            "n_held_out": others.clips,
            "says": in_words(value, interval),
        }
        return {name: Score(value, interval, details=details)}


def nearest(clips: Features, training: Features) -> Array:
    """Return the distance (n,) of each clip to its nearest training clip, by differences of blocks.

    Distances come from squares and products where that is accurate, and of the nearest one from the difference itself,
    so that a copy is at 0 and not at the rounding of its own square.
    """
    found = np.empty(clips.clips)
    for first in range(0, clips.clips, BLOCK):
        own = _rows(clips, range(first, min(first + BLOCK, clips.clips)))
        best, place = np.full(len(own), np.inf), np.zeros(len(own), dtype=np.int64)
        for start in range(0, training.clips, BLOCK):
            others = _rows(training, range(start, min(start + BLOCK, training.clips)))
            squares = (own**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * own @ others.T
            nearer = squares.min(1) < best
            place[nearer] = start + squares.argmin(1)[nearer]
            best = np.minimum(best, squares.min(1))
        found[first : first + len(own)] = np.linalg.norm(own - _rows(training, place.tolist()), axis=1)
    return found


def _rows(features: Features, clips: Sequence[int]) -> Array:
    """Features (n, rows * D) of clips, one row each."""
    rows: Array = features.of(clips).astype(np.float64).reshape(len(clips), -1)
    return rows


def by_video(distances: Array, videos: NDArray[np.int64]) -> Array:
    """Return the median distance of each video's clips, one a video."""
    _, number = np.unique(videos, return_inverse=True)
    return np.array([np.median(distances[number == video]) for video in range(number.max() + 1)])


def _interval(near: Array, honest: Array) -> tuple[float, float]:
    """The 95 % interval of the ratio of medians; a draw whose held-out median is 0 counts as the largest."""
    draw = np.random.RandomState(0)  # frozen: the same draws with every NumPy
    medians = [
        np.median(side[draw.randint(0, len(side), (DRAWS, len(side)))], axis=1) for side in (near, honest)
    ]  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nan_to_num(medians[0] / medians[1], nan=1.0, posinf=float(np.finfo(np.float64).max))
    low, high = np.percentile(ratios, (2.5, 97.5))
    return float(low), float(high)


def in_words(value: float, interval: tuple[float, float]) -> str:
    """Return what a ratio says of the samples."""
    if value < NEAR and interval[1] < 1:
        return "samples lie far nearer to training clips than held-out real clips do: they look like copies"
    if interval[1] < 1:
        return "samples lie nearer to training clips than held-out real clips do: look for copies among them"
    if interval[0] > 1:
        return "samples lie farther from training clips than held-out real clips do: no copies, and not like real clips"
    return "samples are as far from training clips as held-out real clips are: no sign of copying"
