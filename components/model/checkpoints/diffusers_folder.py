"""The folder of diffusers' `LatteTransformer3DModel` (`config.json`, `diffusion_pytorch_model.safetensors`), both ways.

The folder holds pairs of a spatial and a temporal block; ours alternate in one list. Three projections of an attention
there are one of ours, joined in the order q, k, v. Nothing else differs but names: entries come back bit for bit.
The folder leaves out the fixed tables of positions: they are computed on the way in, and compared on the way out.

Source: diffusers, `models/transformers/latte_transformer_3d.py` (Apache-2.0), read for facts.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.model.checkpoints.contents import FLAT, KINDS, Contents, Entries, read_file
from components.model.checkpoints.description import Assumed, Description
from components.model.checkpoints.layout import Layout, Network, write_safetensors
from components.model.patch_embeddings import LatentShape
from components.model.positions import spatial_table, temporal_table
from registry.errors import RunError, SpecError, shortened
from registry.runs.files import write_new
from registry.schema.section import Part
from registry.schema.spec import ModelSpec

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
CLASS = "LatteTransformer3DModel"
MOST = 4096  # frames, positions a side and channels that a config.json may state
UNSCALED_SIDE = (
    64  # latents of this side and below count patches 0, 1, …; of a multiple of it, in steps of 1 / multiple
)

# What a folder must say for its network to be ours; diffusers could build others, and none has been published.
FIXED = {
    "attention_bias": True,
    "norm_type": "ada_norm_single",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-6,
    "activation_fn": "gelu-approximate",
}
SPATIAL, TEMPORAL = "transformer_blocks", "temporal_transformer_blocks"
OUTSIDE = {
    "patch_embedding.proj": "pos_embed.proj",
    "patch_embedding.head": "proj_out",
    "conditioning.timestep.mlp.0": "adaln_single.emb.timestep_embedder.linear_1",
    "conditioning.timestep.mlp.2": "adaln_single.emb.timestep_embedder.linear_2",
    "conditioning.adaLN_single.1": "adaln_single.linear",
    "conditioning.caption.0": "caption_projection.linear_1",
    "conditioning.caption.2": "caption_projection.linear_2",
}
INSIDE = {
    "attn.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "attn.proj": ("attn1.to_out.0",),
    "mlp.fc1": ("ff.net.0.proj",),
    "mlp.fc2": ("ff.net.2",),
}
READING = {
    "cross_attn.q": ("attn2.to_q",),
    "cross_attn.kv": ("attn2.to_k", "attn2.to_v"),
    "cross_attn.proj": ("attn2.to_out.0",),
}
SPACE, TIME = "spatial_position", "temporal_position.table"


class DiffusersLayout(Layout):
    """The folder; also that of a whole pipeline, in which it is called `transformer`."""

    name, title = "diffusers", "diffusers' LatteTransformer3DModel, a folder"
    suffixes = ("",)

    def at(self, path: Path) -> Contents | None:
        folder = path / "transformer" if (path / "model_index.json").is_file() else path
        folder = folder.parent if folder.name == WEIGHTS else folder
        if (config := _config(folder)) is None:
            return None
        if config["_class_name"] != CLASS:
            raise RunError(f"{folder}: is a {shortened(str(config['_class_name']))} of diffusers, not a {CLASS}")
        return replace(read_file(_weights_in(folder)), metadata={CONFIG: json.dumps(config)})

    def objections(self, contents: Contents) -> list[str]:
        entries = contents.weights[contents.kind()]
        lacking = [f"lacks {theirs}.weight" for theirs in OUTSIDE.values() if f"{theirs}.weight" not in entries]
        return lacking + ([] if CONFIG in contents.metadata else [f"has no {CONFIG} beside it"])

    def network(self, contents: Contents, assumed: Assumed) -> Network:
        model, latents, out_channels = describe(json.loads(contents.metadata[CONFIG]), contents.path.with_name(CONFIG))
        return Network(model, latents, out_channels, null_label=False, heads_by=CONFIG)

    def entries(self, contents: Contents, kind: str) -> Entries:
        model, latents, _ = describe(json.loads(contents.metadata[CONFIG]), contents.path.with_name(CONFIG))
        try:
            return from_diffusers(contents.weights[kind], model, latents)
        except RunError as error:
            raise RunError(f"{contents.path}: {error}") from None

    def named(self, entries: Entries) -> Entries:
        return to_diffusers(entries)

    def called(self, names: Iterable[str]) -> dict[str, str]:
        ours = list(names)
        known = _names(1 + max((_block(name) for name in ours), default=0))
        return {name: " + ".join(known.get(name, (name,))) for name in ours}

    def refusals(self, description: Description) -> list[str]:
        try:
            config_of(description.model, description.latents, description.out_channels)
        except SpecError as error:
            return error.problems
        return []

    def weights_file(self, path: Path) -> Path:
        return path / WEIGHTS

    def write(self, path: Path, weights: Mapping[str, Entries], description: Description) -> None:
        """Write the folder: averaged weights where there are such, and last the settings, which make it one."""
        entries = next(weights[kind] for kind in KINDS if kind in weights)
        config = config_of(description.model, description.latents, description.out_channels)
        path.mkdir(parents=True)
        write_safetensors(path / WEIGHTS, {FLAT: entries}, {}, prefixed=False)
        write_new(path / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")


def describe(config: Mapping[str, Any], path: Path) -> tuple[ModelSpec, LatentShape, int]:
    """Return the section `model`, the latent shape and C_out of a `config.json`.

    Raises:
        RunError: a key is missing, or says what our network cannot be.
    """
    try:
        heads, width = config["num_attention_heads"], config["num_attention_heads"] * config["attention_head_dim"]
        frames, side, channels = config["video_length"], config["sample_size"], config["in_channels"]
        if not all(type(number) is int and 0 < number <= MOST for number in (frames, side, channels)):
            raise ValueError(f"video_length, sample_size and in_channels are not numbers from 1 to {MOST}")
        model = ModelSpec(
            width=width,
            heads=heads,
            depth=2 * config["num_layers"],
            patch=config["patch_size"],
            patch_embedding=Part(name="uniform_frame"),
            blocks=Part(name="variant_1"),
            # diffusers leaves the position out where there is one frame.
            temporal_position=Part(name="absolute" if frames > 1 else "none"),
            conditioning=Part.model_validate(
                {"name": "text_cross_attention", "text_width": config["caption_channels"]}
            ),
        )
    except KeyError as error:
        raise RunError(f"{path}: does not say {error.args[0]}") from None
    except (TypeError, ValueError) as error:
        raise RunError(f"{path}: is not that of a {CLASS}: {str(error).splitlines()[0]}") from None
    for key, wanted in {**FIXED, "cross_attention_dim": width}.items():
        if config.get(key) != wanted:
            raise RunError(f"{path}: {key} is {config.get(key)!r}; a network of ours needs {wanted!r}")
    return model, (frames, channels, side, side), config.get("out_channels") or channels


def config_of(model: ModelSpec, latents: LatentShape, out_channels: int) -> dict[str, Any]:
    """Return the `config.json` of a network.

    Raises:
        SpecError: the network is one that diffusers' class cannot be; each key is named.
    """
    frames, channels, height, width = latents
    wanted = {
        "blocks": "variant_1",
        "patch_embedding": "uniform_frame",
        "conditioning": "text_cross_attention",
        "temporal_position": "absolute" if frames > 1 else "none",
        "spatial_position": "absolute",
        "qk_norm": "none",
    }
    found = {key: getattr(model, key).name for key in wanted}
    wrong = [
        f"model.{key}: the layout diffusers has {wanted[key]}, not {found[key]}"
        for key in wanted
        if found[key] != wanted[key]
    ]
    wrong += [f"the layout diffusers has square latents, not {height}x{width}"] if height != width else []
    if wrong:
        raise SpecError(wrong)
    assert model.width is not None
    assert model.heads is not None
    assert model.depth is not None
    return {
        "_class_name": CLASS,
        **FIXED,
        "num_attention_heads": model.heads,
        "attention_head_dim": model.width // model.heads,
        "cross_attention_dim": model.width,
        "caption_channels": model.conditioning.parameters["text_width"],
        "num_layers": model.depth // 2,
        "patch_size": model.patch,
        "in_channels": channels,
        "out_channels": out_channels,
        "sample_size": height,
        "video_length": frames,
        "num_embeds_ada_norm": 1000,
        "dropout": 0.0,
    }


def from_diffusers(entries: Mapping[str, Tensor], model: ModelSpec, latents: LatentShape) -> dict[str, Tensor]:
    """Entries under diffusers' names -> the same entries under ours, with the fixed tables.

    Raises:
        RunError: entries are missing or left over, or projections that do not go together; they are named.
    """
    assert model.width is not None
    assert model.depth is not None
    names = _names(model.depth)
    _complete(entries, [theirs for several in names.values() for theirs in several])
    for several in names.values():
        if len({entries[theirs].shape for theirs in several}) > 1:
            raise RunError(f"{' and '.join(several)} are of different shapes")
    joined = {ours: torch.cat([entries[theirs] for theirs in several]) for ours, several in names.items()}
    return joined | _tables(model.width, latents[0], model.patch, latents[3])


def to_diffusers(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries under our names -> the same entries under diffusers', without the fixed tables.

    Raises:
        RunError: entries are missing or left over.
        SpecError: the tables are not those that diffusers computes, so that its network would be another.
    """
    names = _names(1 + max((_block(name) for name in entries), default=0))
    times = [TIME] if TIME in entries else []
    _complete(entries, [*names, SPACE, *times])
    width, _, patch, _ = entries["patch_embedding.proj.weight"].shape
    frames = entries[TIME].shape[1] if times else 1
    for name, table in _tables(width, frames, patch, patch * math.isqrt(entries[SPACE].shape[1])).items():
        # Tables are float32 numbers of at most 1, from float64 angles: they agree to a rounding, or differ by far more.
        if entries[name].shape != table.shape or not torch.allclose(entries[name].float(), table, atol=1e-5):
            raise SpecError(f"{name} is not the table that diffusers computes, so that its network would be another")
    return {
        theirs: share
        for ours, several in names.items()
        for theirs, share in zip(several, entries[ours].chunk(len(several)), strict=True)
    }


def _block(name: str) -> int:
    """The number of the block that an entry of ours belongs to, -1 where it belongs to none."""
    words = name.split(".")
    return int(words[1]) if words[0] == "blocks" and words[1:2] and words[1].isdecimal() else -1


def _names(depth: int) -> dict[str, tuple[str, ...]]:
    """Our name of every learned entry -> diffusers' names of what it is joined from."""
    layers: dict[str, tuple[str, ...]] = {ours: (theirs,) for ours, theirs in OUTSIDE.items()}
    tables: dict[str, tuple[str, ...]] = {"head_modulation.table": ("scale_shift_table",)}
    for index in range(depth):
        block = f"{TEMPORAL if index % 2 else SPATIAL}.{index // 2}"
        for ours, several in (INSIDE if index % 2 else INSIDE | READING).items():
            layers[f"blocks.{index}.{ours}"] = tuple(f"{block}.{theirs}" for theirs in several)
        tables[f"blocks.{index}.adaLN_modulation.table"] = (f"{block}.scale_shift_table",)
    return tables | {
        f"{ours}.{kind}": tuple(f"{theirs}.{kind}" for theirs in several)
        for ours, several in layers.items()
        for kind in ("weight", "bias")
    }


def _tables(width: int, frames: int, patch: int, side: int) -> dict[str, Tensor]:
    """The fixed tables as diffusers computes them: it does not keep them in files."""
    tables = {SPACE: spatial_table(width, side // patch, side // patch, step=1 / max(side // UNSCALED_SIDE, 1))}
    return tables | ({TIME: temporal_table(width, frames)} if frames > 1 else {})


def _complete(entries: Mapping[str, Tensor], wanted: list[str]) -> None:
    known = set(wanted)
    wrong = [f"missing {name}" for name in wanted if name not in entries]
    wrong += [f"unexpected {name}" for name in entries if name not in known]
    if wrong:
        more = f"; and {len(wrong) - 6} more" if len(wrong) > 6 else ""
        raise RunError(f"the weights are not those of a {CLASS}: {'; '.join(wrong[:6])}{more}")


def _config(path: Path) -> dict[str, Any] | None:
    """The settings of a folder of diffusers, None where there are none."""
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path / CONFIG}: cannot be read: {error}") from None
    except OSError:  # no folder, or none of diffusers
        return None
    return config if isinstance(config, dict) and "_class_name" in config else None


def _weights_in(folder: Path) -> Path:
    if not (folder / WEIGHTS).is_file():
        others = sorted(found.name for found in folder.iterdir() if found.name != CONFIG)
        told = f"; it has {', '.join(others[:4])}" if others else ""
        raise RunError(f"{folder}: has no {WEIGHTS}{told} (only safetensors in one file are read)")
    return folder / WEIGHTS
