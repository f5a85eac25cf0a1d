"""The noise floors of an experiment: what a score is where there is nothing to find, measured at the same counts.

`floors.json` of an experiment holds one record per floor, score and protocol: `floor` (`real_halves`, `reconstruction`,
`resampled`), `of` (the autoencoder or the replicate), `metric` (full name), `protocol` (fingerprint), `values` (one per
draw) at the score's counts `n_fake` and `n_real`, and `measured` at the counts `measured_at`; `videos` and
`measured_videos` are of how many videos those clips are. Chance goes by videos: clips of one are not independent. Of a
score that is better the higher (`higher_is_better`), real clips show what is within reach: no unit, and no bound.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

REAL_HALVES = "real_halves"  # disjoint halves of the real clips against each other: the unit of effects
BOUNDS = (REAL_HALVES, "reconstruction")
WHY_BELOW = (
    "nothing is nearer to real clips than they are; look for the same videos on both sides, and for copied clips"
)

Floors = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Floor:
    """One floor of one score: its finite values, one per draw, at the counts of either side; and how it was measured.

    Counts are of (fake, real) clips, and of the videos that these were cut from; none where videos were not counted.
    """

    kind: str
    of: str
    values: NDArray[np.float64]
    clips: tuple[int, int]
    measured_at: tuple[int, int]
    videos: tuple[int, ...] = ()
    measured_videos: tuple[int, ...] = ()
    higher_is_better: bool = False

    @property
    def name(self) -> str:
        return self.kind.replace("_", " ") + (f" ({self.of})" if self.of else "")

    @property
    def counts(self) -> str:
        """The clips and videos of either side, and those it was measured with where they are others."""
        counts = f"{self.clips[0]} against {self.clips[1]} clips{_of_videos(self.videos, self.clips)}"
        if self.measured_at == self.clips and self.measured_videos == self.videos:
            return counts
        fake, real = self.measured_at
        return f"{counts} (measured: {fake} against {real}{_of_videos(self.measured_videos, self.measured_at)})"

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def sd(self) -> float:
        return float(self.values.std(ddof=1)) if self.values.size > 1 else float("nan")


def floors_of(floors: Floors, metric: str, protocol: str | None) -> Iterator[Floor]:
    """The floors of a score that were measured by this protocol and have a value."""
    for record in floors:
        if record["metric"] == metric and protocol is not None and record["protocol"] == protocol:
            values = np.array([value for value in record["values"] if value is not None], dtype=np.float64)
            values = values[np.isfinite(values)]
            if values.size:
                yield Floor(
                    record["floor"], record["of"], values, (record["n_fake"], record["n_real"]),
                    tuple(record["measured_at"]), tuple(record.get("videos", ())),
                    tuple(record.get("measured_videos", ())), bool(record.get("higher_is_better")),
                )  # fmt: skip


def _of_videos(videos: tuple[int, ...], clips: tuple[int, int]) -> str:
    """What to say of the videos that clips were cut from: nothing where every clip has its own."""
    return f" of {videos[0]} and {videos[1]} videos" if videos and videos != clips else ""


def unit_of(floors: Floors, metric: str, protocol: str | None) -> float | None:
    """The mean score of real halves against each other, None where it was not measured or is not clearly above zero.

    Clearly above zero is by more than two standard deviations of its draws: an unbiased score such as `kvd` scatters
    around zero there, and dividing by what chance has left of it would make any effect look large. A score that is
    better the higher has no such unit.
    """
    for floor in floors_of(floors, metric, protocol):
        if floor.kind == REAL_HALVES and not floor.higher_is_better and floor.mean > 2 * floor.sd:
            return floor.mean
    return None


def below(floors: Floors, metric: str, protocol: str | None, means: Mapping[str, float]) -> list[str]:
    """A warning for each arm whose mean score is below a floor of its own, where nothing can be: lower is better here.

    Real clips against real clips bound the score of every arm, and so does the reconstruction of the one autoencoder
    that all arms share; where arms have several, which one is whose is not known here. Samples against samples of the
    same checkpoint are no bound: they are as far apart as the network makes them. Below is by more than two standard
    deviations of the floor's draws, since an unbiased score such as `kvd` scatters around zero there.

    Args:
        floors: the records of floors.json.
        metric: full name of a score.
        protocol: that it was measured by.
        means: over the seeds of each arm.
    """
    bounds = [floor for floor in floors_of(floors, metric, protocol) if floor.kind in BOUNDS]
    bounds = [floor for floor in bounds if not floor.higher_is_better]
    bounds = [floor for floor in bounds if sum(other.kind == floor.kind for other in bounds) == 1]
    told = []
    for arm, mean in means.items():
        higher = [floor for floor in bounds if mean < floor.mean - 2 * (floor.sd if floor.values.size > 1 else 0.0)]
        if higher:
            names = ", ".join(f"{floor.name} {floor.mean:.4g}" for floor in higher)
            told.append(f"warning: {metric}: {arm} scores {mean:.4g}, below its own floor ({names}): {WHY_BELOW}")
    return told


def left_out(floors: Floors, metric: str, protocol: str | None) -> list[str]:
    """The floors of a score that are of another protocol, by name."""
    others = (record for record in floors if record["metric"] == metric and record["protocol"] != protocol)
    return list(dict.fromkeys(f"{record['floor'].replace('_', ' ')} ({record['protocol']})" for record in others))
