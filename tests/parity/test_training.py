"""Item 10 of the golden fixtures: optimiser steps, with the loop's own functions."""

from typing import Any

import pytest
import torch
from torch import Tensor

from components.diffusion.noise_schedules import Linear
from components.diffusion.objectives import EpsilonLearnedSigma
from components.learning.ema import EMA
from components.model.checkpoints import from_official, to_official
from experiments.training.trainer import losses_of, take_step
from tests.fixtures.networks import official_network, prefixed

# AdamW divides by the root of the squared gradients, so a gradient near zero moves its weight by up to a learning
# rate a step, whatever its rounding: weights are compared in units of what they can move.
STEP_SHARE = 0.02


class Run:
    """A loop over the fixture's batches: what it logged, its first gradients, the weights and average at its end."""

    def __init__(self, golden: Any, *, first_step_skipped: bool) -> None:
        about, tensors = golden.config("train_steps"), golden.tensors("train_steps")
        start = about["weights"].split()[0]  # the fixture whose weights training starts from
        network = official_network(golden.config(start)["config"], prefixed(golden.tensors(start), "sd")).train()
        objective, ema = EpsilonLearnedSigma(Linear()), EMA(network, about["ema_decay"])
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=about["lr"], betas=tuple(about["betas"]), eps=about["eps"],
            weight_decay=about["weight_decay"], fused=True,
        )  # fmt: skip
        self.logged: dict[str, list[Tensor]] = {"loss": [], "mse": [], "vb": [], "grad_norm": []}
        self.first_gradients: dict[str, Tensor] = {}
        for step in range(about["steps"]):
            x0, t, noise = (tensors[f"in/{name}"][step] for name in ("x0", "t", "noise"))
            terms = losses_of(objective, network, x0, t, noise, None)
            terms["loss"].mean().backward()
            for name in ("loss", "mse", "vb"):
                self.logged[name].append(terms[name].detach())
            clip_norm = about["max_norm"] if step >= about["clip_from"] else None
            if step == 0:
                self.first_gradients = {
                    name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None
                }
            if step == 0 and first_step_skipped:  # the reference's defect: nothing is applied, and gradients stay
                self.logged["grad_norm"].append(torch.nn.utils.get_total_norm(list(self.first_gradients.values())))
                ema.update(network)
            else:
                self.logged["grad_norm"].append(take_step(network, optimiser, ema, clip_norm))
        self.model, self.average = network.state_dict(), ema.state_dict()
        self.moved = about["steps"] * about["lr"]


@pytest.fixture(scope="module", params=["clean", "first_step_skipped"])
def compared(request: pytest.FixtureRequest, golden: Any) -> tuple[Run, dict[str, Tensor], dict[str, Any]]:
    run = Run(golden, first_step_skipped=request.param == "first_step_skipped")
    return run, prefixed(golden.tensors("train_steps"), request.param), golden.config("train_steps")


def without_key_bias(name: str, value: Tensor) -> Tensor:
    """The key third of a qkv bias has no influence: AdamW moves it by rounding noise alone."""
    return torch.cat([value[: len(value) // 3], value[2 * len(value) // 3 :]]) if name.endswith("qkv.bias") else value


def test_losses_and_gradient_norms(compared: Any) -> None:
    run, expected, _ = compared
    for name, values in run.logged.items():
        if name in expected:
            torch.testing.assert_close(torch.stack(values), expected[name], rtol=2e-5, atol=1e-5)
    assert {"loss", "grad_norm"} <= set(expected)


def test_first_gradients(compared: Any) -> None:
    run, expected, _ = compared
    own = to_official(run.first_gradients)
    for name, value in prefixed(expected, "step0_grad").items():
        scale = float(value.abs().max())
        torch.testing.assert_close(own[name], value, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("which", ["model", "ema"])
def test_final_weights(compared: Any, which: str, golden: Any) -> None:
    run, expected, about = compared
    own = to_official(run.model if which == "model" else run.average)
    start = from_official(prefixed(golden.tensors(about["weights"].split()[0]), "sd"))
    kept = prefixed(prefixed(expected, "final"), which)
    assert set(kept) == set(about["tensors_kept"])
    atol = STEP_SHARE * run.moved * (1 if which == "model" else (1 - about["ema_decay"]) * about["steps"])
    for name, value in kept.items():
        ours, theirs = without_key_bias(name, own[name]), without_key_bias(name, value)
        # An average that hardly moves is rounded once a step, here and there.
        rounding = about["steps"] * torch.finfo(torch.float32).eps * float(value.abs().max())
        torch.testing.assert_close(ours, theirs, rtol=0, atol=atol + rounding)
        assert which == "ema" or not torch.equal(theirs, without_key_bias(name, to_official(start)[name]))


def test_skipping_the_first_step_shows(golden: Any) -> None:
    tensors = golden.tensors("train_steps")
    name = golden.config("train_steps")["tensors_kept"][-1]
    clean, skipped = (tensors[f"{kind}/final/model/{name}"] for kind in ("clean", "first_step_skipped"))
    own = to_official(Run(golden, first_step_skipped=False).model)[name]
    assert (own - clean).abs().max() < 0.1 * (skipped - clean).abs().max()
