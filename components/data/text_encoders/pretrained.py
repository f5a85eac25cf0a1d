"""Text encoders of the package transformers: safetensors and settings of a folder, read when needed."""

import hashlib
import importlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from components.data.text_encoders import TextEncoder
from components.precision import tf32
from components.weights import sha256_of
from registry.errors import RunError, SpecError, shortened

if TYPE_CHECKING:
    import torch
    from torch import Tensor

INSTALL = "pip install -e '.[{}]' -c constraints.txt"  # of an extra
TOKENIZER = ("*.json", "*.model", "vocab.txt", "merges.txt")  # files that a tokenizer is made of


class PretrainedEncoder(TextEncoder):
    """What they share: files are found and measured at once; tokenizer and network are read when they are first asked.

    Args:
        encoder: the folder with `config.json` and the weights.
        tokenizer: the folder of the tokenizer; it may be the same.
        length: L.
        dtype: of the weights, by torch's name.
    """

    part_name: str
    model_class: str  # of transformers
    extra: str  # that installs what is needed
    lower: bool  # whether captions are read in lower case, without spaces around them

    def __init__(self, encoder: Path, tokenizer: Path, length: int, dtype: str) -> None:
        self.folders, self.length, self.dtype = (encoder, tokenizer), length, dtype
        self.device: torch.device | str = "cpu"
        self.width = self._width()

    def count(self, caption: str) -> int:
        """Return the number of tokens, special ones included."""
        return len(self._ids(caption))

    def encode(self, caption: str) -> "Tensor":
        """Return float32 (n, E): what the last layer says of each token."""
        import torch

        ids = self._ids(caption, cut=True)
        with torch.no_grad(), tf32(False, torch.device(self.device)):
            hidden = self._network(input_ids=torch.tensor([ids], device=self.device)).last_hidden_state
        return hidden[0].float().cpu()

    def fingerprint(self) -> str:
        """Return a hash of the files of tokenizer and network, and of length and type; the network is not read."""
        return f"{self.part_name}-{self._digest}"

    def to(self, device: "torch.device | str") -> Self:
        """Move the network to a device; one that is not read yet is read there."""
        self.device = device
        if "_network" in self.__dict__:
            self._network.to(device)
        return self

    @cached_property
    def _digest(self) -> str:
        encoder, tokenizer = self.folders
        files = [("encoder", path) for path in (encoder / "config.json", *encoder.glob("*.safetensors"))]
        files += [("tokenizer", path) for pattern in TOKENIZER for path in tokenizer.glob(pattern)]
        digest = hashlib.sha256(repr((self.length, self.dtype, self.lower)).encode())
        for of, path in sorted(files):
            digest.update(f"{of} {path.name} {sha256_of(path)}\n".encode())
        return digest.hexdigest()[:16]

    def _ids(self, caption: str, cut: bool = False) -> list[int]:
        more = {"truncation": True, "max_length": self.length} if cut else {}
        text = caption.lower().strip() if self.lower else caption
        ids: list[int] = self._tokenizer(text, add_special_tokens=True, verbose=False, **more)["input_ids"]
        return ids

    @cached_property
    def _tokenizer(self) -> Any:
        return self._read("AutoTokenizer", self.folders[1])

    @cached_property
    def _network(self) -> Any:
        import torch

        more = {"dtype": getattr(torch, self.dtype), "use_safetensors": True}
        return self._read(self.model_class, self.folders[0], **more).eval().requires_grad_(False).to(self.device)

    def _read(self, class_name: str, folder: Path, **more: Any) -> Any:
        try:
            logging = importlib.import_module("transformers.utils.logging")
            logging.set_verbosity_error()
            logging.disable_progress_bar()
            found = getattr(importlib.import_module("transformers"), class_name)
        except ImportError:
            raise RunError(
                f"the text encoder {self.part_name} needs the package transformers, which is not here: "
                f"{INSTALL.format(self.extra)}"
            ) from None
        try:
            return found.from_pretrained(folder, local_files_only=True, **more)
        except Exception as error:  # files of others make its readers raise nearly anything
            told = shortened(" ".join(str(error).split()), 200) or type(error).__name__
            raise RunError(f"data.text_encoder: {folder}: the {class_name} cannot be read: {told}") from None

    def _width(self) -> int:
        import json

        path = self.folders[0] / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            width = config.get("d_model", config.get("hidden_size"))
        except (OSError, ValueError, AttributeError) as error:
            raise SpecError(f"data.text_encoder.weights: {path}: is not that of a text encoder: {error}") from None
        if type(width) is not int or width <= 0:
            raise SpecError(f"data.text_encoder.weights: {path}: does not say how wide its embeddings are")
        return width
