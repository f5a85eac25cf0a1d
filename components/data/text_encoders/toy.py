"""The text encoder `toy`: hashed words, without weights."""

import hashlib
import re
from typing import TYPE_CHECKING, Self

from components.data.text_encoders import TextEncoder
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VERSION = 1  # counted up when the same caption gives other embeddings
SPREAD = 73.9  # of whole numbers from 0 to 255


@part("text_encoder", "toy")
class Toy(TextEncoder):
    """Each word is a vector of numbers that its hash gives, of mean 0 and spread 1; behind the words comes an end.

    Words are alike or other: nothing is known of their meaning, and their order is not seen. For tests, and for the few
    words of made captions where no weights are to be had.

    Source: none in the paper; feature hashing without a table
    Official code: no, a control of ours
    """

    def __init__(self, *, width: Count = 32, length: Count = 16) -> None:
        self.width, self.length = width, length

    def count(self, caption: str) -> int:
        """Return the number of words and the end."""
        return len(_words(caption))

    def encode(self, caption: str) -> "Tensor":
        """Return float32 (n, E), one row a word in lower case, and one for the end where it is not cut off."""
        import torch

        rows = [list(hashlib.shake_256(word.encode()).digest(self.width)) for word in _words(caption)[: self.length]]
        return (torch.tensor(rows, dtype=torch.float32) - 127.5) / SPREAD

    def fingerprint(self) -> str:
        """Return version and measures."""
        return f"toy {VERSION}, width {self.width}, length {self.length}"

    def to(self, device: "torch.device | str") -> Self:
        """Stay: there is nothing to compute."""
        return self


def _words(caption: str) -> list[str]:
    return [*re.findall(r"\w+", caption.lower()), ""]
