"""Fixture 7: the I3D network with recipe weights, and the preprocessing."""

import pytest
import torch

from components.scoring.detectors.i3d import PREPROCESSING
from components.scoring.detectors.i3d_folding import fold
from components.scoring.detectors.i3d_network import I3D
from tests.parity import mix_recipe, rounding

# The pipelines of the fixture and the name under which we have each.
PIPELINES = {
    "videogpt": "short_side_crop",
    "short_side_crop": "short_side_crop",
    "direct_square": "direct_square",
    "detector_flags_described": "direct_square",
}


@pytest.fixture(scope="module")
def stored(golden):
    return golden.tensors("i3d")


@pytest.fixture(scope="module")
def network(golden):
    return recipe_network(golden)


def recipe_network(golden):
    entries = golden.json("i3d_keys.json")["entries"]
    with torch.device("meta"):
        network = I3D()
    state = {name: torch.from_numpy(mix_recipe.weight(name, shape, dtype)) for name, shape, dtype in entries}
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def test_entry_names_order_shapes_and_count(golden, network):
    keys = golden.json("i3d_keys.json")
    ours = [
        [name, list(value.shape), str(value.dtype).removeprefix("torch.")]
        for name, value in network.state_dict().items()
    ]
    assert ours == keys["entries"]
    assert sum(parameter.numel() for parameter in network.parameters()) == keys["parameters"]


def test_the_recipe_is_understood(golden, stored, network):
    state = network.state_dict()
    probes = [key for key in stored if key.startswith("fill_probe/")]
    for key in probes:
        assert torch.equal(state[key.removeprefix("fill_probe/")].flatten()[:16], stored[key]), key
    assert probes
    for clip in golden.config("i3d")["clips"]:
        made = torch.from_numpy(mix_recipe.clip(clip["recipe_label"], clip["shape"]))
        torch.testing.assert_close(made[:, :, :2, :3, :4], stored[f"clip_probe/{clip['name']}"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("folded", [False, True], ids=["as published", "folded"])
def test_logits_pooled_features_and_every_stage(golden, stored, network, folded):
    network = fold(recipe_network(golden)) if folded else network
    for clip in golden.config("i3d")["clips"]:
        name = clip["name"]
        x = torch.from_numpy(mix_recipe.clip(clip["recipe_label"], clip["shape"]))
        compared = 0
        for stage, output in network.stages(x):
            if (key := f"{name}/endpoint/{stage}") in stored:
                assert list(output.shape) == golden.config("i3d")[f"endpoint_shapes_{name}"][stage]
                statistics = torch.stack([output.double().mean(), output.double().std(), output.double().abs().max()])
                torch.testing.assert_close(statistics, stored[key], atol=1e-5, rtol=1e-5, msg=key)
                probe = output[0, :4, 0, :3, :3]
                torch.testing.assert_close(probe, stored[f"{key}/probe"], atol=2e-5, rtol=1e-5, msg=key)
                compared += 1
        assert compared == sum(key.startswith(f"{name}/endpoint/") and not key.endswith("/probe") for key in stored)
        pooled = torch.nn.functional.avg_pool3d(output, (2, 7, 7), stride=1)
        torch.testing.assert_close(pooled.flatten(2), stored[f"{name}/pooled_1024"], atol=2e-5, rtol=1e-5)
        logits = network.logits(pooled).flatten(2).mean(dim=2)
        torch.testing.assert_close(logits, stored[f"{name}/logits"], atol=2e-4, rtol=0)
        if x.numel() == min(torch.Size(other["shape"]).numel() for other in golden.config("i3d")["clips"]):
            assert torch.equal(network(x), logits)
            assert torch.equal(network.pooled(x), pooled)


def test_preprocessing(golden, stored):
    for video in golden.config("i3d")["prep"]:
        pixels = torch.from_numpy(mix_recipe.video(video["recipe_label"], video["uint8_shape_bthwc"]))
        found = [key for key in stored if key.startswith(f"prep/{video['name']}/")]
        assert len(found) == len(PIPELINES)
        for key in found:
            ours = PREPROCESSING[PIPELINES[key.rsplit("/", 1)[1]]](pixels)
            assert ours.shape[-2:] == (224, 224)
            atol = rounding.of_resize(*pixels.shape[2:4])  # the values are in [-1, 1]
            torch.testing.assert_close(
                ours[..., ::7, ::7], stored[key], atol=atol, rtol=0, msg=lambda m, k=key: f"{k}: {m}"
            )
