"""Disjoint slices of either side, and what is read off them: the N-curve, its limit, and an interval.

Both sides are cut into the same number of slices. A score of fewer clips is the score of some slices, so that nothing
has to be measured twice; leaving out one slice of either side after the other (the jackknife) tells how much the
score depends on the draw of videos: clips of one video are in one slice, since they are not independent. A slice of
one side goes with the slice of the same number of the other side: both sides are cut by the same permutation, so that
two sides whose clips belong together pairwise (a clip and its reconstruction) stay paired.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from components.scoring.contracts import CurvePoint

COUNTS = (8, 4, 2)  # numbers of slices, the largest that the videos suffice for is taken
SMALLEST = 4  # videos in a slice
FEWEST_FOR_SPREAD = 4  # slices from which a standard error is taken

Slice = NDArray[np.int64]
Value = Callable[[tuple[int, ...]], float]  # the numbers of the slices that are in -> the score of those


def cut(sides: Sequence[NDArray[np.int64]], seed: int) -> list[list[Slice]]:
    """For every side the clips of each slice, ascending; one slice where there are fewer than 8 videos.

    Videos are dealt out by a permutation, so that their order (by class, by length) plays no part.

    Args:
        sides: for every side the number of each clip's video.
        seed: of the permutation.
    """
    videos = [np.unique(side, return_inverse=True) for side in sides]
    fewest = min(len(numbers) for numbers, _ in videos)
    count = next((count for count in COUNTS if fewest // count >= SMALLEST), 1)
    slices = []
    for numbers, video_of_clip in videos:
        # RandomState is frozen: the same slices with every NumPy
        order = np.random.RandomState(seed).permutation(len(numbers))
        slices.append([np.flatnonzero(np.isin(video_of_clip, piece)) for piece in np.array_split(order, count)])
    return slices


@dataclass(frozen=True)
class Limit:
    """What value = limit + slope / share gives, by weighted least squares over the sizes that were admitted."""

    value: float
    slope: float  # the part of the whole score that is due to the number of clips
    standard_error: float | None
    shares: tuple[float, ...]


class Sliced:
    """A score as a function of which slices are in.

    Args:
        value: the score of some slices; called once for every set of slices.
        sides: the slices of the two sides, as `cut` gives them.
    """

    def __init__(self, value: Value, sides: list[list[Slice]]) -> None:
        self._value = cache(value)
        self.count = len(sides[0])
        self._clips = [sum(map(len, slices)) for slices in sides]
        self._sizes = [2**power for power in range(self.count.bit_length())]
        self._all = tuple(range(self.count))

    def whole(self) -> float:
        """The score of all clips."""
        return self._value(self._all)

    def curve(self) -> tuple[CurvePoint, ...]:
        """The score at an eighth, a quarter, a half and all of the clips, as far as the clips suffice."""
        if self.count == 1:
            return ()
        points = []
        for size in self._sizes:
            values = [self._value(group) for group in _groups(self._all, size)]
            fake, real = (clips * size // self.count for clips in self._clips)
            sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
            points.append(CurvePoint(size / self.count, fake, real, float(np.mean(values)), sd))
        return tuple(points)

    def standard_error(self) -> float | None:
        """The jackknife's standard error of the score of all clips; None for fewer than four slices."""
        return self._jackknife(lambda members: self._value(members))

    def limit(self, fewest: int) -> Limit | None:
        """The value at infinitely many clips, from the sizes of at least `fewest` clips on the smaller side.

        None where fewer than two sizes are that large.
        """
        sizes = [size for size in self._sizes if min(self._clips) * size // self.count >= fewest]
        if len(sizes) < 2:
            return None

        def fitted(members: tuple[int, ...]) -> tuple[float, float]:
            missing = set(self._all) - set(members)
            means: list[float] = []
            used: list[int] = []
            for size in sizes:
                groups = [group for group in _groups(self._all, size) if not missing & set(group)]
                if groups:
                    means.append(float(np.mean([self._value(group) for group in groups])))
                    used.append(size)
            if missing:
                means.append(self._value(members))
                used.append(len(members))
            return _line(np.array(used) / self.count, np.array(means))

        value, slope = fitted(self._all)
        error = self._jackknife(lambda members: fitted(members)[0])
        return Limit(value, slope, error, tuple(size / self.count for size in sizes))

    def interval(self, value: float, standard_error: float | None) -> tuple[float, float] | None:
        """The 95 % Student interval with one degree of freedom less than there are slices."""
        if standard_error is None:
            return None
        from scipy.special import stdtrit  # here, since building the metrics for `check` needs no scipy

        half = float(stdtrit(self.count - 1, 0.975)) * standard_error
        return value - half, value + half

    def _jackknife(self, statistic: Value) -> float | None:
        if self.count < FEWEST_FOR_SPREAD:
            return None
        left_out = [statistic(tuple(i for i in self._all if i != out)) for out in self._all]
        return float(np.sqrt((self.count - 1) * np.var(left_out)))


def _groups(members: Sequence[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(members[first : first + size]) for first in range(0, len(members), size)]


def _line(shares: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """Limit and slope of value = limit + slope / share, every size weighted by its share."""
    weights = np.sqrt(shares)
    design = np.stack([weights, weights / shares], axis=1)
    (limit, slope), *_ = np.linalg.lstsq(design, weights * values, rcond=None)
    return float(limit), float(slope)
