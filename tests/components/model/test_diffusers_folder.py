"""Folders of diffusers: read, written back bit for bit, opened by diffusers, and explained where they are wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.model import diffusers_folder
from components.model.diffusers_folder import CONFIG, WEIGHTS, read_folder, write_folder
from registry.errors import RunError, SpecError
from tests.fixtures.diffusers_networks import latte_transformer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    latte_transformer().save_pretrained(tmp_path / "given")
    return tmp_path / "given"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("changed", [{}, {"video_length": 1}, {"sample_size": 128, "num_layers": 1}])
def test_a_folder_comes_back_bit_for_bit(tmp_path: Path, changed: dict[str, Any], dtype: torch.dtype) -> None:
    latte_transformer(**changed).to(dtype).save_pretrained(tmp_path / "given")
    found = read_folder(tmp_path / "given")
    write_folder(tmp_path / "back", found.entries, found.model, found.latents, found.out_channels)
    assert (tmp_path / "back" / WEIGHTS).read_bytes() == (tmp_path / "given" / WEIGHTS).read_bytes()
    again = read_folder(tmp_path / "back")
    assert (again.model, again.latents, again.out_channels) == (found.model, found.latents, found.out_channels)


def test_diffusers_opens_what_is_written(folder: Path, tmp_path: Path) -> None:
    from diffusers import LatteTransformer3DModel

    found = read_folder(folder)
    write_folder(tmp_path / "back", found.entries, found.model, found.latents, found.out_channels)
    given, back = (LatteTransformer3DModel.from_pretrained(path) for path in (folder, tmp_path / "back"))
    told = {key: value for key, value in given.config.items() if not key.startswith("_")}
    assert told == {key: value for key, value in back.config.items() if not key.startswith("_")}
    assert given.state_dict().keys() == back.state_dict().keys()
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in given.state_dict().items())


def test_a_folder_is_known_by_its_class(folder: Path, tmp_path: Path) -> None:
    assert diffusers_folder.is_folder(folder)
    assert not diffusers_folder.is_folder(tmp_path)
    assert not diffusers_folder.is_folder(folder / WEIGHTS)


def rewrite(folder: Path, **changed: Any) -> None:
    config = json.loads((folder / CONFIG).read_text()) | changed
    kept = {key: value for key, value in config.items() if value != "left out"}
    (folder / CONFIG).write_text(json.dumps(kept))


@pytest.mark.parametrize(
    ("changed", "error", "told"),
    [
        ({"_class_name": "PixArtTransformer2DModel"}, SpecError, "is a PixArtTransformer2DModel, not a Latte"),
        ({"norm_type": "layer_norm"}, RunError, "norm_type is 'layer_norm'; a network of ours needs 'ada_norm_single'"),
        ({"cross_attention_dim": 12}, RunError, "cross_attention_dim is 12; a network of ours needs 24"),
        ({"num_layers": "left out"}, RunError, "does not say num_layers"),
        ({"patch_size": "two"}, RunError, f"is not that of a {diffusers_folder.CLASS}"),
    ],
)
def test_another_network_is_explained(folder: Path, changed: Any, error: type[Exception], told: str) -> None:
    rewrite(folder, **changed)
    with pytest.raises(error, match=told):
        read_folder(folder)


def test_weights_that_do_not_fit_are_named(folder: Path) -> None:
    entries = load_file(folder / WEIGHTS)
    save_file({"more": torch.zeros(1)} | {k: v for k, v in entries.items() if k != "proj_out.bias"}, folder / WEIGHTS)
    with pytest.raises(RunError, match=r"missing proj_out\.bias; unexpected more"):
        read_folder(folder)
    (folder / WEIGHTS).write_bytes(b"no tensors")
    with pytest.raises(RunError, match="cannot be read"):
        read_folder(folder)
    (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.bin")
    with pytest.raises(
        RunError, match=r"has no diffusion_pytorch_model\.safetensors; it has diffusion_pytorch_model\.bin"
    ):
        read_folder(folder)


def test_a_network_that_diffusers_cannot_be_is_not_written(folder: Path, tmp_path: Path) -> None:
    found = read_folder(folder)
    other = found.model.model_copy(update={"blocks": type(found.model.blocks)(name="variant_2")})
    with pytest.raises(SpecError, match=r"model\.blocks: the layout diffusers has variant_1, not variant_2"):
        write_folder(tmp_path / "back", found.entries, other, found.latents, found.out_channels)
    moved = found.entries | {diffusers_folder.SPACE: found.entries[diffusers_folder.SPACE] + 0.1}
    with pytest.raises(SpecError, match="spatial_position is not the table that diffusers computes"):
        write_folder(tmp_path / "back", moved, found.model, found.latents, found.out_channels)
    assert not (tmp_path / "back").exists()
