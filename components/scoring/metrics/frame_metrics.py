"""FID and KID of frames, computed by clean-fid's own functions on features that are read in blocks."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.scoring.contracts import Features, Score
from components.scoring.inception import Inception
from components.scoring.metrics.frechet import Moments, frechet_distance
from components.scoring.refusals import Detector, comparable, one_thread
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count

AGREE = 1e-3  # clean-fid's matrix root and our trace of it, relative; beyond, the root was not stable


@part("metric", "fid")
class FID:
    """Fréchet Inception distance of single frames, blind to motion; lower is better.

    Resizing, network and distance are clean-fid's own; the covariance is the unbiased one of `np.cov`, from moments
    streamed in float64. `weights` is the path of inception-2015-12-05.pt; left empty, the environment variable
    LATTE_WORKBENCH_INCEPTION, the cache of `fetch-weights` and the place where clean-fid downloads it are looked at.
    With any other scripted network the score is named `fid[<first 8 of the file's SHA-256>]`, and `sha256` has to say
    the whole of it, because such a file is a program. All frames of a clip count; they are alike, so there are fewer
    independent frames than frames. The details have the same distance by
    eigenvalues or, of few frames, singular values (`by_eigenvalues`), because the general matrix root of clean-fid is
    not stable where there are fewer frames than the 2048 features; where it fails altogether (SciPy 1.18 drops an
    argument that it uses), that value is the score, and the details say so.

    Source: Heusel et al. 2017, arXiv 1706.08500; Parmar et al. 2022, arXiv 2104.11222 (clean-fid)
    Official code: yes, clean-fid's package is what computes it; the copy in Latte's tools is broken
    """

    scores = ("fid",)
    by_detector = False
    needs_reference = True
    higher_is_better = False
    biased = ("fid",)  # by 1/n_fake + 1/n_real

    def __init__(self, detector: Detector | None = None, *, weights: str = "", sha256: str = "") -> None:
        self.extractor = Inception(weights, sha256)

    def names(self) -> tuple[str, ...]:
        """The key of the score."""
        return tuple(score + self.extractor.suffix for score in self.scores)

    def estimator(self) -> dict[str, Any]:
        """What the number depends on besides clips and features."""
        return {"distance": "frechet", "covariance": "unbiased", "precision": "float64", "computed_by": _clean_fid()}

    @one_thread()
    def score(self, fake: Features, real: Features | None) -> dict[str, Score]:
        """The distance over all frames.

        Raises:
            RunError: fewer than 2 clips on a side, features of different dimensions, or some not finite.
        """
        (name,) = self.names()
        real = comparable(name, fake, real)
        sides = [Moments.of(side) for side in (fake, real)]
        details: dict[str, Any] = {"frames": [side.count for side in sides], "computed_by": _clean_fid()}
        ours = frechet_distance(*sides, unbiased=True)
        details["by_eigenvalues"] = ours
        notes = []
        if min(details["frames"]) <= fake.dimensions:
            notes.append(f"no more frames than the {fake.dimensions} features: the bias is large")
        try:
            value, said = _cleanfid_distance(*sides)
        except (TypeError, ValueError, np.linalg.LinAlgError) as error:
            value, said = ours, ""
            details["computed_by"] = "eigenvalues, because clean-fid failed"
            notes.append(f"clean-fid's frechet_distance failed here: {error}")
        if said:
            notes.append(f"clean-fid says: {said}")
        if abs(value - ours) > AGREE * max(abs(ours), 1e-6):
            notes.append("clean-fid's matrix root was not stable here; by_eigenvalues is the distance")
        if notes:
            details["note"] = "; ".join(notes)
        return {name: Score(value, details=details)}


@part("metric", "kid")
class KID:
    """Kernel Inception distance of single frames, unbiased but blind to motion; lower is better.

    Features as for `fid`, with the same `weights`, `sha256` and naming. The value is clean-fid's `kernel_distance`,
    the mean over `subsets` random subsets of at most `subset_size` frames of either side, drawn from seed 0; their
    spread is in the details. Subsets overlap and frames of a clip are alike, so the spread is no standard error.

    Source: Binkowski et al. 2018, arXiv 1801.01401; Parmar et al. 2022, arXiv 2104.11222 (clean-fid)
    Official code: yes, clean-fid's package is what computes it
    """

    scores = ("kid",)
    by_detector = False
    needs_reference = True
    higher_is_better = False
    biased = ()

    def __init__(
        self,
        detector: Detector | None = None,
        *,
        weights: str = "",
        subsets: Count = 100,
        subset_size: Count = 1000,
        sha256: str = "",
    ) -> None:
        self.extractor = Inception(weights, sha256)
        self.subsets = subsets
        self.subset_size = subset_size

    def names(self) -> tuple[str, ...]:
        """The key of the score."""
        return tuple(score + self.extractor.suffix for score in self.scores)

    def estimator(self) -> dict[str, Any]:
        """What the number depends on besides clips and features."""
        subsets = f"{self.subsets} of {self.subset_size}, seed 0"
        return {"distance": "kid", "subsets": subsets, "precision": "float32", "computed_by": _clean_fid()}

    @one_thread()
    def score(self, fake: Features, real: Features | None) -> dict[str, Score]:
        """The distance over random subsets of frames.

        Raises:
            RunError: fewer than 2 clips on a side, features of different dimensions, or some not finite.
        """
        from cleanfid.fid import kernel_distance

        (name,) = self.names()
        real = comparable(name, fake, real)
        with _numpy_seed(0):  # subset by subset draws the same subsets as all at once
            values = [
                kernel_distance(_Frames(fake), _Frames(real), num_subsets=1, max_subset_size=self.subset_size)
                for _ in range(self.subsets)
            ]
        frames = [side.clips * side.rows_per_clip for side in (fake, real)]
        details = {
            "frames": frames,
            "subset_sd": float(np.std(values)),
            "subsets": self.subsets,
            "subset_size": min(self.subset_size, *frames),
            "computed_by": _clean_fid(),
        }
        return {name: Score(float(np.mean(values)), details=details)}


class _Frames:
    """Frames' features (n, D) that are read when rows are asked for: what clean-fid takes for an array."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self.shape = (features.clips * features.rows_per_clip, features.dimensions)

    def __getitem__(self, wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = np.empty((len(wanted), self.shape[1]), dtype=np.float32)
        a_clip = self._features.rows_per_clip
        for first in range(0, len(wanted), 64):
            clips, frames = np.divmod(wanted[first : first + 64], a_clip)
            read = self._features.of(clips).reshape(len(clips), a_clip, -1)
            rows[first : first + 64] = read[np.arange(len(clips)), frames]
        return rows


def _cleanfid_distance(a: Moments, b: Moments) -> tuple[float, str]:
    """clean-fid's Fréchet distance, and what it printed meanwhile."""
    from cleanfid.fid import frechet_distance as cleanfids

    said = io.StringIO()
    with redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy's on singular matrices; the value is compared with ours instead
        value = cleanfids(a.mean(), a.covariance(unbiased=True), b.mean(), b.covariance(unbiased=True))
    return float(value), said.getvalue().strip()


def _clean_fid() -> str:
    return f"clean-fid {version('clean-fid')}"


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """clean-fid draws from NumPy's global generator: seed it, and put it back as it was."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
