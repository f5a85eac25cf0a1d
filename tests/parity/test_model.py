"""Items 1, 2, 3, 5, 6 and 11 of the golden fixtures: the network itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor

from components.assembly import Assembly
from components.diffusion.guidance import classifier_free_guidance
from components.model.checkpoints import load_dit, to_official
from components.model.conditioning import drop_labels
from components.model.counting import count
from components.model.latte import Latte
from components.model.positions import spatial_table, temporal_table, timestep_waves
from registry.errors import RunError
from tests.fixtures.networks import official_network, prefixed, resolved

OUTPUT = {"atol": 1e-5, "rtol": 0}
GUIDED = {"atol": 5e-5, "rtol": 0}


def fixture_network(golden: Any, name: str) -> tuple[Latte, dict[str, Tensor]]:
    tensors = golden.tensors(name)
    return official_network(golden.config(name)["config"], prefixed(tensors, "sd")), tensors


def activations(network: Latte, run: Callable[[], Tensor]) -> dict[str, Tensor]:
    """Outputs of the blocks (B, T + n, S, D) and of the stages around them, during one call."""
    seen: dict[str, Tensor] = {}
    hooks = [
        block.register_forward_hook(lambda m, i, o, name=f"block{index}": seen.__setitem__(name, o))
        for index, block in enumerate(network.blocks)
    ]
    hooks.append(network.conditioning.timestep.register_forward_hook(lambda m, i, o: seen.__setitem__("t_emb", o)))
    hooks.append(network.patch_embedding.proj.register_forward_hook(
        lambda m, i, o: seen.__setitem__("patch_tokens", rearrange(o, "bf d h w -> bf (h w) d"))))  # fmt: skip
    hooks.append(network.patch_embedding.head.register_forward_hook(
        lambda m, i, o: seen.__setitem__("final_tokens", rearrange(o, "b t s d -> (b t) s d"))))  # fmt: skip
    with torch.no_grad():
        seen["out"] = run()
    for hook in hooks:
        hook.remove()
    return seen


def assert_activations(seen: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert expected
    for name, value in expected.items():
        if name.startswith("block"):
            # Even blocks are stored as (B F, N, D), odd ones as (B N, F, D).
            pattern = "b t s d -> (b s) t d" if int(name.removeprefix("block")) % 2 else "b t s d -> (b t) s d"
            torch.testing.assert_close(
                rearrange(seen[name], pattern), value, **OUTPUT, msg=lambda m, n=name: f"{n}: {m}"
            )
        elif name in seen:
            torch.testing.assert_close(seen[name], value, **OUTPUT, msg=lambda m, n=name: f"{n}: {m}")


def test_plain_network(golden: Any) -> None:
    network, tensors = fixture_network(golden, "latte_uncond")
    seen = activations(network, lambda: network(tensors["in/x"], tensors["in/t"]))
    torch.testing.assert_close(seen["out"], tensors["out"], **OUTPUT)
    assert_activations(seen, prefixed(tensors, "act"))


def test_timestep_waves(golden: Any) -> None:
    tensors = golden.tensors("latte_uncond")
    checked = 0
    for name, expected in prefixed(tensors, "temb").items():
        if name.startswith("dim"):
            width, _, fractional = name.removeprefix("dim").partition("_")
            t = tensors["temb/t_frac" if fractional else "temb/t"]
            torch.testing.assert_close(timestep_waves(t, int(width)), expected, **OUTPUT)
            checked += 1
    assert checked


def test_class_conditional_network(golden: Any) -> None:
    network, tensors = fixture_network(golden, "latte_class")
    x, t, y, null = tensors["in/x"], tensors["in/t"], tensors["in/y"], golden.config("latte_class")["null_label"]
    assert network.null_label == null
    seen = activations(network, lambda: network(x, t, y))
    torch.testing.assert_close(seen["out"], tensors["out/cond"], **OUTPUT)
    acts = prefixed(tensors, "act")
    torch.testing.assert_close(network.conditioning.label(y), acts.pop("y_emb"), **OUTPUT)
    assert_activations(seen, acts)
    with torch.no_grad():
        torch.testing.assert_close(network(x, t, torch.full_like(y, null)), tensors["out/null"], **OUTPUT)


def test_label_dropping(golden: Any) -> None:
    network, tensors = fixture_network(golden, "latte_class")
    config, y = golden.config("latte_class"), tensors["in/y"]
    dropped = drop_labels(y, config["null_label"], config["config"]["class_dropout_prob"], tensors["train/u"])
    with torch.no_grad():
        torch.testing.assert_close(network(tensors["in/x"], tensors["in/t"], dropped), tensors["train/out"], **OUTPUT)
    forced = drop_labels(y, config["null_label"], 0.5, 1.0 - tensors["drop/force_ids"].float())
    assert torch.equal(forced, tensors["drop/labels_after"])
    torch.testing.assert_close(network.conditioning.label(forced), tensors["drop/emb"], **OUTPUT)


def test_guidance(golden: Any) -> None:
    network, tensors = fixture_network(golden, "latte_class")
    config = golden.config("latte_class")
    null, channels = config["null_label"], config["config"]["in_channels"]
    for scale in config["cfg_scales"]:
        y = tensors["cfg/y"][: len(tensors["cfg/y"]) // 2]
        with torch.no_grad():
            out = classifier_free_guidance(network, tensors["cfg/x"], tensors["cfg/t"], y, null, scale, channels)
        torch.testing.assert_close(out, tensors[f"cfg/out_scale{scale}"], **GUIDED)


def test_joint_network(golden: Any) -> None:
    network, tensors = fixture_network(golden, "latte_img_joint")
    x, t = tensors["in/x"], tensors["in/t"]
    frames = golden.config("latte_img_joint")["config"]["num_frames"]
    seen = activations(network, lambda: network(x, t))
    torch.testing.assert_close(seen["out"], tensors["out"], **OUTPUT)
    acts = prefixed(tensors, "act")
    for name in seen:
        if name.startswith("block") and int(name.removeprefix("block")) % 2:
            seen[name] = seen[name][:, :frames]  # the fixture holds the video part only
    assert_activations(seen, acts)
    with torch.no_grad():
        torch.testing.assert_close(network(x[:, :frames], t), tensors["out_video_only"], **OUTPUT)


def test_joint_class_conditional_network(golden: Any) -> None:
    network, tensors = fixture_network(golden, "latte_img_joint_class")
    config = golden.config("latte_img_joint_class")["config"]
    x, t, y, stills = tensors["in/x"], tensors["in/t"], tensors["in/y"], tensors["in/y_image"]
    null, drop = network.null_label, config["class_dropout_prob"]
    assert null is not None
    with torch.no_grad():
        torch.testing.assert_close(network(x, t, y, stills), tensors["out/no_drop"], **OUTPUT)
        y_dropped = drop_labels(y, null, drop, tensors["drop/u_video"])
        stills_dropped = drop_labels(stills, null, drop, tensors["drop/u_image"])
        torch.testing.assert_close(network(x, t, y_dropped, stills_dropped), tensors["out/drop"], **OUTPUT)
        video_only = network(x[:, : config["num_frames"]], t, y)
        torch.testing.assert_close(video_only, tensors["out/eval_video_only"], **OUTPUT)


def test_position_tables(golden: Any) -> None:
    tensors = golden.tensors("pos_embed")
    for name, expected in tensors.items():
        kind, size = name.split("/")
        count_text, width_text = size.split("_dim")
        if kind == "spatial":
            side = int(count_text.removeprefix("grid"))
            table = spatial_table(int(width_text), side, side)
        else:
            table = temporal_table(int(width_text), int(count_text.removeprefix("frames")))
        assert torch.equal(table[0], expected), name


def paper_spec(size: str, **model: Any) -> Any:
    data = {"autoencoder": "sd_vae", "resolution": 256, "frames": 16}
    return resolved({"model": {"size": size, "patch": 2, **model}, "data": data})


def test_counts(golden: Any) -> None:
    counts_file = golden.json("counts.json")
    for name, expected in counts_file["counts"].items():
        size = name.split("-")[1].split("/")[0]
        classes = 101 if "class-conditional" in name else 0
        counts = Assembly(paper_spec(size, classes=classes)).counts()
        batch1 = expected["batch1"]
        assert counts.parameters == expected["learned"]
        assert counts.linear + counts.modulation_repeats == batch1["macs_linear"]
        assert counts.patch_convolution == batch1["macs_patch_conv"]
        assert counts.attention == batch1["macs_attention_matmul"]
        assert counts.per_clip == batch1["macs_total"]
        assert counts.paper_convention == expected["batch3"]["thop_total"]
        if not classes:
            assert int(counts.parameters / 1e4) / 100 == counts_file["paper"]["reported_params_M"][size]


@pytest.mark.parametrize(
    ("blocks", "patch", "depth", "paper_g"),
    [
        ("variant_1", 2, 28, 5572.69),
        ("variant_2", 2, 28, 5572.69),
        ("variant_3", 2, 23, 6153.15),
        ("variant_4", 4, 23, 1545.15),
    ],
)
def test_paper_table_of_variants(blocks: str, patch: int, depth: int, paper_g: float) -> None:
    spec = paper_spec("XL", blocks=blocks, patch=patch)
    assert spec.model.depth == depth
    assert int(Assembly(spec).counts().paper_convention / 1e7) / 100 == paper_g  # the paper cuts, it does not round


def test_state_dict_names(golden: Any) -> None:
    network = Assembly(paper_spec("XL")).model("meta")
    expected = golden.json("state_dict_keys.json")["Latte-XL/2 unconditional"]
    own = {name: list(value.shape) for name, value in to_official(network.state_dict()).items()}
    assert own == dict(expected)


def test_start_from_dit(golden: Any) -> None:
    tensors, manifest = golden.tensors("dit_mapping"), golden.config("dit_mapping")
    config, dit = dict(manifest["dit_config"]), prefixed(tensors, "dit")
    config |= {"num_frames": manifest["latte_frames"], "class_dropout_prob": 0.1}
    x, t, y = tensors["in/x"], tensors["in/t"], tensors["in/y"]

    unconditional = official_network(config | {"extras": 1})
    dropped, kept = load_dit(unconditional, dit)
    assert (dropped, kept) == (manifest["dropped_for_unconditional"], manifest["kept_at_init_for_unconditional"])
    torch.testing.assert_close(to_official(unconditional.state_dict())["temp_embed"], tensors["expect/temp_embed"])
    conditional = official_network(config | {"extras": 2})
    dropped, kept = load_dit(conditional, dit)
    assert (dropped, kept) == (manifest["dropped_for_class"], manifest["kept_at_init_for_class"])
    with torch.no_grad():
        torch.testing.assert_close(unconditional(x, t), tensors["out/uncond"], **OUTPUT)
        torch.testing.assert_close(conditional(x, t, y), tensors["out/class_same_count"], **OUTPUT)

        # DiT itself: every block spatial, one frame at a time, each with the sample's t and y.
        image = official_network(config | {"num_frames": 1}, blocks="full_attention", temporal_position="none")
        load_dit(image, dit)
        frames = x.shape[1]
        per_frame = image(
            rearrange(x, "b f c h w -> (b f) 1 c h w"), t.repeat_interleave(frames), y.repeat_interleave(frames)
        )
        torch.testing.assert_close(
            rearrange(per_frame, "(b f) 1 c h w -> b f c h w", f=frames), tensors["out/dit_per_frame"], **OUTPUT
        )


def test_start_from_dit_of_another_shape(golden: Any) -> None:
    tensors, manifest = golden.tensors("dit_mapping"), golden.config("dit_mapping")
    config = manifest["dit_config"] | {"num_frames": manifest["latte_frames"]}
    dit = prefixed(tensors, "dit")
    other_classes = official_network(config | {"extras": 2, "num_classes": config["num_classes"] + 1})
    dropped, _ = load_dit(other_classes, dit)
    assert dropped == ["y_embedder.embedding_table.weight"]
    other_grid = official_network(config | {"extras": 1, "input_size": 2 * config["input_size"]})
    _, kept = load_dit(other_grid, dit)
    assert "pos_embed" in kept
    with pytest.raises(RunError, match="x_embedder"):
        load_dit(official_network(config | {"extras": 1, "patch_size": 1}), dit)


def test_counting_leaves_no_hooks() -> None:
    network = Assembly(paper_spec("S")).model("meta")
    count(network, 4)
    assert not any(module._forward_hooks for module in network.modules())
