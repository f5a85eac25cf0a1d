"""Item 10 of the golden fixtures: optimiser steps, with the loop's own functions."""

from typing import Any

import pytest
import torch
from torch import Tensor

from components.diffusion.noise_schedules import Linear
from components.diffusion.objectives import EpsilonLearnedSigma
from components.learning.ema import EMA
from components.model.checkpoints import from_official, to_official
from components.model.conditioning import drop_labels
from experiments.training.losses import Batch, losses_of
from experiments.training.trainer import take_step
from tests.fixtures.networks import official_network, prefixed
from tests.parity import rounding

# What `test_first_gradients` allows a gradient to differ by, in units of the largest of its tensor.
GRADIENT_NOISE = 1e-5


class Allowance:
    """What rounding can move each weight by, collected from the gradients as the optimiser sees them.

    AdamW moves a weight by lr m / (sqrt(v) + eps), m and v being averages of its gradients and of their squares. Where
    every gradient may be off by d, m is off by d at most and so is sqrt(v); since m is not larger than sqrt(v) (by the
    Cauchy-Schwarz inequality, but for 1 % at these betas and few steps), the quotient is off by 2 d / (sqrt(v) + eps).
    Nor can it be off by more than 2, from -1 to 1: that is where a gradient is all rounding. Each update is then
    rounded by half a unit in the last place of the weight, here and there.
    """

    def __init__(self, network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
        self.of = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
        self._parameters = dict(network.named_parameters())
        self._noise = dict.fromkeys(self.of, 0.0)
        optimiser.register_step_pre_hook(lambda *_: self._look_at_gradients())
        optimiser.register_step_post_hook(lambda *_: self._add_step(optimiser))

    def _look_at_gradients(self) -> None:
        for name, p in self._parameters.items():
            if p.grad is not None:
                self._noise[name] = max(self._noise[name], GRADIENT_NOISE * p.grad.abs().max().item())

    def _add_step(self, optimiser: torch.optim.Optimizer) -> None:
        group = optimiser.param_groups[0]
        for name, p in self._parameters.items():
            if state := optimiser.state.get(p):
                spread = (state["exp_avg_sq"] / (1 - group["betas"][1] ** state["step"])).sqrt() + group["eps"]
                moved = group["lr"] * (2 * self._noise[name] / spread).clamp(max=2)
                self.of[name] += moved + rounding.EPS * p.detach().abs()


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
        allowance = Allowance(network, optimiser)
        self.logged: dict[str, list[Tensor]] = {"loss": [], "mse": [], "vb": [], "grad_norm": []}
        self.first_gradients: dict[str, Tensor] = {}
        for step in range(about["steps"]):
            x0, t, noise = (tensors[f"in/{name}"][step] for name in ("x0", "t", "noise"))
            terms = losses_of(objective, network, Batch(x0, t, noise))
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
        self.allowed = {**self.model, **allowance.of}


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
        torch.testing.assert_close(own[name], value, rtol=0, atol=GRADIENT_NOISE * scale)


@pytest.mark.parametrize("which", ["model", "ema"])
def test_final_weights(compared: Any, which: str, golden: Any) -> None:
    run, expected, about = compared
    own = to_official(run.model if which == "model" else run.average)
    start = from_official(prefixed(golden.tensors(about["weights"].split()[0]), "sd"))
    kept = prefixed(prefixed(expected, "final"), which)
    assert set(kept) == set(about["tensors_kept"])
    allowed = to_official(run.allowed)
    for name, value in kept.items():
        ours, theirs, bound = (without_key_bias(name, tensor) for tensor in (own[name], value, allowed[name]))
        if which == "ema":  # each step adds 1 - decay of the difference, and rounds product and sum, here and there
            bound = about["steps"] * ((1 - about["ema_decay"]) * bound + 2 * rounding.EPS * theirs.abs())
        off = (ours - theirs).abs() / bound
        assert off.max() <= 1, f"{name}: off by {off.max():.3g} times what rounding allows"
        assert which == "ema" or not torch.equal(theirs, without_key_bias(name, to_official(start)[name]))


def test_skipping_the_first_step_shows(golden: Any) -> None:
    tensors = golden.tensors("train_steps")
    name = golden.config("train_steps")["tensors_kept"][-1]
    clean, skipped = (tensors[f"{kind}/final/model/{name}"] for kind in ("clean", "first_step_skipped"))
    own = to_official(Run(golden, first_step_skipped=False).model)[name]
    assert (own - clean).abs().max() < 0.1 * (skipped - clean).abs().max()


class AtTheInput(EpsilonLearnedSigma):
    """An objective whose noised latents are the fixture's input, and which keeps the network's output."""

    output: list[Tensor]

    def noised(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        return x0

    def losses(self, model_output: Tensor, *given: Tensor) -> dict[str, Tensor]:
        self.output.append(model_output)
        return super().losses(model_output, *given)


@pytest.mark.parametrize(
    ("name", "out"),
    [("latte_img_joint", "out"), ("latte_img_joint_class", "out/no_drop"), ("latte_img_joint_class", "out/drop")],
)
def test_joint_training_asks_the_joint_network(golden: Any, name: str, out: str) -> None:
    """Item 3: what the training loss is computed of is the fixture's output, and the mean is over all its frames."""
    tensors, config = golden.tensors(name), golden.config(name)["config"]
    network = official_network(config, prefixed(tensors, "sd"))
    x, labels, still_labels = tensors["in/x"], tensors.get("in/y"), tensors.get("in/y_image")
    if out == "out/drop":
        assert network.null_label is not None
        drops = (network.null_label, config["class_dropout_prob"])
        labels = drop_labels(labels, *drops, tensors["drop/u_video"])
        still_labels = drop_labels(still_labels, *drops, tensors["drop/u_image"])
    objective, noise = AtTheInput(Linear()), torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    objective.output = []
    stills = x.shape[1] - config["num_frames"]
    with torch.no_grad():
        terms = losses_of(objective, network, Batch(x, tensors["in/t"], noise, labels, still_labels, stills))
    asked = torch.cat(objective.output, dim=1)
    torch.testing.assert_close(asked, tensors[out], atol=1e-5, rtol=0)
    whole = EpsilonLearnedSigma(Linear()).losses(tensors[out], x, x, tensors["in/t"], noise)
    for term, values in whole.items():
        torch.testing.assert_close(terms[term], values, rtol=2e-5, atol=1e-5)
    share = stills / x.shape[1]
    torch.testing.assert_close(terms["loss"], (1 - share) * terms["loss_clips"] + share * terms["loss_stills"])
