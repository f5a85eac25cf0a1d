"""The official Latte layout, and what it shares with DiT's: names and measures by the shapes of entries.

Source: golden README, 1 (names), 10.3 (files: plain, joint, compiled, Lightning); state_dict_keys.json.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor

from components.model.checkpoints.contents import Contents, Entries, read_file
from components.model.checkpoints.description import Assumed, Description, classes_of, heads_of
from components.model.checkpoints.layout import Layout, Network, differences
from components.model.latte import Latte
from registry.errors import RunError
from registry.schema.spec import ModelSpec

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
TEMPORAL, LABELS = "temp_embed", "y_embedder.embedding_table.weight"
PATCHES, HEAD, SPATIAL = "x_embedder.proj.weight", "final_layer.linear.weight", "pos_embed"
DIMENSIONS = {  # of the entries that a network is measured by
    PATCHES: 4,
    HEAD: 2,
    SPATIAL: 3,
    "t_embedder.mlp.0.weight": 2,
    "blocks.0.attn.qkv.weight": 2,
}
_BLOCK = re.compile(r"blocks\.(\d{1,6})\.")


class OfficialLayout(Layout):
    """What files of Latte and of DiT share: a dictionary under official names, flat or in "model" and "ema"."""

    def objections(self, contents: Contents) -> list[str]:
        entries = contents.weights[contents.kind()]
        found = [f"lacks {name}" for name in DIMENSIONS if name not in entries]
        dimensions = {**DIMENSIONS, TEMPORAL: 3, LABELS: 2}
        if not found and len(set(entries[PATCHES].shape[2:])) == 2:
            found = [f"has patches that are not square: {PATCHES} has the shape {tuple(entries[PATCHES].shape)}"]
        return found + [
            f"has {name} of the shape {tuple(entries[name].shape)}, not of {wanted} dimensions"
            for name, wanted in dimensions.items()
            if name in entries and entries[name].dim() != wanted
        ]

    def network(self, contents: Contents, assumed: Assumed) -> Network:
        entries = contents.weights[contents.kind()]
        width, channels, patch, _ = entries[PATCHES].shape
        heads, heads_by = heads_of(width, assumed)
        rows = entries[LABELS].shape[0] if LABELS in entries else 0
        classes, null_label = classes_of(rows, assumed) if rows else (0, True)
        depth = 1 + max(int(found[1]) for name in entries if (found := _BLOCK.match(name)))
        side = patch * grid_side(contents, entries[SPATIAL].shape[1])
        out_channels, left = divmod(entries[HEAD].shape[0], patch**2)
        if left or out_channels not in (channels, 2 * channels):
            raise RunError(
                f"{contents.path}: {HEAD} has {entries[HEAD].shape[0]} rows: {patch}x{patch} patches of {channels} "
                f"channels need {patch**2 * channels}, or {2 * patch**2 * channels} with a learned sigma"
            )
        try:
            model = self.model(width=width, heads=heads, depth=depth, patch=patch, classes=classes)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise RunError(f"{contents.path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return Network(model, (self.frames(entries), channels, side, side), out_channels, null_label, heads_by)

    def model(self, **measures: int) -> ModelSpec:
        """Return the section of a spec for a network of this layout of these measures."""
        raise NotImplementedError

    def frames(self, entries: Entries) -> int:
        """Return the frames of the clips that a network of this layout takes."""
        raise NotImplementedError

    def entries(self, contents: Contents, kind: str) -> Entries:
        return from_official(contents.weights[kind])

    def named(self, entries: Entries) -> Entries:
        return to_official(entries)

    def refusals(self, description: Description) -> list[str]:
        network = description.model
        measures = {name: getattr(network, name) for name in ("width", "heads", "depth", "patch", "classes")}
        return differences(network, self.model(**measures), self.name)


class LatteLayout(OfficialLayout):
    """Latte's own files: spatial and temporal blocks alternate, `temp_embed` is the table of frames."""

    name, title = "latte", "official Latte"

    def objections(self, contents: Contents) -> list[str]:
        lacking = [] if TEMPORAL in contents.weights[contents.kind()] else [f"lacks {TEMPORAL}"]
        return super().objections(contents) + lacking

    def model(self, **measures: int) -> ModelSpec:
        return ModelSpec.model_validate(measures)  # its defaults are the reference network

    def frames(self, entries: Entries) -> int:
        return entries[TEMPORAL].shape[1]


def grid_side(contents: Contents, tokens: int) -> int:
    """Return the rows, and columns, of a frame of so many tokens.

    Raises:
        RunError: it would not be a square.
    """
    side = math.isqrt(tokens)
    if side == 0 or side**2 != tokens:
        raise RunError(f"{contents.path}: a frame has {tokens} tokens, which are no square grid")
    return side


def from_official(entries: Mapping[str, Tensor]) -> Entries:
    """Return entries under official names -> the same entries under ours; other names stay as they are."""
    return _renamed(entries, OFFICIAL_NAMES)


def to_official(entries: Mapping[str, Tensor]) -> Entries:
    """Return entries under our names -> the same entries under the official ones."""
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
    """Load an official state dict strictly, in a network that was built elsewhere.

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


def read_official(path: Path) -> Entries:
    """Return the weights of an official file: its "ema" if it has one, else its "model", else the flat dictionary.

    Raises:
        SpecError: there is no such file.
        RunError: the file holds no dictionary of tensors.
    """
    contents = read_file(path)
    return contents.weights[contents.kind()]
