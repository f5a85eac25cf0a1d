"""Real clips of a class or caption, to be looked at beside sampled ones: of those that the scores are held against."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from components.data.prepare import Prepared
from components.data.transforms import to_pixels, to_uint8_frames
from components.scoring.features.clip_selection import Clip
from experiments.scores.scoring import real_videos, side_of
from registry.errors import RunError
from registry.schema.spec import Spec


class RealClips:
    """The clips of the real side of a spec's scores, by class or caption; nothing is decoded before it is asked for.

    Which clips they are depends on the protocol and the videos' content alone. They are brought to the size of the
    samples as training brings them (`data.transform`), without the storage round trips of a protocol.

    Args:
        spec: of the replicate.
        prepared: its data.
    """

    def __init__(self, spec: Spec, prepared: Prepared) -> None:
        self.spec, self.prepared = spec, prepared
        self.videos = real_videos(spec, prepared)

    def matched(self, wanted: Sequence[int | str | None]) -> tuple[list[np.ndarray | None], list[str]]:
        """Return a clip uint8 (F, R, R, 3) for all that is wanted, another one each time, and what went wrong.

        Args:
            wanted: rank of a class, or a caption; None takes a clip of any. Where the real side has no more clips of a
                class or a caption, or one cannot be read, there is None in its place.
        """
        found: list[np.ndarray | None] = []
        problems: list[str] = []
        used: Counter[int | str | None] = Counter()
        for one in wanted:
            clips = [clip for clip in self._clips if one is None or self._said(clip, one) == one]
            clip = clips[used[one]] if used[one] < len(clips) else None
            used[one] += 1
            try:
                found.append(None if clip is None else self._read(clip))
            except RunError as error:
                found.append(None)
                problems.append(str(error))
        return found, problems

    @cached_property
    def _clips(self) -> list[Clip]:
        """All clips of the real side, the first of every video before the second of any."""
        side, _ = side_of(self.spec.scoring, "real", self.videos)
        turns: Counter[int] = Counter()
        ordered = []
        for place, clip in enumerate(side.clips):
            ordered.append((turns[clip.video.number], place, clip))
            turns[clip.video.number] += 1
        return [clip for _, _, clip in sorted(ordered, key=lambda entry: entry[:2])]

    def _said(self, clip: Clip, like: int | str) -> int | str:
        """The clip's caption, or rank of its class, whichever is of the other's kind."""
        record = self.prepared.records[clip.video.number]
        return record.caption if isinstance(like, str) else record.class_rank

    def _read(self, clip: Clip) -> np.ndarray:
        data, frames = self.spec.data, self.videos.read(clip.video, clip.indices)
        return to_uint8_frames(to_pixels(frames, data.resolution, data.transform, data.antialias))
