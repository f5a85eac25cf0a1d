"""The Fréchet video distance to clips that were held out of training, and what it is from these to training clips."""

from collections.abc import Callable
from functools import cache, reduce
from typing import Any

import numpy as np

from components.scoring.contracts import Features, Score
from components.scoring.metrics.frechet import Moments, frechet_distance
from components.scoring.metrics.held_out import HeldOutMetric
from components.scoring.metrics.slices import Slice, Sliced, cut
from components.scoring.refusals import comparable, one_thread
from registry.parts.catalogue import part

Members = tuple[int, ...]  # the numbers of the slices that are in


@part("metric", "fvd_test")
class HeldOutFVD(HeldOutMetric):
    """FVD of samples against real clips of the test split, and whether samples are nearer to training clips than these.

    `fvd_test` is `fvd` with the test split for its real side. `fvd_gap` is the FVD of held-out clips against the
    training clips, less the FVD of as many samples against the same training clips, one clip of each video on either
    side, since clips of one video are alike: both have the same bias. The
    samples of a network that has learned the law of the clips are as far from the training clips as held-out clips are,
    about 0; copies are nearer, since they are the clips that they are held against, and their gap is above 0, the more
    so the fewer training clips there are. A gap below 0 says that samples are farther, as most are. Where the splits
    keep apart more than videos (other persons, other places), held-out clips are far from the training clips, and
    honest samples have a gap above 0 as well. The intervals are the jackknife's over 8 (or 4) disjoint slices of
    videos of each side. Memory: the moments of 8 slices of five sets, 50 MB for I3D.

    Source: none in the paper; FVD against both splits is a practice of the field; the gap at equal counts is our
        reading
    Official code: no
    """

    scores = ("fvd_test", "fvd_gap")
    higher_is_better = False
    undirected = ("fvd_gap",)  # best at 0
    biased = ("fvd_test",)  # by 1/n_fake + 1/n_real
    meaning = (
        "against the test split; fvd_gap: above 0 where samples are nearer to training clips than held-out clips are"
    )

    def estimator(self) -> dict[str, Any]:
        """What the numbers depend on besides clips and features."""
        return {
            "distance": "frechet",
            "covariance": "population",
            "precision": "float64",
            "slices": "8, 4 or 2 of whole videos, RandomState(0)",
            "gap": "held-out clips against training clips, less as many samples, a clip of each video, RandomState(0)",
        }

    @one_thread()
    def score(self, fake: Features, real: Features | None, held_out: Features | None = None) -> dict[str, Score]:
        """Both numbers with their intervals.

        Args:
            fake: of the samples.
            real: of training clips.
            held_out: of real clips that were not trained on.

        Raises:
            RunError: fewer than 2 clips on a side, features of different dimensions, or some not finite.
        """
        name, gap_name = self.names()
        training, test = comparable(name, fake, real), comparable(name, fake, held_out)
        slices, moments = _sliced(fake, test)
        to_test = Sliced(lambda members: frechet_distance(*moments(members)), slices)
        count = min(len(np.unique(side.videos)) for side in (fake, test))
        samples, others = draw(fake, count), draw(test, count)
        slices, moments_of_three = _sliced(samples, others, training)

        @cache
        def to_training(members: Members) -> tuple[float, float]:
            near, far, trained = moments_of_three(members)
            return frechet_distance(near, trained), frechet_distance(far, trained)

        def difference(members: Members) -> float:
            near, far = to_training(members)
            return far - near

        gap = Sliced(difference, slices)
        interval = _interval(gap)
        of_samples, of_held_out = to_training(tuple(range(gap.count)))
        details = {
            "samples": of_samples,
            "held_out": of_held_out,
            "n_each": count,
            "n_training": training.clips,
            "says": in_words(interval),
        }
        return {
            name: Score(to_test.whole(), _interval(to_test), to_test.curve(), {"n_held_out": test.clips}),
            gap_name: Score(gap.whole(), interval, details=details),
        }


def _sliced(*sides: Features) -> tuple[list[list[Slice]], Callable[[Members], list[Moments]]]:
    """Return the slices of sides, and the moments of each side as a function of the slices that are in."""
    slices = cut([side.videos for side in sides], seed=0)
    moments = [[Moments.of(side, clips) for clips in parts] for side, parts in zip(sides, slices, strict=True)]
    return slices, lambda members: [reduce(Moments.merge, [parts[i] for i in members]) for parts in moments]


def _interval(sliced: Sliced) -> tuple[float, float] | None:
    return sliced.interval(sliced.whole(), sliced.standard_error())


def draw(features: Features, count: int) -> Features:
    """Return the first clip of each of so many videos, of all where there are no more."""
    _, first = np.unique(features.videos, return_index=True)
    place = np.random.RandomState(0).permutation(len(first))  # frozen: the same draw with every NumPy
    return features.subset(np.sort(first[np.argsort(place)[:count]]).tolist())


def in_words(interval: tuple[float, float] | None) -> str:
    """Return what a gap says of the samples; None where there are too few videos for an interval."""
    if interval is None:
        return "too few videos to say whether samples are nearer to training clips than held-out clips are"
    if interval[0] > 0:
        return (
            "samples are nearer to training clips than held-out clips are: look for copies; where the splits keep more "
            "than videos apart, honest samples are so as well"
        )
    if interval[1] < 0:
        return "samples are farther from training clips than held-out clips are: no sign of copying, and not like them"
    return "samples are as far from training clips as held-out clips are: no sign of copying"
