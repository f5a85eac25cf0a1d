"""State dicts under the official names, in both directions, and the start from an image checkpoint (DiT).

Source: golden README, 1 (names), 10.3 (files) and 11 (DiT); state_dict_keys.json.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from components.model.latte import Latte
from components.unpickling import load_tensors
from registry.errors import RunError

# Official prefix -> ours. Everything under `blocks.` has the same name on both sides.
OFFICIAL_NAMES = {
    "pos_embed": "spatial_position",
    "temp_embed": "temporal_position.table",
    "x_embedder.proj": "patch_embedding.proj",
    "t_embedder.mlp": "conditioning.timestep.mlp",
    "y_embedder.embedding_table": "conditioning.label",
    "blocks": "blocks",
    "final_layer.linear": "patch_embedding.head",
    "final_layer.adaLN_modulation": "head_modulation",
}


def from_official(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries under official names -> the same entries under ours; names that are not official stay as they are."""
    return _renamed(entries, OFFICIAL_NAMES)


def to_official(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries under our names -> the same entries under the official ones."""
    return _renamed(entries, {ours: official for official, ours in OFFICIAL_NAMES.items()})


def _renamed(entries: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in entries.items():
        for old, new in names.items():
            if name == old or name.startswith(old + "."):
                name = new + name[len(old) :]
                break
        renamed[name] = value
    return renamed


def load_official(model: Latte, entries: Mapping[str, Tensor]) -> None:
    """Load an official state dict strictly.

    Raises:
        RunError: entries are missing, left over or of another shape; all are named, under their official names.
    """
    own, given = to_official(model.state_dict()), dict(entries)
    wrong = [f"missing {name}" for name in own if name not in given]
    wrong += [f"unexpected {name}" for name in given if name not in own]
    wrong += [
        f"{name} is {tuple(given[name].shape)}, the network has {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    if wrong:
        shown = "; ".join(wrong[:6]) + (f"; and {len(wrong) - 6} more" if len(wrong) > 6 else "")
        raise RunError(f"the checkpoint does not fit the network: {shown}")
    model.load_state_dict(from_official(given), strict=True)


def read_official(path: Path) -> dict[str, Tensor]:
    """The weights of an official file: its "ema" if it has one, else its "model", else the flat dictionary itself.

    Raises:
        RunError: the file is absent or holds no dictionary of tensors.
    """
    content = load_tensors(path, "checkpoint")
    for key in ("ema", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise RunError(f"{path}: holds no dictionary of tensors")
    # A compiled model's file has a wrapper prefix before every name.
    return {name.removeprefix("_orig_mod."): value for name, value in content.items()}


def load_dit(model: Latte, entries: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Start from an image checkpoint by the official rule: every entry with a name of the target is taken over.

    DiT's odd blocks thereby become temporal blocks. The label table is dropped where the class counts differ (the
    official load fails there), and fixed position tables of another grid are recomputed, never interpolated.

    Returns:
        Official names of the dropped DiT entries, and of the network's entries that keep their own values.

    Raises:
        RunError: any other entry has another shape.
    """
    own = to_official(model.state_dict())
    recomputed = ("pos_embed", "y_embedder.embedding_table.weight")
    taken = {
        name: value
        for name, value in entries.items()
        if name in own and not (name in recomputed and value.shape != own[name].shape)
    }
    load_official(model, own | taken)
    return [name for name in entries if name not in taken], [name for name in own if name not in taken]
