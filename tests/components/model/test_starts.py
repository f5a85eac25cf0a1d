"""How parts start: what their docstrings say of it, and the parameters that change it."""

import copy
from typing import Any

import pytest
import torch

from components.assembly import Assembly
from components.learning.initialisation import Scratch
from components.model.latte import Latte
from registry.errors import SpecError
from registry.experiment.arms import resolve_experiment
from registry.experiment.experiment_file import load_experiment
from registry.parts.catalogue import Catalogue, catalogue
from registry.runs.machine import ROOT
from registry.schema.spec import Spec
from tests.fixtures.networks import resolved

BASE: dict[str, Any] = {
    "model": {"width": 64, "heads": 4, "depth": 4, "classes": 50, "patch": 2},
    "data": {"resolution": 16, "frames": 8, "interval": 1, "autoencoder": {"name": "pixels", "factor": 2}},
}


def spec_of(**model: Any) -> Spec:
    raw = copy.deepcopy(BASE)
    raw["model"].update(model)
    return resolved(raw)


def network(**model: Any) -> Latte:
    built = Assembly(spec_of(**model), catalogue()).model()
    Scratch()(built, torch.Generator().manual_seed(0))
    return built


def changed_by_blocks(model: Latte) -> float:
    """How much the blocks change random tokens, as a share of them."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(1, 8, 16, 64, generator=generator)
    condition = model.conditioning.embed(torch.tensor([300]), torch.tensor([3]), None, 8, 0)
    with torch.no_grad():
        attached = model.conditioning.attach(tokens, condition)
        after = model.blocks(attached, condition, model.temporal_position, 8)
        start = attached if model.temporal_position.table is None else model.temporal_position.add(attached)
    return float((after - start).norm() / tokens.norm())


@pytest.mark.parametrize(
    ("conditioning", "identity"),
    [("s_adaln", True), ("all_tokens", False), ({"name": "all_tokens", "zero_init": True}, True)],
)
def test_blocks_start_as_the_identity_where_it_is_said(conditioning: Any, identity: bool) -> None:
    for blocks in ("variant_1", "variant_4"):
        changed = changed_by_blocks(network(conditioning=conditioning, blocks=blocks))
        assert (changed == 0.0) if identity else (changed > 0.1), (blocks, changed)


def test_every_weight_learns_behind_the_first_step_of_a_zero_start() -> None:
    """Zeros that stay zeros would be a dead network."""
    model = network(conditioning={"name": "all_tokens", "zero_init": True})
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    latents = torch.randn(2, 8, 12, 8, 8, generator=torch.Generator().manual_seed(2))
    for _ in range(4):  # the head is zero as well, so that gradients need steps to come down
        optimiser.zero_grad()
        (model(latents, torch.tensor([10, 900]), torch.tensor([0, 3])) - 1).square().mean().backward()
        optimiser.step()
    still = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum()]
    assert not [name for name in still if name.startswith("blocks.")]


def test_tokens_are_scaled() -> None:
    plain, scaled = (network(conditioning=one) for one in ("all_tokens", {"name": "all_tokens", "token_scale": 8.0}))
    asked = (torch.tensor([300]), torch.tensor([3]), None, 8, 0)
    with torch.no_grad():
        small, large = (model.conditioning.embed(*asked) for model in (plain, scaled))
    assert torch.equal(large.tokens, 8 * small.tokens)  # a power of two: no rounding


def test_what_docstrings_say_of_the_start() -> None:
    rms = {name: value.square().mean().sqrt().item() for name, value in (
        ("classes", network(conditioning="all_tokens").conditioning.label.weight.detach()),
        ("learned", network(temporal_position="learned").temporal_position.table.detach()),
        ("alike", network(temporal_position={"name": "learned", "std": 0.7}).temporal_position.table.detach()),
        ("absolute", network().temporal_position.table),
    )}  # fmt: skip
    # Over n draws the rms differs from the deviation by 1 / sqrt(2 n): 3 % for 512 draws; five times that is 16 %.
    expected = {"classes": 0.02, "learned": 0.02, "alike": 0.7, "absolute": 0.5**0.5}
    assert rms == pytest.approx(expected, rel=0.16)


@pytest.mark.parametrize(
    ("slot", "name", "default", "other", "pinned"),
    [
        ("conditioning", "all_tokens", {"zero_init": False, "token_scale": 1.0}, {"zero_init": True}, "7a18c8cd97"),
        ("temporal_position", "learned", {"std": 0.02}, {"std": 0.7}, "7151583d1d"),
    ],
)
def test_defaults_keep_every_identity(
    slot: str, name: str, default: dict[str, Any], other: dict[str, Any], pinned: str
) -> None:
    """Pinned before the parameters were there."""
    small = {
        "model": {"width": 16, "heads": 2, "depth": 2, "classes": 2},
        "data": {"resolution": 16, "frames": 4, "interval": 1, "autoencoder": {"name": "pixels", "factor": 4}},
    }
    found = []
    for choice in (name, {"name": name, **default}, {"name": name, **other}):
        raw = copy.deepcopy(small)
        raw["model"][slot] = choice
        found.append(resolved(raw).identity)
    assert found[0] == found[1] == pinned != found[2]


def test_both_readings_of_conditioning_by_tokens_are_arms() -> None:
    arms, claims = resolve_experiment(load_experiment(ROOT / "experiments" / "latte" / "conditioning.yaml"))
    parameters = [arm.spec.model.conditioning.parameters for arm in arms]
    assert parameters == [{}, {}, {"zero_init": True, "token_scale": 10.0}]
    assert [claim.labels[1] for claim in claims] == ["all_tokens", "all_tokens(zero_init=true,token_scale=10)"]


def test_a_part_cannot_leave_out_a_parameter_that_it_has_not(tmp_path, monkeypatch) -> None:
    """A fact of plug-ins too, so it is checked where parts are read."""
    text = '''
from components.model.conditioning import SAdaLN
from registry.parts.catalogue import part


@part("conditioning", "wrong")
class Wrong(SAdaLN):
    """Nothing.

    Source: none
    Official code: no
    """

    only_if_said = ("zeroinit",)
'''
    (tmp_path / "wrong_part.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpecError, match=r"only_if_said.*no parameter zeroinit"):
        catalogue(("wrong_part",)).find("conditioning", "wrong")
    assert isinstance(catalogue(), Catalogue)
