"""Real clips of a class, to be looked at beside sampled ones: of the clips that the scores are held against."""

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
    """The clips of the real side of a spec's scores, by class; nothing is decoded before it is asked for.

    Which clips they are depends on the protocol and the videos' content alone. They are brought to the size of the
    samples as training brings them (`data.transform`), without the storage round trips of a protocol.

    Args:
        spec: of the replicate.
        prepared: its data.
    """

    def __init__(self, spec: Spec, prepared: Prepared) -> None:
        self.spec, self.prepared = spec, prepared
        self.videos = real_videos(spec, prepared)

    def matched(self, classes: Sequence[int | None]) -> tuple[list[np.ndarray | None], list[str]]:
        """Return a clip uint8 (F, R, R, 3) for every class that is named, another one each time, and what went wrong.

        Args:
            classes: rank of the class; None takes a clip of any. Where the real side has no more clips of a class, or
                one cannot be read, there is None in its place.
        """
        found: list[np.ndarray | None] = []
        problems: list[str] = []
        used: Counter[int | None] = Counter()
        for rank in classes:
            clips = [clip for clip in self._clips if rank is None or self._class(clip) == rank]
            clip = clips[used[rank]] if used[rank] < len(clips) else None
            used[rank] += 1
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

    def _class(self, clip: Clip) -> int:
        return self.prepared.records[clip.video.number].class_rank

    def _read(self, clip: Clip) -> np.ndarray:
        data, frames = self.spec.data, self.videos.read(clip.video, clip.indices)
        return to_uint8_frames(to_pixels(frames, data.resolution, data.transform, data.antialias))
