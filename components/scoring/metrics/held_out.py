"""What metrics share that hold samples against training clips, beside clips of the test split."""

from components.scoring.refusals import Detector


class HeldOutMetric:
    """A metric with the protocol's detector that also takes real clips which were held out of training."""

    scores: tuple[str, ...] = ()
    by_detector = True
    needs_reference = True
    needs_held_out = True
    requires = (
        (
            "scoring.split",
            "scoring.split == 'train'",
            "{name} holds samples against training clips, beside clips of the test split: leave split at train",
        ),
    )

    def __init__(self, detector: Detector) -> None:
        self.extractor = detector

    def names(self) -> tuple[str, ...]:
        """The keys of the scores."""
        return tuple(score + self.extractor.score_suffix for score in self.scores)
