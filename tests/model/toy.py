"""Toy networks: width 16, two heads, two blocks, 4 frames of 4x4 latents."""

import itertools
from collections.abc import Iterator
from typing import Any

import torch

from components.model.latte import Latte
from registry.assemble import Assembly
from registry.catalogue import catalogue
from tests.networks import resolved

PARTS = catalogue()
BLOCKS = PARTS.names("blocks")
POSITIONS = PARTS.names("temporal_position")


def toy_spec(model: dict[str, Any] | None = None, **sections: Any) -> Any:
    """A resolved toy spec with some keys changed; latents are (4, 12, 4, 4)."""
    data = {"resolution": 8, "frames": 4, "interval": 1, "autoencoder": {"name": "pixels", "factor": 2}}
    raw = {"model": {"width": 16, "heads": 2, "depth": 2, **(model or {})}, "data": data}
    return resolved(raw | sections)


def toy_network(seed: int = 0, spec: Any = None, **model: Any) -> Latte:
    """A toy network whose every learned weight is a random number, so that nothing is silent."""
    network: Latte = Assembly(spec or toy_spec(model)).model()
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return network.eval()


def inputs(network: Latte, batch: int = 2, stills: int = 0, seed: int = 1) -> tuple[Any, ...]:
    """Latents (B, F + n, C, H, W), times (B,), labels and labels of stills where the network has classes."""
    generator = torch.Generator().manual_seed(seed)
    patches, classes = network.patch_embedding, network.conditioning.classes
    side = [patches.grid[0] * patches.patch, patches.grid[1] * patches.patch]
    latents = torch.randn(batch, patches.frames + stills, patches.proj.weight.shape[1], *side, generator=generator)
    t = torch.randint(0, 1000, (batch,), generator=generator)
    labels = torch.randint(0, classes, (batch,), generator=generator) if classes else None
    still_labels = torch.randint(0, classes, (batch, stills), generator=generator) if classes and stills else None
    return latents, t, labels, still_labels


def legal_diffusions() -> Iterator[tuple[str, str, str]]:
    """Every (objective, noise schedule, sampler) that go together."""
    slots = [PARTS.names(slot) for slot in ("objective", "noise_schedule", "sampler")]
    for objective, schedule, sampler in itertools.product(*slots):
        schedules = PARTS.find("objective", objective).facts["noise_schedules"]
        if schedule in schedules and objective in PARTS.find("sampler", sampler).facts["objectives"]:
            yield objective, schedule, sampler
