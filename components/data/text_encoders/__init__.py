"""Slot `text_encoder`: captions -> the embeddings of their tokens, which a text-conditional network reads; one a file.

A caption is encoded alone and without padding, so that its embeddings depend on nothing but the caption. They are
cached in float16 (`components.data.caption_cache`), which pads them to one length and says which rows count.
"""

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class TextEncoder:
    """What every text encoder offers; a part has a parameter `length`, and no others before the bare `*`.

    Attributes:
        width: E of the embeddings; None in a class where only the weights say it.
        length: L, tokens of a caption at most; what is behind them is cut off.
    """

    width: Any = None
    length: int
    requires = (
        (
            "",
            "model.conditioning.text_width is not None",
            "{name} encodes captions, and model.conditioning {model.conditioning} reads none: leave it out, or take a "
            "conditioning that does",
        ),
        (
            "model.conditioning.text_width",
            "width is None or model.conditioning.text_width is None or model.conditioning.text_width == width",
            "{model.conditioning.text_width} is not the width of the text encoder {name}: set it to {width}",
        ),
        (
            "data.flip",
            "data.flip == 0",
            "a caption may not be true of a mirrored clip; with the text encoder {name} set it to 0",
        ),
    )

    def count(self, caption: str) -> int:
        """Return how many tokens a caption has before it is cut, at least 1, also where it is empty."""
        raise NotImplementedError

    def encode(self, caption: str) -> "Tensor":
        """Return the embeddings float32 (n, E) of a caption's tokens on the CPU, n as counted, at most `length`."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Return what names everything that the embeddings depend on besides the caption, weights included."""
        raise NotImplementedError

    def to(self, device: "torch.device | str") -> Self:
        """Move it to the device where it computes."""
        raise NotImplementedError
