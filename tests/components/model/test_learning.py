"""The average of weights, and learning rates."""

import pytest
import torch

from components.learning.ema import EMA
from components.learning.lr_schedules import Constant, Cosine, WarmUp
from tests.fixtures.toy_networks import inputs, toy_network


def test_the_average_follows_by_its_decay() -> None:
    network = torch.nn.Linear(3, 2)
    ema, expected = EMA(network, 0.8), {name: p.detach().clone() for name, p in network.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        ema.update(network)
        expected = {name: 0.8 * expected[name] + 0.2 * p.detach() for name, p in network.named_parameters()}
    for name, value in ema.state_dict().items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_ends_of_the_decay(decay: float) -> None:
    network = torch.nn.Linear(3, 2)
    ema, start = EMA(network, decay), network.weight.detach().clone()
    with torch.no_grad():
        network.weight.add_(1.0)
    ema.update(network)
    assert torch.equal(ema.state_dict()["weight"], start if decay else network.weight.detach())


def test_the_average_is_of_learned_weights_and_survives_its_state() -> None:
    network = toy_network(temporal_position="absolute")
    ema = EMA(network, 0.5)
    assert set(ema.state_dict()) == {name for name, _ in network.named_parameters()}
    assert "spatial_position" not in ema.state_dict()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    ema.update(network)
    again = EMA(toy_network(7), 0.5)
    again.load_state_dict({name: value.clone() for name, value in ema.state_dict().items()})
    again.copy_to(other := toy_network(8))
    averaged = toy_network()  # the same seed: the weights before they were doubled
    with torch.no_grad():
        for parameter in averaged.parameters():
            parameter.mul_(1.5)
        x, t, *_ = inputs(network)
        torch.testing.assert_close(other(x, t), averaged(x, t))


def test_the_average_does_not_hang_on_the_model() -> None:
    network = torch.nn.Linear(3, 2)
    ema = EMA(network, 0.9)
    before = ema.state_dict()["weight"].clone()
    with torch.no_grad():
        network.weight.zero_()
    assert torch.equal(ema.state_dict()["weight"], before)
    assert not ema.state_dict()["weight"].requires_grad


def test_constant() -> None:
    assert {Constant(10).factor(step) for step in range(10)} == {1.0}


def test_warm_up_rises_and_stays() -> None:
    factors = [WarmUp(10, warm_up_steps=4).factor(step) for step in range(10)]
    assert factors == [0.25, 0.5, 0.75, 1.0] + 6 * [1.0]


@pytest.mark.parametrize("final", [0.0, 0.1])
@pytest.mark.parametrize("warm_up", [1, 4])
def test_cosine_rises_and_falls_to_its_end(warm_up: int, final: float) -> None:
    schedule = Cosine(20, warm_up_steps=warm_up, final=final)
    factors = [schedule.factor(step) for step in range(20)]
    assert factors[warm_up - 1] == 1.0
    assert factors[-1] == pytest.approx(final)
    assert factors[:warm_up] == sorted(factors[:warm_up])
    assert factors[warm_up - 1 :] == sorted(factors[warm_up - 1 :], reverse=True)
    middle = schedule.factor(warm_up - 1 + (20 - warm_up) // 2) if (20 - warm_up) % 2 == 0 else None
    assert middle is None or middle == pytest.approx((1 + final) / 2)


def test_a_warm_up_longer_than_the_run_only_rises() -> None:
    factors = [Cosine(3, warm_up_steps=6).factor(step) for step in range(3)]
    assert factors == pytest.approx([1 / 6, 2 / 6, 3 / 6])
