"""Every layout is recognised, described, opened, and written back as it was."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from components import weights
from components.model.checkpoints import Assumed, export, from_official, inspect, open_network, to_official
from registry.errors import RunError, SpecError
from tests.fixtures.checkpoint_files import HEADS, WRAPPINGS, dit_entries, file_of_ours, latte_entries, save, wrapped
from tests.fixtures.networks import prefixed
from tests.fixtures.toy_networks import inputs
from tests.fixtures.toy_replicates import assert_same


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_an_official_file_of_every_wrapping_opens_with_its_average(tmp_path: Path, wrapping: str) -> None:
    entries = latte_entries()
    path = save(tmp_path / "0000020.pt", wrapped(entries, latte_entries(1), wrapping))
    network, description = open_network(path, HEADS)
    assert not network.training
    for name, value in to_official(network.state_dict()).items():
        assert torch.equal(value, entries[name]), name
    latents, t, labels, _ = inputs(network)
    assert network(latents, t, labels=labels).shape == (2, 4, 8, 4, 4)
    said = description.rows()
    forms = {"compiled": "plain, compiled", "Lightning": "plain", "Lightning state_dict": "Lightning"}
    assert (said["layout"], said["form"]) == ("latte", forms.get(wrapping, wrapping))
    assert description.compiled == (wrapping == "compiled")
    assert (said["depth"], said["width"], said["patch"], said["classes"], said["null_label"]) == (2, 16, 2, 3, True)
    assert (said["frames"], said["channels"], said["grid"], said["learned_sigma"]) == (4, 4, [2, 2], True)
    assert said["parameters"] == sum(value.numel() for name, value in entries.items() if not name.endswith("_embed"))


def test_the_reference_network_opens_from_a_file(golden: Any, tmp_path: Path) -> None:
    tensors, config = golden.tensors("latte_class"), golden.config("latte_class")["config"]
    path = save(tmp_path / "ucf101.pt", {"ema": prefixed(tensors, "sd")})
    network, description = open_network(path, Assumed(heads=config["num_heads"]))
    assert description.classes == config["num_classes"]
    with torch.no_grad():
        out = network(tensors["in/x"], tensors["in/t"], labels=tensors["in/y"])
    torch.testing.assert_close(out, tensors["out/cond"], atol=1e-5, rtol=0)


def test_an_image_network_opens_as_one_of_one_frame(golden: Any, tmp_path: Path) -> None:
    tensors, config = golden.tensors("dit_mapping"), golden.config("dit_mapping")["dit_config"]
    path = save(tmp_path / "DiT-XL-2-256x256.pt", prefixed(tensors, "dit"))
    network, description = open_network(path, Assumed(heads=config["num_heads"]))
    assert (description.layout, description.form, description.frames) == ("dit", "flat", 1)
    x, frames = tensors["in/x"], tensors["in/x"].shape[1]
    t, y = (tensors[name].repeat_interleave(frames) for name in ("in/t", "in/y"))
    with torch.no_grad():
        out = network(x.flatten(0, 1)[:, None], t, labels=y)
    torch.testing.assert_close(out[:, 0].unflatten(0, x.shape[:2]), tensors["out/dit_per_frame"], atol=1e-5, rtol=0)


def test_heads_follow_the_paper_then_the_width_and_are_asked_for_where_they_do_not_follow(tmp_path: Path) -> None:
    for width, heads, by in ((384, 6, "the paper's size S"), (320, 5, "heads of 64 channels"), (72, 1, "heads of 72")):
        found = inspect(save(tmp_path / "file.pt", latte_entries(width=width, heads=1))).description
        assert found.model.heads == heads
        assert found.heads_by.startswith(by)
    for width in (16, 576):  # neither, and both: 9 heads of 64 or 8 of 72
        path = save(tmp_path / "file.pt", latte_entries(width=width, heads=1))
        with pytest.raises(SpecError, match="--heads: the file does not say"):
            inspect(path)
        assert inspect(path, Assumed(heads=4)).description.model.heads == 4
        with pytest.raises(SpecError, match="7 heads do not divide"):
            inspect(path, Assumed(heads=7))


def test_the_last_label_is_the_null_label_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    path = save(tmp_path / "file.pt", latte_entries())  # a table of four rows
    assert inspect(path, HEADS).description.classes == 3
    network, description = open_network(path, Assumed(heads=2, classes=4))
    assert (description.classes, description.null_label, network.null_label) == (4, False, None)
    with pytest.raises(SpecError, match="--classes: the label table has 4 rows"):
        inspect(path, Assumed(heads=2, classes=2))


def test_what_the_file_itself_says_otherwise_is_refused_with_both_values(tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    export(inspect(save(tmp_path / "file.pt", latte_entries()), HEADS), "ours", path)
    assert inspect(path, Assumed(heads=2, classes=3)).description.model.heads == 2
    with pytest.raises(SpecError) as refused:
        inspect(path, Assumed(heads=4, classes=7))
    heads, classes = refused.value.problems
    assert heads == f"--heads: 4 is given, and {path} says 2: leave --heads out"
    assert classes.startswith(f"--classes: 7 is given, and {path} says 3")
    with pytest.raises(SpecError, match=r"--plugin: more_parts is given, and .*file\.pt has no parts of plug-ins"):
        inspect(tmp_path / "file.pt", Assumed(heads=2, plugins=("more_parts",)))


def test_published_weights_that_are_a_folder_are_found_by_any_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "cache_folder", lambda: tmp_path)
    with pytest.raises(RunError, match="fetch-weights latte-t2v`"):
        inspect("latte-t2v")
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        (tmp_path / "latte-t2v").mkdir(exist_ok=True)
        (tmp_path / "latte-t2v" / name).touch()
    for name in ("latte-t2v", "latte-t2v-config", "latte-t2v-weights"):
        assert weights.find_whole(name) == tmp_path / "latte-t2v"
    monkeypatch.setenv("LATTE_WORKBENCH_LATTE_T2V_CONFIG", str(tmp_path / "elsewhere.json"))
    (tmp_path / "elsewhere.json").touch()
    with pytest.raises(RunError, match="its files are one folder, and lie apart"):
        inspect("latte-t2v")


def test_the_paper_s_size_is_named(tmp_path: Path) -> None:
    assert (
        inspect(save(tmp_path / "S.pt", latte_entries(width=384, heads=6, depth=12, classes=0))).description.size == "S"
    )
    assert inspect(save(tmp_path / "toy.pt", latte_entries()), HEADS).description.size is None


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_an_official_file_is_written_back_bit_for_bit(tmp_path: Path, wrapping: str, dtype: torch.dtype) -> None:
    ema, model = ({name: value.to(dtype) for name, value in latte_entries(seed).items()} for seed in (0, 1))
    path = save(tmp_path / "in.pt", wrapped(ema, model, wrapping))
    export(inspect(path, HEADS), "latte", tmp_path / "out.pt")
    # Official sampling knows neither the prefix of a compiled network nor Lightning's wrapping.
    official = {"compiled": "plain", "Lightning": "plain", "Lightning state_dict": "plain"}.get(wrapping, wrapping)
    assert_bits(torch.load(tmp_path / "out.pt", weights_only=True), wrapped(ema, model, official))
    # By way of a file of ours, of the same names and numbers, and of safetensors.
    export(inspect(path, HEADS), "ours", tmp_path / "ours.safetensors")
    export(inspect(tmp_path / "ours.safetensors"), "latte", tmp_path / "again.pt")
    assert_bits(torch.load(tmp_path / "again.pt", weights_only=True), wrapped(ema, model, official))
    export(inspect(path, HEADS), "latte", tmp_path / "out.safetensors")
    names = {"flat": list(ema), "joint": ["ema.pos_embed"]}.get(wrapping, [])
    assert set(names) <= set(load_file(tmp_path / "out.safetensors"))
    again = inspect(tmp_path / "out.safetensors", HEADS)
    assert_bits(dict(again.entries(again.description.weights)), from_official(ema))


def test_an_image_network_is_written_back_bit_for_bit(tmp_path: Path) -> None:
    entries = dit_entries()
    path = save(tmp_path / "in.pt", entries)
    export(inspect(path, HEADS), "dit", tmp_path / "out.pt")
    assert_bits(torch.load(tmp_path / "out.pt", weights_only=True), entries)
    export(inspect(path, HEADS), "ours", tmp_path / "ours.safetensors")
    export(inspect(tmp_path / "ours.safetensors"), "dit", tmp_path / "again.pt")
    assert_bits(torch.load(tmp_path / "again.pt", weights_only=True), entries)


def assert_bits(left: Any, right: Any) -> None:
    """The same names, types and numbers; a file of safetensors has no order."""
    assert_same(left, right)
    dtypes = [{name: value.dtype for name, value in flat(one).items()} for one in (left, right)]
    assert dtypes[0] == dtypes[1]


def flat(content: dict[str, Any]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, value in content.items():
        found |= (
            {f"{name}.{inner}": entry for inner, entry in value.items()} if isinstance(value, dict) else {name: value}
        )
    return found


def test_weights_of_a_kind_can_be_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "plain.pt", {"model": latte_entries(1), "ema": latte_entries(0)})
    network, description = open_network(path, HEADS, weights="model")
    assert description.weights == "model"
    assert torch.equal(network.spatial_position, latte_entries(1)["pos_embed"])
    with pytest.raises(SpecError, match="has no weights 'model', but ema"):
        inspect(save(tmp_path / "joint.pt", {"ema": latte_entries()}), HEADS, "model")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"blocks": {"name": "variant_3"}}, "model.blocks: variant_3 has no place in the layout latte"),
        ({"temporal_position": {"name": "rotary", "base": 100.0}}, "model.temporal_position: rotary"),
        ({"conditioning": {"name": "all_tokens"}}, "model.conditioning: all_tokens"),
        (
            {"patch_embedding": {"name": "compression_frame", "temporal_stride": 2}},
            "model.patch_embedding: compression_frame",
        ),
    ],
)
def test_what_a_layout_cannot_hold_is_refused_by_name(tmp_path: Path, model: dict[str, Any], told: str) -> None:
    path = file_of_ours(tmp_path / "ours.safetensors", **model)
    network, description = open_network(path)
    assert description.layout == "ours"
    latents, t, labels, _ = inputs(network)
    network(latents, t, labels=labels)
    for layout in ("latte", "dit"):
        with pytest.raises(SpecError, match="model") as refused:
            export(inspect(path), layout, tmp_path / "out.pt")
        assert any(problem.startswith(told.replace("latte", layout)) for problem in refused.value.problems)
    assert not (tmp_path / "out.pt").exists()


def test_nothing_is_overwritten_and_nothing_half_written_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = inspect(save(tmp_path / "in.pt", latte_entries()), HEADS)
    (tmp_path / "there.pt").write_text("mine")
    with pytest.raises(SpecError, match="is there already"):
        export(found, "latte", tmp_path / "there.pt")
    assert (tmp_path / "there.pt").read_text() == "mine"
    with pytest.raises(SpecError, match=r"does not end in \.safetensors"):
        export(found, "ours", tmp_path / "out.pt")

    def full(*arguments: Any) -> None:
        arguments[1].write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        export(found, "latte", tmp_path / "out.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.pt", "there.pt"]


def test_entries_that_do_not_fit_are_named_as_the_file_names_them(tmp_path: Path) -> None:
    entries = latte_entries()
    entries["x_embedder.extra"] = entries.pop("t_embedder.mlp.2.bias")
    entries["blocks.1.mlp.fc1.bias"] = torch.zeros(3)
    with pytest.raises(RunError, match=r"missing t_embedder.mlp.2.bias; unexpected x_embedder.extra") as refused:
        inspect(save(tmp_path / "file.pt", entries), HEADS)
    assert "blocks.1.mlp.fc1.bias is (3,), the network has (64,)" in str(refused.value)


def test_what_is_of_no_layout_is_told_with_what_was_seen_and_what_is_near(tmp_path: Path) -> None:
    path = tmp_path / "vae.safetensors"
    save_file({"encoder.conv_in.weight": torch.zeros(8, 3, 3, 3)}, path)
    with pytest.raises(
        RunError, match=r"no layout known here: it holds 1 tensors: encoder.conv_in.weight \(8, 3, 3, 3\)"
    ):
        inspect(path)
    entries = latte_entries()
    del entries["pos_embed"]
    with pytest.raises(RunError, match=r"nearest is latte \(official Latte\), but it lacks pos_embed"):
        inspect(save(tmp_path / "near.pt", entries))
    with pytest.raises(SpecError, match="there is no file"):
        inspect(tmp_path / "absent.pt")
    with pytest.raises(SpecError, match=r"is a folder of no layout: did you mean .*vae.safetensors|near.pt"):
        inspect(tmp_path)
