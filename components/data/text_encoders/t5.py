"""The text encoder `t5`, that of the paper's text-to-video model."""

import re
from pathlib import Path
from typing import Literal

from components.data.text_encoders.pretrained import INSTALL, PretrainedEncoder
from registry.errors import RunError, SpecError
from registry.parts.catalogue import part
from registry.paths import expanded
from registry.schema.parameter_types import Count

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
PATTERNS = ["*.json", "*.safetensors", "*.model"]  # of a repository: neither pickles nor code


@part("text_encoder", "t5")
class T5(PretrainedEncoder):
    """The encoder of T5, with its tokenizer: as many tokens as the caption has pieces of words, and an end.

    Captions are read in lower case. The network is read where captions are encoded, and not where a training reads
    their cached embeddings. Nothing is fetched: weights lie in a folder, or in the cache of the Hugging Face Hub.

    Source: paper, section 3.4; T5, arXiv 1910.10683; 120 tokens are those of LatteT2V
    Official code: yes (models/latte_t2v.py, by diffusers' LattePipeline)

    Args:
        weights: a folder with the encoder and its tokenizer, or a pipeline's with folders `text_encoder` and
            `tokenizer`; or a name on the Hub.
        length: tokens of a caption at most.
        dtype: of the weights and of the arithmetic.

    Raises:
        SpecError: there is no such folder, or it is not that of a text encoder.
        RunError: the Hub's cache has no such model.
    """

    model_class, extra, lower = "T5EncoderModel", "text", True

    def __init__(
        self,
        *,
        weights: str = "maxin-cn/Latte-1",
        length: Count = 120,
        dtype: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        folder = _folder(weights)
        parts = [folder / name for name in ("text_encoder", "tokenizer")]
        encoder, tokenizer = parts if parts[0].is_dir() else (folder, folder)
        super().__init__(encoder, tokenizer, length, dtype)


def _folder(weights: str) -> Path:
    """The folder of that path, or of that name in the Hub's cache."""
    if (folder := expanded(weights)).is_dir():
        return folder
    if not _HUB_NAME.fullmatch(weights):
        raise SpecError(f"data.text_encoder.weights: there is no folder {weights!r}, and no such name on the Hub")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise RunError(f"the text encoder t5 needs packages that are not here: {INSTALL.format('text')}") from None
    try:
        return Path(snapshot_download(weights, allow_patterns=PATTERNS, local_files_only=True))
    except Exception:  # not in the cache, or only a part of it
        raise RunError(
            f"data.text_encoder.weights: {weights} is not in the cache of Hugging Face, and nothing is fetched while "
            f"training: hf download {weights}, or hf download {weights} --local-dir DIR and weights: DIR"
        ) from None
