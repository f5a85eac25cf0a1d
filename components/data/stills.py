"""Which stills stand behind the clips of a training step: single frames of other videos of the same set.

Source: paper, section 3.4 (images of other videos of the set are joined to the clip); golden README, 3 and 10.2. There
a list of frames is shuffled once, and an epoch is one pass over it; here the videos are shuffled anew each epoch, as
those of clips are. Stills are never mirrored, as in the official code for FaceForensics and UCF-101.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from components.data.clips import Epochs, stream
from registry.errors import RunError


@dataclass(frozen=True)
class StillBatch:
    """The stills of one training step.

    Attributes:
        videos: positions (B, n) in the list of videos that the sampler was given.
        frames: frame numbers int64 (B, n).
    """

    videos: list[list[int]]
    frames: Tensor


class StillSampler:
    """Stills for training as a pure function of the step, so that the data position is the step itself.

    Videos come in an order that is shuffled anew each epoch, apart from that of the clips. Where a clip's own video has
    its turn, the one behind it in that order stands in. The frame is uniform over the video, drawn from (seed, step).

    Args:
        lengths: frames of each video.
        stills: behind each clip, n.
        batch: clips a step, B.
        seed: of everything drawn.

    Raises:
        RunError: there is only one video.
    """

    def __init__(self, lengths: Sequence[int], stills: int, batch: int, seed: int) -> None:
        if len(lengths) < 2:
            raise RunError("learning.joint_images: stills are of other videos than the clip, and there is only one")
        self.lengths, self.stills, self.size, self.seed = list(lengths), stills, batch, seed
        self._epochs = Epochs(len(lengths), seed, 2)

    def batch(self, step: int, clips: Sequence[int]) -> StillBatch:
        """The stills of that step, counted from 0; the same at every call.

        Args:
            step: its number.
            clips: the position of each clip's own video (B,).
        """
        first = step * self.size * self.stills
        videos = [
            [self._video(first + row * self.stills + number, own) for number in range(self.stills)]
            for row, own in enumerate(clips)
        ]
        generator = stream(self.seed, 3, step)
        frames = [[int(torch.randint(self.lengths[v], (), generator=generator)) for v in row] for row in videos]
        return StillBatch(videos, torch.tensor(frames, dtype=torch.int64))

    def _video(self, position: int, own: int) -> int:
        video = self._epochs.at(position)
        return video if video != own else self._epochs.behind(position)
