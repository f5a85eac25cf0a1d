"""What the benchmark compares with computes what the reference computes: the golden fixtures, and ours beside it."""

from typing import Any

import torch
from torch import Tensor

from tests.benchmarks.baselines.diffusion import Process
from tests.benchmarks.baselines.network import OfficialLatte
from tests.benchmarks.baselines.training import Loop
from tests.fixtures.networks import official_network, prefixed

OUTPUT = {"atol": 1e-5, "rtol": 0}


def baseline_of(golden: Any, name: str) -> tuple[OfficialLatte, dict[str, Tensor], dict[str, Any]]:
    """The baseline with a fixture's weights, its tensors and its configuration."""
    config, tensors = golden.config(name)["config"], golden.tensors(name)
    side = config["input_size"]
    classes = config.get("num_classes", 0) if config["extras"] == 2 else 0
    latents = (config["num_frames"], config["in_channels"], side, side)
    network = OfficialLatte(
        latents, config["hidden_size"], config["depth"], config["num_heads"], config["patch_size"], classes
    )
    network.load_state_dict(prefixed(tensors, "sd"))  # strictly: the official names and shapes
    return network, tensors, config


def test_outputs(golden: Any) -> None:
    with torch.no_grad():
        network, tensors, _ = baseline_of(golden, "latte_uncond")
        torch.testing.assert_close(network(tensors["in/x"], tensors["in/t"]), tensors["out"], **OUTPUT)
        network, tensors, config = baseline_of(golden, "latte_class")
        x, t, y = tensors["in/x"], tensors["in/t"], tensors["in/y"]
        torch.testing.assert_close(network(x, t, y), tensors["out/cond"], **OUTPUT)
        ours = official_network(config, prefixed(tensors, "sd"))
        torch.testing.assert_close(network(x, t, y), ours(x, t, y), **OUTPUT)


def test_guidance_and_sampling(golden: Any) -> None:
    about, kept = golden.config("diffusion_sampling"), golden.tensors("diffusion_sampling")
    process = Process.training().respaced(int(about["respacing"]))
    network, _, _ = baseline_of(golden, "latte_uncond")
    draws = iter(kept["uncond/step_noise"])
    sample = process.sample(network, kept["uncond/z"], lambda: next(draws))
    expected = kept["uncond/ddpm/samples"]
    torch.testing.assert_close(sample, expected[-1], atol=2e-5 * expected[-1].abs().max().item(), rtol=0)

    network, _, config = baseline_of(golden, "latte_class")
    draws, y, z = iter(kept["cfg/ddpm/step_noise"]), kept["cfg/y"], kept["cfg/z"]  # labels and null labels; doubled
    scale, channels = about["cfg_scale"], config["in_channels"]
    guided = lambda x, t: network.forward_with_cfg(x, t, y, scale, channels)  # noqa: E731
    sample = process.sample(guided, z, lambda: next(draws))
    expected = kept["cfg/ddpm/samples"]
    half = slice(len(z) // 2)  # the other half is no sample
    torch.testing.assert_close(sample[half], expected[-1][half], atol=2e-5 * expected[-1].abs().max().item(), rtol=0)


def test_training(golden: Any) -> None:
    """Losses of all steps; the last weights to within a hundredth of what the steps moved them by, and the average."""
    about, tensors = golden.config("train_steps"), golden.tensors("train_steps")
    network, _, _ = baseline_of(golden, "latte_uncond")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    loop = Loop(network, about["lr"], about["ema_decay"])
    for step in range(about["steps"]):
        loop.clip_norm = about["max_norm"] if step >= about["clip_from"] else None
        loss = loop.step(*(tensors[f"in/{name}"][step] for name in ("x0", "t", "noise")))
        torch.testing.assert_close(loss, tensors["clean/loss"][step].mean().item(), rtol=2e-5, atol=1e-5)
    for name in about["tensors_kept"]:
        for which, own in (("model", loop.network), ("ema", loop.average)):
            moved = (tensors[f"clean/final/{which}/{name}"] - before[name]).flatten()
            off = (own.state_dict()[name] - tensors[f"clean/final/{which}/{name}"]).flatten()
            if name.endswith("qkv.bias"):
                continue  # its key third is moved by rounding alone
            assert off.norm() < 0.01 * moved.norm(), (name, which)
