"""How well sampled clips show what their captions ask for: colour, shape and direction, read by a tracker."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.data.shapes import Seen, read_caption
from components.scoring.contracts import Features, Score
from components.scoring.refusals import Detector
from components.scoring.shape_tracker import ShapeTracker, words_of
from registry.errors import RunError
from registry.parts.catalogue import part

Z = 1.959963984540054  # of a 95 % interval of the normal distribution


@part("metric", "caption_accuracy")
class CaptionAccuracy:
    """The share of sampled clips of a moving shape that show what their captions ask for; higher is better.

    `caption_accuracy` is the share whose colour, shape and direction all are as the caption says, `colour_accuracy`,
    `shape_accuracy` and `direction_accuracy` the share of each. A tracker reads the clips by rule
    (`components.scoring.shape_tracker`); one in which it sees nothing agrees in nothing. Captions must name one colour,
    one shape and one direction of a closed vocabulary: the sets `captioned_shapes` and `moving_shapes` do. The interval
    is Wilson's, over videos. The details have the same share of the real clips and their own captions (`real`: what the
    tracker allows), and what clips of the real set would reach that do not know their captions (`chance`: each real
    clip against each caption asked for); the floor `real_halves` is the share of other real clips.

    Source: none in the paper; accuracy of attributes as in T2V-CompBench (Sun et al. 2024, arXiv 2407.14505), by rule;
        the interval: Wilson 1927, Probable Inference, J. Am. Stat. Assoc. 22
    Official code: no
    """

    scores = ("caption_accuracy", "colour_accuracy", "shape_accuracy", "direction_accuracy")
    by_detector = False
    needs_reference = True
    higher_is_better = True
    biased = ()
    requires = (
        (
            "",
            "data.text_encoder is not None or (model.classes > 0 and data.dataset.captions_by_class)",
            "{name} holds clips against what they were asked to show: draw them of captions (data.text_encoder), or of "
            "classes each of which has a caption of its own (model.classes, with the dataset captioned_shapes)",
        ),
    )

    def __init__(self, detector: Detector | None = None) -> None:
        self.extractor = ShapeTracker()

    def names(self) -> tuple[str, ...]:
        """The keys of the scores."""
        return self.scores

    def estimator(self) -> dict[str, Any]:
        """What the numbers depend on besides clips and captions."""
        return {"share": "of clips that agree with their captions", "interval": "Wilson, over videos"}

    def score(self, fake: Features, real: Features | None) -> dict[str, Score]:
        """The shares, each with its interval, that of real clips, and that of chance.

        Raises:
            RunError: fewer than 2 clips on a side, or a sampled clip without a caption of colour, shape and direction.
        """
        if real is None or min(fake.clips, real.clips) < 2:
            raise RunError(f"{self.scores[0]}: at least 2 sampled and 2 real clips are needed")
        asked, read, read_in_real = self._asked(fake), _read(fake), _read(real)
        of_real = [read_caption(caption) for caption in real.captions]
        nothing = float(np.mean([not any(words) for words in read]))
        found = {}
        for name, pick in zip(self.scores, (slice(0, 3), slice(0, 1), slice(1, 2), slice(2, 3)), strict=True):
            value, videos = _share(read, asked, fake.videos, pick)
            details: dict[str, Any] = {"chance": _chance(read_in_real, asked, pick), "nothing_seen": nothing}
            if all(map(all, of_real)):
                details["real"] = _share(read_in_real, of_real, real.videos, pick)[0]
            found[name] = Score(value, wilson(value, videos), details=details)
        return found

    def _asked(self, fake: Features) -> list[Seen]:
        """What the captions of the sampled clips say."""
        asked = [read_caption(caption) for caption in fake.captions]
        for number, (said, caption) in enumerate(zip(asked, fake.captions, strict=True)):
            if not caption:
                raise RunError(
                    f"{self.scores[0]}: clip {number} (counted from 0) of {fake.clips} was not asked to show anything: "
                    "it has no caption; sample by captions, or by classes each of which has a caption of its own"
                )
            if not all(said):
                lacks = Seen._fields[said.index("")]
                raise RunError(
                    f"{self.scores[0]}: the caption {caption!r} does not name one {lacks}; captions must be like "
                    f"{Seen('red', 'circle', 'left').caption()!r} to be held against what is seen"
                )
        return asked


def _read(features: Features) -> list[Seen]:
    return [words for rows in features.blocks() for words in words_of(rows)]


def _share(read: Sequence[Seen], asked: Sequence[Seen], videos: NDArray[np.int64], pick: slice) -> tuple[float, int]:
    """The share of clips whose picked words are as asked, each video counting once, and the number of videos."""
    agree = np.array([one[pick] == other[pick] for one, other in zip(read, asked, strict=True)], dtype=np.float64)
    _, video = np.unique(videos, return_inverse=True)
    of_videos = np.bincount(video, agree) / np.bincount(video)
    return float(of_videos.mean()), len(of_videos)


def _chance(read: Sequence[Seen], asked: Sequence[Seen], pick: slice) -> float:
    """The share of all pairs of a clip and a caption that agree in the picked words."""
    clips, captions = (Counter(words[pick] for words in side) for side in (read, asked))
    return sum(clips[words] * count for words, count in captions.items()) / (len(read) * len(asked))


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `count` independent trials."""
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)
