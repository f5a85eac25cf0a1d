"""Folders of diffusers: opened, written back bit for bit, opened by diffusers, and explained where they are wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.model.checkpoints import export, inspect, open_network
from components.model.checkpoints.diffusers_folder import CLASS, CONFIG, SPACE, WEIGHTS, to_diffusers
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
    found = inspect(tmp_path / "given")
    assert found.description.layout == "diffusers"
    assert export(found, "diffusers", tmp_path / "back") == tmp_path / "back" / WEIGHTS
    assert (tmp_path / "back" / WEIGHTS).read_bytes() == (tmp_path / "given" / WEIGHTS).read_bytes()
    export(found, "ours", tmp_path / "ours.safetensors")
    export(inspect(tmp_path / "ours.safetensors"), "diffusers", tmp_path / "again")
    for name in (WEIGHTS, CONFIG):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "back" / name).read_bytes()


def test_diffusers_opens_what_is_written(folder: Path, tmp_path: Path) -> None:
    from diffusers import LatteTransformer3DModel

    export(inspect(folder), "diffusers", tmp_path / "back")
    given, back = (LatteTransformer3DModel.from_pretrained(path) for path in (folder, tmp_path / "back"))
    told = {key: value for key, value in given.config.items() if not key.startswith("_")}
    assert told == {key: value for key, value in back.config.items() if not key.startswith("_")}
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in given.state_dict().items())


@pytest.mark.parametrize("given_as", ["folder", "file", "pipeline"])
def test_it_opens_by_the_one_door(folder: Path, tmp_path: Path, given_as: str) -> None:
    path = {"folder": folder, "file": folder / WEIGHTS, "pipeline": tmp_path / "pipeline"}[given_as]
    if given_as == "pipeline":
        path.mkdir()
        (path / "model_index.json").write_text("{}")
        folder.rename(path / "transformer")
    network, description = open_network(path)
    assert (description.latents, description.out_channels, description.heads_by) == ((4, 4, 8, 8), 8, CONFIG)
    assert (description.model.depth, description.model.conditioning.text_width) == (4, 6)
    x, t, text = torch.randn(1, 4, 4, 8, 8), torch.tensor([500]), torch.randn(1, 3, 6)
    with torch.no_grad():
        expected = latte_transformer()(x.transpose(1, 2), t, text, return_dict=False)[0].transpose(1, 2)
        torch.testing.assert_close(network(x, t, text=text), expected, rtol=1e-5, atol=1e-5)


def rewrite(folder: Path, **changed: Any) -> None:
    config = json.loads((folder / CONFIG).read_text()) | changed
    (folder / CONFIG).write_text(json.dumps({key: value for key, value in config.items() if value != "left out"}))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"_class_name": "PixArtTransformer2DModel"}, "is a PixArtTransformer2DModel of diffusers, not a Latte"),
        ({"norm_type": "layer_norm"}, "norm_type is 'layer_norm'; a network of ours needs 'ada_norm_single'"),
        ({"cross_attention_dim": 12}, "cross_attention_dim is 12; a network of ours needs 24"),
        ({"num_layers": "left out"}, "does not say num_layers"),
        ({"patch_size": "two"}, f"is not that of a {CLASS}"),
        ({"num_layers": 3}, r"missing transformer_blocks\.2\.scale_shift_table"),
        ({"caption_channels": 7}, r"caption_projection\.linear_1\.weight is \(24, 6\), the network has \(24, 7\)"),
    ],
)
def test_another_network_is_explained(folder: Path, changed: dict[str, Any], told: str) -> None:
    rewrite(folder, **changed)
    with pytest.raises(RunError, match=told):
        open_network(folder)


def test_weights_that_do_not_fit_are_named(folder: Path) -> None:
    entries = load_file(folder / WEIGHTS)
    wrong = {"more": torch.zeros(1)} | {name: value for name, value in entries.items() if name != "proj_out.bias"}
    save_file(wrong, folder / WEIGHTS)
    with pytest.raises(RunError, match=r"missing proj_out\.bias; unexpected more"):
        open_network(folder)
    save_file(entries | {"transformer_blocks.0.attn1.to_k.bias": torch.zeros(3)}, folder / WEIGHTS)
    with pytest.raises(RunError, match=r"to_q\.bias and .*to_k\.bias and .*to_v\.bias are of different shapes"):
        open_network(folder)
    (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.bin")
    with pytest.raises(
        RunError, match=r"has no diffusion_pytorch_model\.safetensors; it has diffusion_pytorch_model\.bin"
    ):
        open_network(folder)
    (folder / CONFIG).write_text("{")
    with pytest.raises(RunError, match=r"config\.json: cannot be read"):
        open_network(folder)


def test_a_network_that_diffusers_cannot_be_is_not_written(folder: Path, tmp_path: Path) -> None:
    found = inspect(folder)
    description = found.description
    other = description.model.model_copy(update={"blocks": type(description.model.blocks)(name="variant_2")})
    assert found.layout.refusals(description) == []
    told = found.layout.refusals(type(description)(**{**vars(description), "model": other}))
    assert told == ["model.blocks: the layout diffusers has variant_1, not variant_2"]
    entries = found.entries("weights")
    with pytest.raises(SpecError, match="spatial_position is not the table that diffusers computes"):
        to_diffusers(entries | {SPACE: entries[SPACE] + 0.1})
    with pytest.raises(SpecError, match=r"model\.conditioning: text_cross_attention has no place in the layout latte"):
        export(found, "latte", tmp_path / "out.pt")
