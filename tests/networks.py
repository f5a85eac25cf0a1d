"""Networks for tests, built from the configurations that fixtures state."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from components.model import checkpoints
from components.model.latte import Latte
from registry.catalogue import catalogue
from registry.resolve import resolve


def official_network(config: Mapping[str, Any], entries: Mapping[str, Tensor] | None = None, **model: Any) -> Latte:
    """The reference network of a fixture's `config`, with its official state dict loaded strictly."""
    parts = catalogue()
    latents = (config.get("num_frames", 1), config["in_channels"], config["input_size"], config["input_size"])
    out_channels = config["in_channels"] * (2 if config["learn_sigma"] else 1)
    width, classes = config["hidden_size"], config.get("num_classes", 0) if config.get("extras", 2) == 2 else 0
    patches = parts.build(
        "patch_embedding", {"name": "uniform_frame"}, latents, config["patch_size"], width, out_channels
    )
    position = parts.build("temporal_position", {"name": model.get("temporal_position", "absolute")}, latents[0], width)
    null_label = config.get("class_dropout_prob", 0.1) > 0
    conditioning = parts.build("conditioning", {"name": "s_adaln"}, width, classes, null_label)
    blocks = parts.build(
        "blocks", {"name": model.get("blocks", "variant_1")}, config["depth"], width, config["num_heads"], conditioning
    )
    network = Latte(patches, position, conditioning, blocks)
    if entries is not None:
        checkpoints.load_official(network, entries)
    return network.eval()


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries under `prefix/`, without it."""
    return {name.removeprefix(prefix + "/"): value for name, value in tensors.items() if name.startswith(prefix + "/")}


def resolved(raw: Mapping[str, Any]) -> Any:
    """A resolved spec from raw sections; fails the test with the problems if it is not valid."""
    spec, problems = resolve(raw, catalogue())
    assert spec is not None, problems
    return spec
