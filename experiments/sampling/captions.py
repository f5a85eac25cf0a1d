"""Which captions clips are drawn of: those of a data set's videos, in turns, or those that somebody wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from components.data.caption_cache import CaptionCache, CaptionFiles, digest_of
from components.data.clips import stream
from components.data.manifest import Manifest
from components.data.text_encoders import TextEncoder
from experiments.record.recording import bound_data
from experiments.training.open_data import captioned_data, open_captions
from registry.errors import RunError, SpecError
from registry.schema.spec import Spec

ORDER = (0, 4)  # key of the random stream that shuffles a set's captions
MOST_BYTES = 2**24  # of a file of captions


@dataclass(frozen=True, eq=False)
class Captions:
    """What clips are drawn of.

    Attributes:
        texts: clip n has the caption texts[n modulo their number].
        embeddings: of all of them, and of the empty caption.
    """

    texts: tuple[str, ...]
    embeddings: CaptionCache

    def read(self, numbers: range) -> tuple[Tensor, Tensor]:
        """Return embeddings (n + 1, L, E) and mask (n + 1, L) of clips by number, the empty caption's last."""
        own = self.embeddings.numbers(self.texts[number % len(self.texts)] for number in numbers)
        return self.embeddings.read(torch.cat([own, torch.tensor([self.embeddings.empty])]))


def of_training(spec: Spec, training: Path) -> Captions | None:
    """Return what the scored clips of a training are drawn of; None where it reads no captions.

    Raises:
        RunError: its data are gone, or their captions are others by now.
    """
    embeddings = open_captions(spec, training)
    return None if embeddings is None else Captions(captions_of(spec, training), embeddings)


def captions_of(spec: Spec, training: Path) -> tuple[str, ...]:
    """Return the captions of which a training's clips are drawn, clip n of the n-th of them modulo their number.

    They are those of the videos of the split `test`, or of `train` where that has none, in an order that is shuffled
    once and for all: every number of clips is a fair sample of them, and the same one for every arm and seed.

    Args:
        spec: of the training.
        training: its folder.

    Raises:
        RunError: as of `of_training`.
    """
    data, manifest = captioned_data(training)
    for split in ("test", "train"):
        if texts := _captioned(manifest, split, spec.data.least_frames):
            order = torch.randperm(len(texts), generator=stream(*ORDER)).tolist()
            return tuple(texts[place] for place in order)
    raise RunError(f"{data.folder}: no video that is long enough has a caption")


def _captioned(manifest: Manifest, split: str, frames: int) -> list[str]:
    try:
        numbers = manifest.usable(split, frames)
    except RunError:
        return []
    return [caption for number in numbers if (caption := manifest.records[number].caption)]


def asked(spec: Spec, training: Path) -> list[str]:
    """Return what each scored clip of a training is asked to show, by its number; "" where nobody says.

    That is the caption that it is drawn of. A clip of a class is asked to show what all videos of the class do, by the
    caption that they share; classes take turns.

    Args:
        spec: of the training.
        training: its folder.

    Raises:
        RunError: as of `of_training`.
    """
    numbers, data = range(spec.sampling.clips), bound_data(training)
    if spec.data.text_encoder is not None:
        texts = captions_of(spec, training)
        return [texts[number % len(texts)] for number in numbers]
    if not spec.model.classes or data is None:
        return [""] * len(numbers)
    by_class = dict(enumerate(Manifest.read(Path(data.folder)).captions_of_classes))
    return [by_class.get(number % spec.model.classes, "") for number in numbers]


def captions_written(words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the captions that somebody wrote, and what is wrong with them, a line each.

    Args:
        words: each a caption, or a text file that has one a line.
    """
    found: list[str] = []
    wrong: list[str] = []
    for word in words:
        try:
            lines = _lines(Path(word)) if _is_file(word) else [word]
        except SpecError as error:
            wrong += error.problems
            continue
        found += [" ".join(line.split()) for line in lines]
    return tuple(found), wrong


def _is_file(word: str) -> bool:
    """Whether a word names a file; one that ends as files do is meant as one."""
    try:
        return Path(word).suffix == ".txt" or Path(word).is_file()
    except (OSError, ValueError):  # longer than names are
        return False


def _lines(path: Path) -> list[str]:
    """The lines of a file that say something.

    Raises:
        SpecError: it cannot be read, is far too large, or has none.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SpecError(f"--captions: {path}: has more than {MOST_BYTES:,} bytes")
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "is no text in UTF-8"
        raise SpecError(f"--captions: {path}: {told}") from None
    if not lines:
        raise SpecError(f"--captions: {path}: has no line that says something")
    return lines


def embedded(texts: Sequence[str], encoder: TextEncoder, root: Path) -> Captions:
    """Return captions that somebody wrote, encoded once into a folder below `root`, whichever process comes first."""
    files = CaptionFiles(root, texts, encoder.fingerprint(), encoder.length)
    return Captions(tuple(texts), files.opened(lambda: encoder))


def digest(texts: Sequence[str]) -> str:
    """Return what names captions and their order among the settings of clips."""
    return f"{len(texts)} captions, {digest_of(texts)[:16]}"
