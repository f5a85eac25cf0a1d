"""The inception score of videos, with a classifier that is given as a scripted file."""

import hashlib
import itertools
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from scipy.special import log_softmax, stdtrit
from torch import Tensor

from components.scoring.contracts import Features, Score
from components.scoring.refusals import Detector, refuse_not_finite
from components.scoring.scripted import open_scripted
from components.scoring.scripted_file import as_written
from components.weights import KNOWN, find, refuse_damaged, sha256_of
from registry.errors import RunError
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count


class Classifier:
    """A scripted classifier of clips as an extractor: (n, 3, F, H, W) -> (n, classes).

    Args:
        path: the TorchScript file; empty: C3D by its variable or from the cache of `fetch-weights`.
        classes: how many classes it tells apart.
        inputs: `uint8` in 0..255, or `float` in 0..1; resizing is the network's own business.
        sha256: the SHA-256 of the file, which must be said, since it is a program and no published one is known.

    Raises:
        SpecError: the file named does not exist.
        RunError: there is no file, or it is no scripted network.
    """

    label = "classifier"
    layer = "output"
    rows_per_clip = 1
    minimum_frames = 1

    def __init__(self, path: str, classes: int, inputs: str, sha256: str) -> None:
        instead = "leave inception_score out"
        self.path = find("c3d", given=path, setting="inception_score's `classifier`", instead=instead)
        self.dimensions = classes
        self.inputs = inputs
        self.sha256 = sha256_of(self.path)
        refuse_damaged(self.path, self.sha256)
        setting, published = "inception_score's `sha256`", self.sha256 == KNOWN["c3d"].sha256
        self._network = open_scripted(self.path, self.sha256, published=published, named=sha256, setting=setting)

    def fingerprint(self) -> str:
        """SHA-256 of the weights and the kind of input."""
        return hashlib.sha256(f"{self.sha256} {self.inputs} {self.dimensions}".encode()).hexdigest()

    def features(self, videos: Tensor) -> Tensor:
        """What the network answers, float32 (N, classes), to uint8 videos (N, F, H, W, 3).

        Raises:
            RunError: the network refuses such clips, or has another number of classes.
        """
        clips = rearrange(videos, "n f h w c -> n c f h w").contiguous()
        if self.inputs == "float":
            clips = clips.float() / 255
        try:
            with as_written():
                found: Tensor = self._network.to(videos.device)(clips)
        except RuntimeError as error:
            last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise RunError(
                f"{self.path}: the classifier fails on clips {clips.dtype} {tuple(clips.shape)}: {last}"
            ) from error
        if found.shape != (len(videos), self.dimensions):
            raise RunError(
                f"{self.path}: the classifier answers {tuple(found.shape)}, not {(len(videos), self.dimensions)}; "
                "set `classes` to its number of classes"
            )
        return found.to(torch.float32)


@part("metric", "inception_score")
class InceptionScore:
    """How sure a classifier is of every sampled video and how many classes it sees; higher is better.

    exp(mean KL(p(class | clip) || p(class))), mean over `splits` splits of the shuffled clips, with their spread in
    the details; no real clips are needed. `classifier` is the path of a scripted network that takes clips
    (n, 3, F, H, W), as uint8 in 0..255 or `float` in 0..1, and gives `probabilities` or `logits` of `classes`
    classes; left empty, it is StyleGAN-V's c3d_ucf101.pt (LATTE_WORKBENCH_C3D or the cache of `fetch-weights`),
    which takes uint8 clips of 16 frames and gives 101 probabilities. `sha256` has to say the SHA-256 of the file, as
    `fetch-weights` prints it: the file is a program, and no published SHA-256 of one is known here. The score is
    named `inception_score[<first 8 of the file's SHA-256>]`, because it means nothing without its classifier. It is
    biased by the number of clips in a split, so only scores of as many clips can be compared; fewer than two clips a
    split are scored in one split, without spread.

    Source: the paper's IS on UCF101; Salimans et al. 2016, arXiv 1606.03498; Saito et al. 2020, arXiv 1811.09245
        (C3D on UCF101)
    Official code: no, the copy in Latte's tools is broken; splits and shuffle are those of StyleGAN-V
    """

    scores = ("inception_score",)
    by_detector = False
    needs_reference = False
    higher_is_better = True
    biased = ()

    def __init__(
        self,
        detector: Detector | None = None,
        *,
        classifier: str = "",
        outputs: Literal["probabilities", "logits"] = "probabilities",
        inputs: Literal["uint8", "float"] = "uint8",
        classes: Count = 101,
        splits: Count = 10,
        sha256: str = "",
    ) -> None:
        self.extractor = Classifier(classifier, classes, inputs, sha256)
        self.outputs = outputs
        self.splits = splits

    def names(self) -> tuple[str, ...]:
        """The key of the score."""
        return tuple(f"{score}[{self.extractor.sha256[:8]}]" for score in self.scores)

    def estimator(self) -> dict[str, Any]:
        """What the number depends on besides clips and classifier."""
        return {"splits": self.splits, "shuffle": "RandomState(42)", "outputs": self.outputs, "precision": "float64"}

    def score(self, fake: Features, real: Features | None = None) -> dict[str, Score]:
        """The score over the splits.

        Raises:
            RunError: fewer than 2 clips, outputs that are not finite, or no probabilities where these were announced.
        """
        (name,) = self.names()
        if fake.clips < 2:
            raise RunError(f"{name}: at least 2 sampled clips are needed, not {fake.clips}")
        refuse_not_finite(name, "sampled", fake)
        count = self.splits if fake.clips >= 2 * self.splits else 1
        order = np.random.RandomState(42).permutation(fake.clips)
        edges = [fake.clips * split // count for split in range(count + 1)]
        values = [self._of_split(name, fake, order[a:b]) for a, b in itertools.pairwise(edges)]
        value, sd = float(np.mean(values)), float(np.std(values))
        details: dict[str, Any] = {"splits": count, "sd": sd if count > 1 else None, "clips_per_split": edges[1]}
        if count < self.splits:
            details["note"] = f"{fake.clips} clips are too few for {self.splits} splits; one split was made"
        interval = None
        if count > 1:
            half = float(stdtrit(count - 1, 0.975)) * float(np.std(values, ddof=1)) / count**0.5
            interval = (value - half, value + half)
        return {name: Score(value, interval, details=details)}

    def _of_split(self, name: str, fake: Features, clips: NDArray[np.int64]) -> float:
        """exp(mean of sum p log p - sum q log q), q the mean of p: the mean KL in one pass over the clips."""
        total = np.zeros(fake.dimensions)
        sure = 0.0
        for rows in fake.blocks(clips):
            p, log_p = self._probabilities(name, rows.astype(np.float64))
            total += p.sum(axis=0)
            sure += float((p * log_p).sum())
        q = total / len(clips)
        return float(np.exp(sure / len(clips) - (q * _log(q)).sum()))

    def _probabilities(self, name: str, rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.outputs == "logits":
            log_p: NDArray[np.float64] = log_softmax(rows, axis=1)
            return np.exp(log_p), log_p
        if rows.min() < 0 or np.abs(rows.sum(axis=1) - 1).max() > 1e-3:
            raise RunError(
                f"{name}: the classifier's outputs are no probabilities (they do not sum to 1); if they are logits, "
                "set outputs=logits"
            )
        return rows, _log(rows)


def _log(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """log p, and 0 where p is 0, as p log p is."""
    return np.log(p, where=p > 0, out=np.zeros_like(p))
