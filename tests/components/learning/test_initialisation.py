"""Starts from another training, from official files, and from image networks; what does not fit is refused in words."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor

from components.learning.initialisation import Checkpoint, DiTImage
from components.model.checkpoints import to_official
from components.model.latte import Latte
from registry.errors import RunError, SpecError
from tests.fixtures.networks import official_network, prefixed

CONFIG = {"input_size": 4, "patch_size": 2, "in_channels": 4, "hidden_size": 16, "depth": 2, "num_heads": 2,
          "num_frames": 3, "learn_sigma": True, "extras": 2, "num_classes": 3}  # fmt: skip
IMAGE = CONFIG | {"num_frames": 1}
OUTPUT = {"atol": 1e-5, "rtol": 0}  # as in tests/parity/test_model.py
ROTARY = {"spatial_position": "rotary"}
FULL = {"blocks": "full_attention", "temporal_position": "none"}


def drawn(seed: int, config: dict[str, Any] = CONFIG, **parts: str) -> Latte:
    """A network all of whose weights are random, zero-initialised ones too."""
    network = official_network(config, **parts)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return network


def start(part: Checkpoint, network: Latte) -> Latte:
    part(network, torch.Generator().manual_seed(9))
    return network


def same(left: Latte, right: Latte) -> bool:
    pairs = zip(left.parameters(), right.parameters(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(("own", "other"), [({}, ROTARY), (ROTARY, {})], ids=["absolute", "rotary"])
def test_other_positions_in_space_are_no_start(tmp_path: Path, own: dict[str, str], other: dict[str, str]) -> None:
    path = written(tmp_path / "other.pt", {"model": drawn(0, **other).state_dict()})
    with pytest.raises(RunError, match="spatial_position"):
        start(Checkpoint(path=path), drawn(1, **own))


def written(path: Path, content: Any) -> str:
    torch.save(content, path)
    return str(path)


def image_file(folder: Path, **parts: str) -> tuple[str, Latte]:
    image = drawn(1, IMAGE, **(FULL | parts))
    return written(folder / "image.pt", to_official(image.state_dict())), image


@pytest.mark.parametrize("form", ["ours", "official", "flat", "compiled", "safetensors"])
def test_every_form_of_file_is_a_start(tmp_path: Path, form: str) -> None:
    average, last = drawn(1), drawn(2)
    official = to_official(average.state_dict())
    ours = {"model": last.state_dict(), "ema": dict(average.named_parameters()), "step": 7}
    content = {
        "ours": ours,
        "official": {"model": to_official(last.state_dict()), "ema": official, "opt": {}},
        "flat": official,
        "compiled": {"ema": {f"_orig_mod.{name}": value for name, value in official.items()}},
        "safetensors": {
            **{f"ema.{name}": value for name, value in average.state_dict().items()},
            **{f"model.{name}": value for name, value in last.state_dict().items()},
        },
    }[form]
    path = tmp_path / ("start.safetensors" if form == "safetensors" else "start.pt")
    (save_file if form == "safetensors" else torch.save)(content, path)
    assert same(start(Checkpoint(path=str(path)), drawn(3)), average)
    if form in ("ours", "official", "safetensors"):
        assert same(start(Checkpoint(path=str(path), weights="model"), drawn(3)), last)
    else:
        with pytest.raises(RunError, match="has no weights 'model'"):
            start(Checkpoint(path=str(path), weights="model"), drawn(3))


def test_what_does_not_fit_is_told_with_both_shapes_before_and_while_it_is_loaded(tmp_path: Path) -> None:
    path = written(tmp_path / "start.pt", to_official(drawn(1).state_dict()))
    wide = CONFIG | {"hidden_size": 32}
    with torch.device("meta"):
        planned = official_network(wide)
    with pytest.raises(SpecError, match=r"patch_embedding.proj.bias is \(16,\), the network has \(32,\)"):
        Checkpoint(path=path).refuse(planned, True)
    with pytest.raises(RunError, match=r"is \(16,\), the network has \(32,\)"):
        start(Checkpoint(path=path), official_network(wide))
    with pytest.raises(SpecError, match=r"it has no blocks.2.attn.qkv.weight \(48, 16\)"):
        Checkpoint(path=path).refuse(official_network(CONFIG | {"depth": 4}), True)
    with pytest.raises(SpecError, match=r"the network has no conditioning.label.weight \(4, 16\)"):
        Checkpoint(path=path).refuse(official_network(CONFIG | {"extras": 1}), True)


def test_another_file_than_was_named_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "start.pt", to_official(drawn(1).state_dict()))
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    part = Checkpoint(path=path, sha256=digest)
    part.refuse(drawn(2), True)
    written(tmp_path / "start.pt", to_official(drawn(4).state_dict()))
    with pytest.raises(SpecError, match=f"not {digest}"):
        part.refuse(drawn(2), True)
    with pytest.raises(RunError, match=f"not {digest}"):
        start(part, drawn(2))
    Path(path).unlink()
    with pytest.raises(RunError, match="no file or folder"):
        start(part, drawn(2))


def test_by_name_is_the_reference_rule(tmp_path: Path, golden: Any) -> None:
    tensors, manifest = golden.tensors("dit_mapping"), golden.config("dit_mapping")
    config = dict(manifest["dit_config"]) | {"num_frames": manifest["latte_frames"], "class_dropout_prob": 0.1}
    path = written(tmp_path / "DiT.pt", prefixed(tensors, "dit"))
    x, t, y = tensors["in/x"], tensors["in/t"], tensors["in/y"]
    unconditional = start(DiTImage(path=path), official_network(config | {"extras": 1}))
    conditional = start(DiTImage(path=path), official_network(config | {"extras": 2}))
    image = start(DiTImage(path=path), official_network(config | {"num_frames": 1}, **FULL))
    frames = x.shape[1]
    with torch.no_grad():
        torch.testing.assert_close(unconditional(x, t), tensors["out/uncond"], **OUTPUT)
        torch.testing.assert_close(conditional(x, t, y), tensors["out/class_same_count"], **OUTPUT)
        stills = rearrange(x, "b f c h w -> (b f) 1 c h w")
        told = image(stills, t.repeat_interleave(frames), y.repeat_interleave(frames))
        told = rearrange(told, "(b f) 1 c h w -> b f c h w", f=frames)
        torch.testing.assert_close(told, tensors["out/dit_per_frame"], **OUTPUT)


@pytest.mark.parametrize("blocks", ["variant_1", "variant_2", "full_attention"])
def test_described_discards_the_table_of_classes_and_zeroes_it(tmp_path: Path, blocks: str) -> None:
    path, image = image_file(tmp_path)
    video = start(DiTImage(path=path, mapping="described"), drawn(2, blocks=blocks))
    given = dict(image.named_parameters())
    for name, parameter in video.named_parameters():
        wanted = torch.zeros_like(parameter) if name == "conditioning.label.weight" else given[name]
        assert torch.equal(parameter, wanted), name


def test_other_classes_draw_their_table_anew_and_another_grid_computes_its_own(tmp_path: Path) -> None:
    path, image = image_file(tmp_path)
    other = CONFIG | {"num_classes": 5, "input_size": 8}
    part = DiTImage(path=path)
    part.refuse(official_network(other), True)
    video, fresh = start(part, drawn(2, other)), official_network(other)
    fresh.initialise(torch.Generator().manual_seed(9))
    assert torch.equal(video.conditioning.label.weight, fresh.conditioning.label.weight)
    assert torch.equal(video.spatial_position, fresh.spatial_position)
    assert torch.equal(video.blocks[1].attn.qkv.weight, image.blocks[1].attn.qkv.weight)


def test_a_second_attention_in_a_block_adds_nothing_at_the_start(tmp_path: Path) -> None:
    path, image = image_file(tmp_path)
    video = start(DiTImage(path=path), drawn(2, blocks="variant_3", temporal_position="none"))
    x, t, y = torch.randn(2, 3, 4, 4, 4), torch.tensor([5, 800]), torch.tensor([0, 2])
    with torch.no_grad():
        stills = image(rearrange(x, "b f c h w -> (b f) 1 c h w"), t.repeat_interleave(3), y.repeat_interleave(3))
        clip = video(x, t, y)
    torch.testing.assert_close(clip, rearrange(stills, "(b f) 1 c h w -> b f c h w", f=3), **OUTPUT)
    assert video.blocks[0].attn_temporal.qkv.weight.abs().max() > 0  # it can be learned from


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"depth": 4}, "it has 2 blocks, the network has 4"),
        ({"hidden_size": 32}, r"patch_embedding.proj.bias is \(16,\), the network has \(32,\)"),
        ({"patch_size": 1}, r"patch_embedding.proj.weight is \(16, 4, 2, 2\), the network has \(16, 4, 1, 1\)"),
        ({"learn_sigma": False}, r"patch_embedding.head.weight is \(32, 16\), the network has \(16, 16\)"),
    ],
)
def test_image_networks_of_another_shape_are_refused(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    path, _ = image_file(tmp_path)
    with pytest.raises(SpecError, match=words):
        DiTImage(path=path).refuse(official_network(CONFIG | config), True)


def test_weights_that_run_code_are_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (print, ("run",))

    path = written(tmp_path / "evil.pt", {"ema": {"a": Evil()}})
    with pytest.raises(SpecError, match="would run code"):
        Checkpoint(path=path).refuse(drawn(1), True)


def test_numbers_are_no_weights(tmp_path: Path) -> None:
    values: dict[str, Tensor | int] = {"step": 3}
    with pytest.raises(SpecError, match="no dictionary of tensors"):
        Checkpoint(path=written(tmp_path / "x.pt", {"ema": values})).refuse(drawn(1), True)


def test_a_start_that_is_not_named_may_come_later_and_not_too_late() -> None:
    DiTImage().refuse(drawn(1), False)
    with pytest.raises(SpecError, match=r"initialisation.path: give the file"):
        DiTImage().refuse(drawn(1), True)
    with pytest.raises(RunError, match=r"initialisation.path: give the file"):
        start(Checkpoint(), drawn(1))
