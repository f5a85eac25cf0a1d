"""The folder of diffusers' `LatteTransformer3DModel` (`config.json`, `diffusion_pytorch_model.safetensors`), both ways.

The folder holds pairs of a spatial and a temporal block; ours alternate in one list. Three projections of an attention
there are one of ours, joined in the order q, k, v. Nothing else differs but names: entries come back bit for bit.
The folder leaves out the fixed tables of positions: they are computed on the way in, and compared on the way out.

Source: diffusers, `models/transformers/latte_transformer_3d.py` (Apache-2.0), read for facts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.model.patch_embeddings import LatentShape
from components.model.positions import spatial_table, temporal_table
from registry.errors import RunError, SpecError
from registry.runs.files import atomic, write_atomically
from registry.schema.section import Part
from registry.schema.spec import ModelSpec

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
CLASS = "LatteTransformer3DModel"
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


@dataclass(frozen=True)
class Folder:
    """What a folder holds, in our words.

    Args:
        entries: the weights under our names, in the precision of the file; with the fixed tables, in float32.
        model: the network's section of a spec.
        latents: (F, C, H, W) of a clip.
        out_channels: C_out.
        config: what `config.json` says.
    """

    entries: dict[str, Tensor]
    model: ModelSpec
    latents: LatentShape
    out_channels: int
    config: Mapping[str, Any]


def is_folder(path: Path) -> bool:
    """Whether a path looks like such a folder: it is one, and its `config.json` names the class."""
    try:
        return _config(path).get("_class_name") == CLASS
    except (SpecError, RunError):
        return False


def read_folder(path: Path) -> Folder:
    """Return what a folder holds.

    Raises:
        SpecError: it is no such folder.
        RunError: it is damaged, or its network is one that ours cannot be; what is said and what is needed are named.
    """
    config = _config(path)
    model, latents, out_channels = describe(config, path)
    return Folder(from_diffusers(_weights(path), model, latents), model, latents, out_channels, config)


def write_folder(
    path: Path, entries: Mapping[str, Tensor], model: ModelSpec, latents: LatentShape, out_channels: int
) -> None:
    """Write a folder that diffusers opens with `LatteTransformer3DModel.from_pretrained`; its files appear whole.

    Args:
        path: the folder; made if need be.
        entries: the network's state dict under our names.
        model: its section of a spec.
        latents: (F, C, H, W) of a clip.
        out_channels: C_out.

    Raises:
        SpecError: the network is one that diffusers' class cannot be.
    """
    from safetensors.torch import save

    config = config_of(model, latents, out_channels)
    data = save(to_diffusers(entries, model, latents), metadata={"format": "pt"})
    path.mkdir(parents=True, exist_ok=True)
    with atomic(path / WEIGHTS) as file:
        file.write(data)
    write_atomically(path / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")


def describe(config: Mapping[str, Any], path: Path) -> tuple[ModelSpec, LatentShape, int]:
    """Return the section `model`, the latent shape and C_out of a `config.json`.

    Raises:
        RunError: a key is missing, or says what our network cannot be.
    """
    try:
        heads, width = config["num_attention_heads"], config["num_attention_heads"] * config["attention_head_dim"]
        frames, side, channels = config["video_length"], config["sample_size"], config["in_channels"]
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
        raise RunError(f"{path / CONFIG}: does not say {error.args[0]}") from None
    except (TypeError, ValueError) as error:
        raise RunError(f"{path / CONFIG}: is not that of a {CLASS}: {str(error).splitlines()[0]}") from None
    for key, wanted in {**FIXED, "cross_attention_dim": width}.items():
        if config.get(key) != wanted:
            raise RunError(f"{path / CONFIG}: {key} is {config.get(key)!r}; a network of ours needs {wanted!r}")
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
        RunError: entries are missing or left over; they are named.
    """
    names = _names(model)
    _complete(entries, [theirs for several in names.values() for theirs in several])
    joined = {ours: torch.cat([entries[theirs] for theirs in several]) for ours, several in names.items()}
    return joined | _tables(model, latents)


def to_diffusers(entries: Mapping[str, Tensor], model: ModelSpec, latents: LatentShape) -> dict[str, Tensor]:
    """Entries under our names -> the same entries under diffusers', without the fixed tables.

    Raises:
        RunError: entries are missing or left over.
        SpecError: the tables are not those that diffusers computes, so that its network would be another.
    """
    names, tables = _names(model), _tables(model, latents)
    _complete(entries, [*names, *tables])
    for name, table in tables.items():
        # Tables are float32 numbers of at most 1, from float64 angles: they agree to a rounding, or differ by far more.
        if entries[name].shape != table.shape or not torch.allclose(entries[name].float(), table, atol=1e-5):
            raise SpecError(f"{name} is not the table that diffusers computes for latents {latents}")
    return {
        theirs: share.contiguous()
        for ours, several in names.items()
        for theirs, share in zip(several, entries[ours].chunk(len(several)), strict=True)
    }


def _names(model: ModelSpec) -> dict[str, tuple[str, ...]]:
    """Our name of every learned entry -> diffusers' names of what it is joined from."""
    assert model.depth is not None, "the section is resolved"
    layers: dict[str, tuple[str, ...]] = {ours: (theirs,) for ours, theirs in OUTSIDE.items()}
    tables: dict[str, tuple[str, ...]] = {"head_modulation.table": ("scale_shift_table",)}
    for index in range(model.depth):
        block = f"{TEMPORAL if index % 2 else SPATIAL}.{index // 2}"
        for ours, several in (INSIDE if index % 2 else INSIDE | READING).items():
            layers[f"blocks.{index}.{ours}"] = tuple(f"{block}.{theirs}" for theirs in several)
        tables[f"blocks.{index}.adaLN_modulation.table"] = (f"{block}.scale_shift_table",)
    return tables | {
        f"{ours}.{kind}": tuple(f"{theirs}.{kind}" for theirs in several)
        for ours, several in layers.items()
        for kind in ("weight", "bias")
    }


def _tables(model: ModelSpec, latents: LatentShape) -> dict[str, Tensor]:
    """The fixed tables as diffusers computes them: it does not keep them in files."""
    frames, _, height, width = latents
    assert model.width is not None, "the section is resolved"
    rows, columns = height // model.patch, width // model.patch
    tables = {SPACE: spatial_table(model.width, rows, columns, step=1 / max(height // UNSCALED_SIDE, 1))}
    return tables | ({TIME: temporal_table(model.width, frames)} if frames > 1 else {})


def _complete(entries: Mapping[str, Tensor], wanted: list[str]) -> None:
    known = set(wanted)
    wrong = [f"missing {name}" for name in wanted if name not in entries]
    wrong += [f"unexpected {name}" for name in entries if name not in known]
    if wrong:
        more = f"; and {len(wrong) - 6} more" if len(wrong) > 6 else ""
        raise RunError(f"the weights are not those of a {CLASS}: {'; '.join(wrong[:6])}{more}")


def _config(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise SpecError(f"{path}: no such folder")
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"{path}: has no {CONFIG}, so it is no folder of diffusers") from None
    except (ValueError, OSError) as error:
        raise RunError(f"{path / CONFIG}: cannot be read: {error}") from None
    if not isinstance(config, dict) or "_class_name" not in config:
        raise RunError(f"{path / CONFIG}: does not name a class of diffusers")
    if config["_class_name"] != CLASS:
        raise SpecError(f"{path}: is a {config['_class_name']}, not a {CLASS}")
    return config


def _weights(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = path / WEIGHTS
    if not file.is_file():
        others = sorted(found.name for found in path.iterdir() if found.name != CONFIG)
        told = f"; it has {', '.join(others[:4])}" if others else ""
        raise RunError(f"{path}: has no {WEIGHTS}{told} (only safetensors in one file are read)")
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise RunError(f"{file}: cannot be read: {error}") from None
