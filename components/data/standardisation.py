"""Standardised latents, where an autoencoder states no scale: mean 0 and spread 1 per channel over the training split.

Diffusion adds noise of spread 1, so latents should have about that spread; the paper's autoencoder states 0.18215 for
it. The numbers are measured once, over all frames of the split `train` as they are not mirrored, and stored beside the
latents that they are of. They are part of what a training is: its folder notes them, and a training that was begun
with others is not gone on with.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from components.data.autoencoders import Autoencoder
from registry.errors import RunError
from registry.runs.files import locked, write_atomically
from registry.runs.records import LatentStatistics, read_record, sealed

DIGITS = 6  # of mean and spread, as they are stored
FRAMES_AT_ONCE = 256
FILE = "statistics.json"


@dataclass(frozen=True)
class Standardisation:
    """How latents are shifted and scaled.

    Attributes:
        statistics: mean and spread of each channel, C of each.
    """

    statistics: LatentStatistics

    def moments(self, moments: Tensor) -> Tensor:
        """Moments (..., M, h, w) of the autoencoder -> those of the standardised latents, M either C or 2C.

        Latents (z - mean) / spread have the moments (mean - mean) / spread and log-variance - 2 ln spread.
        """
        mean, spread = self._columns(moments)
        channels = len(mean)
        means = (moments[..., :channels, :, :] - mean) / spread
        if moments.shape[-3] == channels:
            return means
        return torch.cat([means, moments[..., channels:, :, :] - 2 * spread.log()], dim=-3)

    def restored(self, latents: Tensor) -> Tensor:
        """Standardised latents (..., C, h, w) -> the autoencoder's own."""
        mean, spread = self._columns(latents)
        return latents * spread + mean

    def _columns(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = (
            torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]
            for values in (self.statistics.mean, self.statistics.spread)
        )
        return mean, spread


class StandardisedDecoder:
    """An autoencoder's decoder for standardised latents.

    Args:
        autoencoder: states no scale.
        by: of the data.
    """

    def __init__(self, autoencoder: Autoencoder, by: Standardisation) -> None:
        self.autoencoder, self.by, self.channels = autoencoder, by, autoencoder.channels

    def decode(self, latents: Tensor) -> Tensor:
        """Standardised latents (N, C, h, w) -> frames (N, 3, H, W)."""
        return self.autoencoder.decode(self.by.restored(latents))

    def to(self, device: torch.device | str) -> "StandardisedDecoder":
        self.autoencoder.to(device)
        return self


def measured(
    folder: Path, encoding: str, read: Callable[[int, Sequence[int]], Tensor], videos: Sequence[tuple[int, int]],
    channels: int,
) -> Standardisation:  # fmt: skip
    """The mean and spread of each channel of a set's latents: from its file, or measured now and stored.

    Args:
        folder: of the latent cache.
        encoding: what the latents are made by, as text.
        read: gives moments (n, M, h, w) of frames of a video, as they are cached.
        videos: (number, frames) of each video of the training split.
        channels: C of the latents.

    Raises:
        RunError: the latents of some channel are not finite, or the file cannot be written.
    """
    with locked(folder):
        if (known := _known(folder / FILE, encoding, channels)) is None:
            known = _measure(read, videos, channels, encoding)
            try:
                write_atomically(folder / FILE, json.dumps(sealed(known.model_dump(mode="json"))) + "\n")
            except OSError as error:
                raise RunError(f"{folder / FILE}: cannot be written: {error.strerror}") from None
    return Standardisation(known)


def _known(file: Path, encoding: str, channels: int) -> LatentStatistics | None:
    """What the file says, if it is whole and of these latents."""
    try:
        found = read_record(file, LatentStatistics)
    except RunError:  # damaged: measured again
        return None
    return found if found is not None and found.encoding == encoding and len(found.mean) == channels else None


def _measure(
    read: Callable[[int, Sequence[int]], Tensor], videos: Sequence[tuple[int, int]], channels: int, encoding: str
) -> LatentStatistics:
    """Mean and variance by sums of each channel and of its squares, in float64."""
    sums, squares, count = torch.zeros(channels).double(), torch.zeros(channels).double(), 0
    if not videos:
        raise RunError("no video in the split 'train', over which latents are standardised")
    for video, frames in videos:
        for first in range(0, frames, FRAMES_AT_ONCE):
            moments = read(video, range(first, min(first + FRAMES_AT_ONCE, frames))).double()
            means = moments[:, :channels]
            sums += means.sum((0, 2, 3))
            squares += means.square().sum((0, 2, 3))
            if moments.shape[1] > channels:  # a draw's own spread is a part of the latents' spread
                squares += moments[:, channels:].exp().sum((0, 2, 3))
            count += means[:, 0].numel()
    mean = sums / count
    spread = (squares / count - mean.square()).clamp(min=0).sqrt()
    if not (mean.isfinite().all() and spread.isfinite().all()):
        raise RunError("latents are not finite: the autoencoder overflows float16, in which they are cached")
    constant = spread <= 1e-6 * (1 + mean.abs())  # a channel that never changes is shifted and not scaled
    spread = torch.where(constant, torch.ones_like(spread), spread)
    rounded = [tuple(float(f"{value:.{DIGITS}g}") for value in values.tolist()) for values in (mean, spread)]
    return LatentStatistics(encoding=encoding, mean=rounded[0], spread=rounded[1])
