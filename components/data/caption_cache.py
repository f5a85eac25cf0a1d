"""The caption cache: embeddings of the tokens of each caption, encoded once, read by every arm.

It is named by the text encoder's fingerprint and by the captions, each of which it has once, the empty caption among
them. Files in its folder:
    embeddings.npy    float16 (all tokens, E), captions one after the other in the order of their sorted texts
    tokens.npy        int32 (captions,): how many rows each caption has
Both are written under another name and renamed when whole, by one process at a time, and verified block by block when
they are read (`registry.runs.arrays`). Rows are padded when they are read, not on the disk: a caption takes 2 E bytes
a token. Who finds a block damaged says so in `embeddings.damaged`, and whoever opens the cache next encodes it again.
Numbers in memory are one number a caption besides the captions themselves.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from components.data.damage_notes import note_of, read_rows
from components.data.datasets import Progress
from components.data.manifest import Manifest
from components.data.text_encoders import TextEncoder
from registry.errors import RunError
from registry.runs.arrays import ArrayFile, DamagedError, array_writer, problem_of
from registry.runs.files import locked

EMPTY = ""  # the caption of what has none; guidance goes away from it
SHOWN = 3  # captions that are cut off, named in a message


class CaptionCache:
    """Embeddings of captions, read through a memory map; open it anew in another process rather than pickle it.

    Args:
        captions: texts, in any order and number.
        embeddings: of all tokens, (rows, E).
        tokens: rows of each caption (captions,), in the order of the sorted texts.
        length: L, to which rows are padded.
    """

    def __init__(self, captions: Iterable[str], embeddings: ArrayFile, tokens: ArrayFile, length: int) -> None:
        self.texts, self.length = unique(captions), length
        self._numbers = {text: number for number, text in enumerate(self.texts)}
        self._tokens = tokens.rows(range(len(self.texts))).astype(np.int64)
        self._first = np.concatenate([[0], np.cumsum(self._tokens)])
        self._file = embeddings

    @property
    def width(self) -> int:
        """E of the embeddings."""
        return int(self._file.array.shape[1])

    @property
    def empty(self) -> int:
        """The number of the empty caption."""
        return self._numbers[EMPTY]

    def numbers(self, captions: Iterable[str]) -> Tensor:
        """Return the number of each caption, int64 (n,)."""
        return torch.tensor([self._numbers[caption] for caption in captions], dtype=torch.int64)

    def read(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings float32 (n, L, E) of captions by number, zero behind their tokens, and a mask (n, L).

        Raises:
            RunError: the file is damaged there.
        """
        wanted = numbers.tolist()
        text = torch.zeros(len(wanted), self.length, self.width)
        mask = torch.zeros(len(wanted), self.length, dtype=torch.bool)
        for place, number in enumerate(wanted):
            count = int(self._tokens[number])
            rows = read_rows(self._file, self._first[number] + np.arange(count))
            text[place, :count] = torch.from_numpy(rows.astype(np.float32))
            mask[place, :count] = True
        return text, mask


class CaptionFiles:
    """Where the embeddings of captions by an encoder lie, and how they are made.

    Args:
        root: under which each cache has its folder.
        captions: texts, in any order and number.
        fingerprint: of the text encoder.
        length: L of it.
    """

    def __init__(self, root: Path, captions: Iterable[str], fingerprint: str, length: int) -> None:
        self.captions, self.length = unique(captions), length
        self.identity = f"{len(self.captions)} captions {digest_of(self.captions)} by {fingerprint}"
        self.folder = root / hashlib.sha256(self.identity.encode()).hexdigest()[:10]

    @classmethod
    def of(cls, folder: Path, manifest: Manifest, fingerprint: str, length: int) -> "CaptionFiles":
        """Those of all captions of a prepared data set.

        Args:
            folder: of the data set.
            manifest: of the data set.
            fingerprint: of the text encoder.
            length: L of it.
        """
        return cls(folder / "captions", (record.caption for record in manifest.records), fingerprint, length)

    def opened(self, encoder: Callable[[], TextEncoder], progress: Progress | None = None) -> CaptionCache:
        """Return the cache, after encoding what is not there or damaged.

        Args:
            encoder: gives the text encoder; it is asked only where something has to be encoded.
            progress: is called with (label, captions done, captions in all).

        Raises:
            RunError: the encoder cannot be had, its numbers are not finite, or the files cannot be written.
        """
        if (cache := self._there()) is not None:
            return cache

        def told(what: str, done: int, total: int) -> None:
            if progress is not None:
                progress(what, done, total)

        try:
            with locked(self.folder, lambda: told("waiting for another process that encodes the same", 0, 1)):
                if (cache := self._there()) is None:
                    for left in self.folder.glob(".*.tmp"):  # by builders that were killed
                        left.unlink(missing_ok=True)
                    self._encode(encoder(), told)
                    note_of(self._embeddings).unlink(missing_ok=True)
        except OSError as error:
            named = error.filename or self.folder
            raise RunError(f"{named}: the caption cache cannot be written: {error.strerror}") from None
        cache = cache or self._there()
        if cache is None:
            raise RunError(f"{self.folder}: the caption cache was written and cannot be read")
        return cache

    @cached_property
    def _embeddings(self) -> Path:
        return self.folder / "embeddings.npy"

    def _there(self) -> CaptionCache | None:
        """The cache, None where a file is not there or not whole; one that was found damaged is read through first."""
        note = note_of(self._embeddings)
        if note.exists():
            if problem_of(self._embeddings, self.identity):
                return None
            note.unlink(missing_ok=True)  # it was a cable, or memory
        try:
            embeddings = ArrayFile(self._embeddings, self.identity)
            tokens = ArrayFile(self.folder / "tokens.npy", self.identity)
            return CaptionCache(self.captions, embeddings, tokens, self.length)
        except DamagedError:
            return None

    def _encode(self, encoder: TextEncoder, progress: Progress) -> None:
        counts = [encoder.count(caption) for caption in self.captions]
        if cut := [text for text, count in zip(self.captions, counts, strict=True) if count > self.length]:
            more = f" and {len(cut) - SHOWN} more" if len(cut) > SHOWN else ""
            shown = ", ".join(map(repr, cut[:SHOWN]))
            progress(f"captions of more than {self.length} tokens are cut off there: {shown}{more}", 1, 1)
        rows = [min(count, self.length) for count in counts]
        with array_writer(self._embeddings, (sum(rows), encoder.width), np.float16, self.identity) as append:
            for number, (caption, count) in enumerate(zip(self.captions, rows, strict=True)):
                embeddings = encoder.encode(caption).to(torch.float16)
                if len(embeddings) != count or not embeddings.isfinite().all():
                    what = "are not finite in float16" if len(embeddings) == count else f"are {len(embeddings)} rows"
                    raise RunError(f"data.text_encoder: the embeddings of {caption!r}, {count} tokens, {what}")
                append(embeddings.numpy())
                progress("encoding captions", number + 1, len(rows))
        with array_writer(self.folder / "tokens.npy", (len(rows),), np.int32, self.identity) as append:
            append(np.array(rows, np.int32))


def unique(captions: Iterable[str]) -> list[str]:
    """Return each caption once, sorted, and the empty one."""
    return sorted({EMPTY, *captions})


def digest_of(captions: Iterable[str]) -> str:
    """Return a hash of captions in their order."""
    return hashlib.sha256(json.dumps(list(captions)).encode()).hexdigest()
