"""The kernel video distance: an unbiased polynomial MMD, over all pairs of different videos and in blocks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.scoring.contracts import BLOCK, Features, Score
from components.scoring.metrics.slices import Slice, Sliced, cut
from components.scoring.refusals import Detector, comparable, one_thread
from registry.errors import RunError
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count, Tally

Array = NDArray[np.float64]
Videos = NDArray[np.int64]  # the number of each row's video


@part("metric", "kvd")
class KVD:
    """Kernel video distance: the squared MMD of the features under KID's polynomial kernel; lower is better.

    The kernel is (x·y / D + 1)^3. The value is the unbiased estimate over all pairs of different videos, so that,
    unlike FVD, its expectation does not depend on the number of clips, and it may be slightly negative; all pairs vary
    less than KID's mean over random subsets, which has the same expectation. Clips of one video, and frames of one clip
    where the detector sees frames, are alike: as pairs they would raise the value by a share that falls with the number
    of clips, and the more, the less moves. The interval is the jackknife's over 8 (or 4)
    disjoint slices. With more than `subset_size` rows (clips, or frames where the detector sees frames) on both sides
    the details also have KID's way of telling it: mean and spread over `subsets` random subsets of whole clips with so
    many rows; with fewer, all subsets would be the same
    clips, and the spread over disjoint slices is that of the curve. The time is quadratic in the number of clips.

    Source: Unterthiner et al. 2018, arXiv 1812.01717 (KVD); Binkowski et al. 2018, arXiv 1801.01401 (kernel, subsets)
    Official code: no, the paper reports FVD only; the kernel is that of KID's published code
    """

    scores = ("kvd",)
    by_detector = True
    needs_reference = True
    higher_is_better = False
    biased = ()

    def __init__(self, detector: Detector, *, subsets: Tally = 50, subset_size: Count = 1000) -> None:
        self.extractor = detector
        self.subsets = subsets
        self.subset_size = subset_size

    def names(self) -> tuple[str, ...]:
        """The key of the score."""
        return tuple(score + self.extractor.score_suffix for score in self.scores)

    def estimator(self) -> dict[str, Any]:
        """What the number depends on besides clips and features."""
        return {
            "distance": "mmd2, unbiased, over all pairs of different videos",
            "kernel": "(x.y / D + 1)^3",
            "precision": "float64",
            "slices": "8, 4 or 2 of whole videos, RandomState(0)",
            "subsets": f"{self.subsets} of {self.subset_size}, RandomState(0)",
        }

    @one_thread()
    def score(self, fake: Features, real: Features | None) -> dict[str, Score]:
        """The distance with its interval, its spread over subsets, and the N-curve (flat but for noise).

        Raises:
            RunError: fewer than 2 videos on a side, features of different dimensions, or some not finite.
        """
        (name,) = self.names()
        real = comparable(name, fake, real)
        for side, features in (("sampled", fake), ("real", real)):
            if len(np.unique(features.videos)) < 2:
                raise RunError(f"{name}: at least 2 {side} videos are needed, and all clips are of one")
        sides = cut((fake.videos, real.videos), seed=0)
        sliced = Sliced(_over_slices(fake, real, sides), sides)
        error = sliced.standard_error()
        details: dict[str, Any] = {"slices": sliced.count, "standard_error": error}
        details |= self._over_subsets(fake, real)
        return {name: Score(sliced.whole(), sliced.interval(sliced.whole(), error), sliced.curve(), details)}

    def _over_subsets(self, fake: Features, real: Features) -> dict[str, Any]:
        size = max(2, self.subset_size // max(fake.rows_per_clip, real.rows_per_clip))
        if self.subsets == 0 or min(fake.clips, real.clips) <= size:
            return {}
        draw = np.random.RandomState(0)
        values = []
        for _ in range(self.subsets):
            picked = [draw.choice(side.clips, size, replace=False) for side in (fake, real)]
            x, y = (side.of(clips).astype(np.float64) for side, clips in zip((fake, real), picked, strict=True))
            of_x, of_y = (_videos_of(side, clips) for side, clips in zip((fake, real), picked, strict=True))
            values.append(mmd2(x, y, of_x, of_y))
        return {
            "subset_mean": float(np.mean(values)),
            "subset_sd": float(np.std(values)),
            "subsets": self.subsets,
            "subset_size": size,
        }


def kernel(x: Array, y: Array) -> Array:
    """(x·y / D + 1)^3 of all pairs of rows (N, D) and (M, D) -> (N, M)."""
    base: Array = x @ y.T / x.shape[1] + 1
    return base * base * base


def mmd2(x: Array, y: Array, of_x: Videos | None = None, of_y: Videos | None = None) -> float:
    """Return the unbiased squared MMD of rows (N, D) and (M, D), over pairs of different videos.

    Args:
        x: the rows of one side.
        y: the rows of the other.
        of_x: the number of each row's video; left out, each row is of a video of its own.
        of_y: the same of the other side.
    """
    within = 0.0
    for rows, videos in ((x, of_x), (y, of_y)):
        of = np.arange(len(rows)) if videos is None else videos
        within += _between_videos(kernel(rows, rows), of, of) / max(len(of) ** 2 - _alike(of), 1)
    return float(within - 2 * kernel(x, y).mean())


def _between_videos(k: Array, of_rows: Videos, of_columns: Videos) -> float:
    """The sum of a kernel (N, M) over pairs of different videos."""
    return float(k.sum() - k[of_rows[:, None] == of_columns[None, :]].sum())


def _alike(videos: Videos) -> int:
    """How many ordered pairs of rows are of one video, a row with itself among them."""
    return int((np.unique(videos, return_counts=True)[1] ** 2).sum())


def _videos_of(features: Features, clips: Slice) -> Videos:
    """The video of each row of some clips."""
    return np.repeat(features.videos[clips], features.rows_per_clip)


def _over_slices(fake: Features, real: Features, sides: list[list[Slice]]) -> Any:
    """The unbiased squared MMD as a function of which slices are in, from the sums of the kernel between slices.

    A video is in one slice, so pairs of one video are of one slice.
    """
    fakes, reals = sides
    within_fake, within_real = _sums(fake, fakes), _sums(real, reals)
    across = _sums(fake, fakes, real, reals)
    videos = [[_videos_of(side, clips) for clips in slices] for side, slices in ((fake, fakes), (real, reals))]
    rows = [np.array(list(map(len, of))) for of in videos]
    alike = [np.array(list(map(_alike, of))) for of in videos]

    def value(members: tuple[int, ...]) -> float:
        of, those = np.ix_(members, members), list(members)
        n, m = (int(counts[those].sum()) for counts in rows)
        of_fake, of_real = (count**2 - int(same[those].sum()) for count, same in zip((n, m), alike, strict=True))
        within = within_fake[of].sum() / of_fake + within_real[of].sum() / of_real
        return float(within - 2 * across[of].sum() / (n * m))

    return value


def _sums(a: Features, slices_a: list[Slice], b: Features | None = None, slices_b: list[Slice] | None = None) -> Array:
    """Sums of the kernel over all pairs between every two slices; within one side, of different videos."""
    sums = np.zeros((len(slices_a), len(slices_b or slices_a)))
    for i, x_first, x, of_x in _blocks(a, slices_a):
        for j, y_first, y, of_y in _blocks(b or a, slices_b or slices_a):
            if b is not None:
                sums[i, j] += kernel(x, y).sum()
            elif (j, y_first) >= (i, x_first):  # the kernel is symmetric: half of the pairs do
                found = _between_videos(kernel(x, y), of_x, of_y)
                sums[i, j] += found
                if (j, y_first) != (i, x_first):
                    sums[j, i] += found
    return sums


def _blocks(features: Features, slices: list[Slice]) -> Iterator[tuple[int, int, Array, Videos]]:
    for number, clips in enumerate(slices):
        for first in range(0, len(clips), BLOCK):
            block = clips[first : first + BLOCK]
            yield number, first, features.of(block).astype(np.float64), _videos_of(features, block)
