"""Slot `optimiser`: which weights each steps, what a step is, and its state."""

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch

from components.assembly import Assembly
from components.learning.optimisers import AdamW, Muon
from components.model.latte import Latte
from registry.experiment.resolve import resolve
from registry.parts.catalogue import catalogue
from registry.runs.machine import ROOT
from tests.components.model.test_text_conditioning import text_network
from tests.fixtures.toy_networks import toy_network, toy_spec
from tests.fixtures.toy_replicates import assert_same

RATE = 1e-2


def with_gradients(network: Latte, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in network.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator)


def moved(network: Latte, optimiser: Any) -> dict[str, torch.Tensor]:
    """By how much each weight moves in a step."""
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    optimiser.step()
    return {name: weight.detach() - before[name] for name, weight in network.named_parameters()}


def test_adamw_is_torchs_with_the_parts_settings() -> None:
    ours, theirs = toy_network(), toy_network()
    of = AdamW(beta1=0.8, beta2=0.9, weight_decay=0.1)(ours, RATE)
    expected = torch.optim.AdamW(theirs.parameters(), RATE, (0.8, 0.9), eps=1e-8, weight_decay=0.1, fused=True)
    for step in range(3):
        with_gradients(ours, step)
        with_gradients(theirs, step)
        of.step()
        expected.step()
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(left, right)


def test_neither_imports_torchs_compiler() -> None:
    """It takes seconds of every process that trains; optimisers import it to be left alone by it."""
    program = """
import sys, torch
from torch import nn
from components.learning import eager_optimisers as eager
for kind in (eager.AdamW, eager.Muon):
    layer = nn.Linear(4, 4, bias=False)
    optimiser = kind(layer.parameters(), lr=0.1)
    layer(torch.ones(2, 4)).sum().backward()
    before = layer.weight.detach().clone()
    optimiser.step()
    assert not torch.equal(before, layer.weight)
    optimiser.zero_grad()
    assert layer.weight.grad is None
    kind(layer.parameters(), lr=0.1).load_state_dict(optimiser.state_dict())
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_muon_steps_matrices_of_blocks_and_adamw_the_rest() -> None:
    _matrices_alone(toy_network(classes=2), toy_network(classes=2), {"qkv", "proj", "fc1", "fc2", "1"})


def test_muon_leaves_a_blocks_table_of_embeddings_to_adamw() -> None:
    """Text conditioning has a table (6, D) in each block, which is no matrix that anything is multiplied by."""
    network, plain = text_network(), text_network()
    assert "blocks.0.adaLN_modulation.table" in dict(network.named_parameters())
    _matrices_alone(network, plain, {"qkv", "proj", "fc1", "fc2", "q", "kv"})


def _matrices_alone(network: Latte, plain: Latte, kinds: set[str]) -> None:
    """Step a network by Muon and one like it by AdamW, and compare; `kinds` are the names of its linear layers."""
    for one in (network, plain):
        with_gradients(one, 0)
    steps, by_adamw = moved(network, Muon()(network, RATE)), moved(plain, AdamW()(plain, RATE))
    weights = {
        name for name, _ in network.named_parameters() if name.startswith("blocks.") and name.endswith(".weight")
    }
    matrices = {name for name in weights if steps[name].ndim == 2}
    assert {name.rsplit(".", 2)[-2] for name in matrices} == kinds
    for name, step in steps.items():
        if name not in matrices:
            assert torch.equal(step, by_adamw[name]), name
            continue
        spread = torch.linalg.svdvals(step)  # of an orthogonal matrix all are equal; Newton and Schulz come near
        assert float(spread.min() / spread.max()) > 0.4, name
        rms = 0.2 * RATE * (max(step.shape) / max(step.shape)) ** 0.5
        assert float(step.pow(2).mean().sqrt()) == pytest.approx(rms, rel=0.35), name  # S' is within 0.5 to 1.5


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_state_goes_on_bit_for_bit(name: str) -> None:
    build = Assembly(toy_spec(learning={"optimiser": name})).optimiser()
    network = toy_network()
    optimiser = build(network, RATE)
    with_gradients(network, 0)
    optimiser.step()
    other = toy_network()
    other.load_state_dict(network.state_dict())
    resumed = build(other, RATE)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for one, of in ((network, optimiser), (other, resumed)):
        with_gradients(one, 1)
        for group in of.param_groups:
            group["lr"] = RATE / 2
        of.step()
    assert_same(dict(other.state_dict()), dict(network.state_dict()))
    assert_same(resumed.state_dict(), optimiser.state_dict())
    optimiser.zero_grad()
    assert all(weight.grad is None for weight in network.parameters())


def test_muon_with_weights_that_are_shared_out_is_refused_by_name() -> None:
    model = {"width": 16, "heads": 2, "depth": 2}
    _, problems = resolve({"model": model, "learning": {"optimiser": "muon"}, "runtime": {"shard": True}}, catalogue())
    assert problems == [
        (("learning", "optimiser"), "muon needs whole matrices, and runtime.shard leaves each process a share of them")
    ]
