"""Items 1, 2, 3, 5, 6 and 11 of the golden fixtures: the network itself."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor

from components.assembly import Assembly
from components.diffusion.guidance import classifier_free_guidance
from components.learning.initialisation import DiTImage
from components.model.checkpoints import to_official
from components.model.conditioning import drop_labels
from components.model.counting import PAPER_BATCH, count
from components.model.latte import Latte
from components.model.positions import spatial_table, temporal_table, timestep_waves
from registry.errors import RunError
from tests.fixtures.networks import official_network, prefixed, resolved
from tests.parity import rounding

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


def waves_tolerance(t: Tensor, width: int) -> Tensor:
    """What float32 allows each entry of the waves (B, width) to differ by.

    exp, cos and sin are within one unit in the last place, so two machines give the same number or its neighbour. For
    the frequency that is EPS times it, for the angle then EPS times the angle, and as much again for its own rounding
    on both machines; cosine and sine pass the difference of their argument on undiminished at most, and differ by EPS
    themselves.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float64) / half)
    angles = t[:, None].double().abs() * frequencies
    return rounding.EPS * (2 * torch.nn.functional.pad(torch.cat([angles, angles], dim=-1), (0, width % 2)) + 1)


def test_timestep_waves(golden: Any) -> None:
    tensors = golden.tensors("latte_uncond")
    checked = 0
    for name, expected in prefixed(tensors, "temb").items():
        if name.startswith("dim"):
            width, _, fractional = name.removeprefix("dim").partition("_")
            t = tensors["temb/t_frac" if fractional else "temb/t"]
            ours = timestep_waves(t, int(width))
            off = (ours - expected).abs().double() / waves_tolerance(t, int(width))
            assert off.max() <= 1, f"{name}: {off.max():.3g} times what rounding allows"
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


def paper_spec(size: str, patch: int = 2, frames: int = 16, latent_side: int = 32, **model: Any) -> Any:
    data = {"autoencoder": "sd_vae", "resolution": 8 * latent_side, "frames": frames}
    return resolved({"model": {"size": size, "patch": patch, **model}, "data": data})


def named_spec(name: str, latent: str = "") -> Any:
    """The network that a fixture calls, say, "Latte-XL/2 class-conditional (extras=2, 101 classes)".

    Args:
        name: size, patch, and number of classes where it has classes.
        latent: such as "16 frames x 4 channels x 32 x 32"; the paper's where the fixture says nothing.
    """
    network = re.search(r"Latte-(\w+)/(\d+)", name)
    classes = re.search(r"(\d+) classes", name)
    shape = re.search(r"(\d+) frames x 4 channels x (\d+) x \2", latent)
    assert network, name
    frames, side = (int(shape[1]), int(shape[2])) if shape else (16, 32)
    assert shape or not latent, latent
    return paper_spec(network[1], int(network[2]), frames, side, classes=int(classes[1]) if classes else 0)


def test_counts(golden: Any) -> None:
    file = golden.json("counts.json")
    assert file["counts"]
    for name, expected in file["counts"].items():
        spec = named_spec(name, expected.get("latent", file["latent"]))
        counts = Assembly(spec).counts()
        assert counts.parameters == expected["learned"], name
        batches = {int(key.removeprefix("batch")): macs for key, macs in expected.items() if key.startswith("batch")}
        assert batches
        for clips, macs in batches.items():
            assert clips * (counts.linear + counts.modulation_repeats) == macs["macs_linear"], name
            assert clips * counts.patch_convolution == macs["macs_patch_conv"], name
            assert clips * counts.attention == macs["macs_attention_matmul"], name
            assert clips * counts.per_clip == macs["macs_total"], name
            assert clips * counts.paper_convention == PAPER_BATCH * macs["thop_total"], name
        if not spec.model.classes and spec.model.patch == 2:
            reported = file.get("paper", {}).get("reported_params_M", {}).get(spec.model.size)
            assert reported in (None, int(counts.parameters / 1e4) / 100), name


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
    """Names and shapes of every whole network in the file, and of what another network has beyond it."""

    def entries(name: str) -> dict[str, list[int]]:
        state = to_official(Assembly(named_spec(name)).model("meta").state_dict())
        return {entry: list(value.shape) for entry, value in state.items()}

    file = golden.json("state_dict_keys.json")
    whole = {name: dict(listed) for name, listed in file.items() if name.startswith("Latte-")}
    assert whole
    for name, listed in whole.items():
        assert entries(name) == listed, name
    for name, listed in file.items():
        if name.startswith("extra entry of Latte-"):
            plain = next(listed for other, listed in whole.items() if f"{other.split()[0]} " in name)
            assert {entry: shape for entry, shape in entries(name).items() if entry not in plain} == dict(listed), name


def started(network: Latte, dit: dict[str, torch.Tensor], folder: Path) -> tuple[list[str], list[str]]:
    """Start a network from DiT's entries as trainings do; return the entries dropped, and what the network keeps."""
    torch.save(dit, folder / "dit.pt")
    DiTImage(path=str(folder / "dit.pt"))(network, torch.Generator().manual_seed(0))
    own = to_official(network.state_dict())
    taken = {name for name in own if name in dit and own[name].shape == dit[name].shape}
    for name in taken:  # the fixed table is the network's own, which rounds otherwise in its last digit
        torch.testing.assert_close(own[name], dit[name], rtol=0, atol=1e-6 if name == "pos_embed" else 0)
    return [name for name in dit if name not in taken], [name for name in own if name not in taken]


def test_start_from_dit(golden: Any, tmp_path: Path) -> None:
    tensors, manifest = golden.tensors("dit_mapping"), golden.config("dit_mapping")
    config, dit = dict(manifest["dit_config"]), prefixed(tensors, "dit")
    config |= {"num_frames": manifest["latte_frames"], "class_dropout_prob": 0.1}
    x, t, y = tensors["in/x"], tensors["in/t"], tensors["in/y"]

    unconditional = official_network(config | {"extras": 1})
    dropped, kept = started(unconditional, dit, tmp_path)
    assert (dropped, kept) == (manifest["dropped_for_unconditional"], manifest["kept_at_init_for_unconditional"])
    torch.testing.assert_close(to_official(unconditional.state_dict())["temp_embed"], tensors["expect/temp_embed"])
    conditional = official_network(config | {"extras": 2})
    dropped, kept = started(conditional, dit, tmp_path)
    assert (dropped, kept) == (manifest["dropped_for_class"], manifest["kept_at_init_for_class"])
    with torch.no_grad():
        torch.testing.assert_close(unconditional(x, t), tensors["out/uncond"], **OUTPUT)
        torch.testing.assert_close(conditional(x, t, y), tensors["out/class_same_count"], **OUTPUT)

        # DiT itself: every block spatial, one frame at a time, each with the sample's t and y.
        image = official_network(config | {"num_frames": 1}, blocks="full_attention", temporal_position="none")
        started(image, dit, tmp_path)
        frames = x.shape[1]
        per_frame = image(
            rearrange(x, "b f c h w -> (b f) 1 c h w"), t.repeat_interleave(frames), y.repeat_interleave(frames)
        )
        torch.testing.assert_close(
            rearrange(per_frame, "(b f) 1 c h w -> b f c h w", f=frames), tensors["out/dit_per_frame"], **OUTPUT
        )


def test_start_from_dit_of_another_shape(golden: Any, tmp_path: Path) -> None:
    tensors, manifest = golden.tensors("dit_mapping"), golden.config("dit_mapping")
    config = manifest["dit_config"] | {"num_frames": manifest["latte_frames"]}
    dit = prefixed(tensors, "dit")
    other_classes = official_network(config | {"extras": 2, "num_classes": config["num_classes"] + 1})
    dropped, _ = started(other_classes, dit, tmp_path)
    assert dropped == ["y_embedder.embedding_table.weight"]
    other_grid = official_network(config | {"extras": 1, "input_size": 2 * config["input_size"]})
    _, kept = started(other_grid, dit, tmp_path)
    assert "pos_embed" in kept
    with pytest.raises(RunError, match="patch_embedding"):
        started(official_network(config | {"extras": 1, "patch_size": 1}), dit, tmp_path)


def test_counting_leaves_no_hooks() -> None:
    network = Assembly(paper_spec("S")).model("meta")
    count(network, 4)
    assert not any(module._forward_hooks for module in network.modules())
