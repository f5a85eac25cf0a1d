"""What objectives tell the trainer: times, noised latents and losses."""

from typing import Any

import pytest
import torch
from torch import Tensor

from components.diffusion.noise_schedules import Cosine, Linear, Straight
from components.diffusion.objectives import EpsilonLearnedSigma, FlowMatching, VPrediction, X0Prediction
from registry.errors import SpecError

OBJECTIVES: list[Any] = [
    EpsilonLearnedSigma(Linear()),
    EpsilonLearnedSigma(Cosine(), loss="bound"),
    VPrediction(Cosine()),
    X0Prediction(Cosine()),
    FlowMatching(Straight()),
]
every = pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.part_name)


def batch(objective: Any, size: int = 5, channels: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x0, noise = (torch.randn(size, 2, channels, 4, 4, generator=generator) for _ in range(2))
    t = objective.draw_times(size, generator)
    output = torch.randn(size, 2, objective.output_channels(channels), 4, 4, generator=generator)
    return {"model_output": output, "x0": x0, "x_t": objective.noised(x0, t, noise), "t": t, "noise": noise}


def perfect_output(objective: Any, given: dict[str, Tensor]) -> Tensor:
    if isinstance(objective, FlowMatching):
        return given["noise"] - given["x0"]
    if isinstance(objective, X0Prediction):
        return given["x0"]
    if isinstance(objective, VPrediction):
        a = objective.tables.gather("sqrt_alphas_cumprod", given["t"])
        s = objective.tables.gather("sqrt_one_minus_alphas_cumprod", given["t"])
        return a * given["noise"] - s * given["x0"]
    return torch.cat([given["noise"], torch.full_like(given["noise"], -1.0)], dim=2)


@every
def test_the_right_answer_has_the_least_loss(objective: Any) -> None:
    given = batch(objective)
    perfect = given | {"model_output": perfect_output(objective, given)}
    ours, random = objective.losses(**perfect), objective.losses(**given)
    assert ours["loss"].shape == (5,)
    assert (ours["loss"] < random["loss"]).all()
    if "mse" in ours:
        assert ours["mse"].max() < 1e-8


@every
def test_losses_are_per_sample_and_float32(objective: Any) -> None:
    given = batch(objective)
    together = objective.losses(**given)
    for k in range(5):
        alone = objective.losses(**{name: value[k : k + 1] for name, value in given.items()})
        for name in together:
            torch.testing.assert_close(alone[name][0], together[name][k])
    half = objective.losses(**(given | {"model_output": given["model_output"].bfloat16()}))
    exact = objective.losses(**(given | {"model_output": given["model_output"].bfloat16().float()}))
    for name, value in half.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, exact[name])


@every
def test_losses_are_float32_under_autocast(objective: Any) -> None:
    given = batch(objective)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = objective.losses(**given)
    plain = objective.losses(**given)
    for name, value in under.items():
        assert torch.equal(value, plain[name])


@every
def test_times_are_reproducible_and_cover_the_process(objective: Any) -> None:
    first, second = (objective.draw_times(4000, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (4000,)
    told = objective.network_time(first).float()
    assert told.min() >= 0
    assert told.max() < 1000
    assert told.mean() == pytest.approx(500, abs=25)
    if isinstance(objective, FlowMatching):
        assert first.dtype == torch.float32
        assert 0 < first.min() < first.max() < 1
    else:
        assert first.dtype == torch.int64
        assert (first.min(), first.max()) == (0, 999)


@every
def test_bands_go_from_low_noise_to_high(objective: Any) -> None:
    times = objective.band_times(4, 3)
    assert times.shape == (4, 3)
    assert torch.equal(times, objective.band_times(4, 3))
    told = objective.network_time(times.flatten()).float()
    assert (told.diff() > 0).all()
    for band, values in enumerate(told.view(4, 3)):
        assert ((values >= 250 * band) & (values < 250 * (band + 1))).all()
    x0 = torch.zeros(12, 1, 1, 8, 8)
    noise = torch.ones_like(x0)
    assert (objective.noised(x0, times.flatten(), noise).flatten(1).mean(1).diff() > 0).all()


def test_the_bound_leaves_the_noise_estimate_alone_unless_it_is_the_whole_loss() -> None:
    given = batch(OBJECTIVES[0])
    for objective, moved in ((OBJECTIVES[0], False), (EpsilonLearnedSigma(Linear(), loss="bound"), True)):
        output = given["model_output"].clone().requires_grad_()
        objective.losses(**(given | {"model_output": output}))["vb"].mean().backward()
        assert output.grad is not None
        assert bool(output.grad[:, :, :3].abs().max() > 0) is moved
        assert output.grad[:, :, 3:].abs().max() > 0


def test_the_weight_of_the_bound() -> None:
    given = batch(OBJECTIVES[0])
    full, light = (EpsilonLearnedSigma(Linear(), vb_weight=weight).losses(**given) for weight in (1.0, 0.001))
    torch.testing.assert_close(light["loss"], full["mse"] + 0.001 * full["vb"])
    torch.testing.assert_close(light["vb"], full["vb"] * 0.001)


def test_x0_has_the_loss_of_v_down_to_a_least_share_of_noise() -> None:
    """The same estimate as v and as x0 costs the same, but where there is hardly any noise."""
    v, x0 = VPrediction(Linear()), X0Prediction(Linear())
    given = batch(x0, 6) | {"t": torch.tensor([0, 5, 30, 60, 500, 999])}
    given["x_t"] = x0.noised(given["x0"], given["t"], given["noise"])
    estimate = x0.predicted_x0(x0.tables, given["model_output"], given["x_t"], given["t"])
    a, s = (x0.tables.gather(f"sqrt_{name}", given["t"]) for name in ("alphas_cumprod", "one_minus_alphas_cumprod"))
    as_v = (a * given["x_t"] - estimate) / s
    ratio = x0.losses(**given)["loss"] / v.losses(**(given | {"model_output": as_v}))["loss"]
    expected = (s.flatten() / 0.05).clamp(max=1) ** 2
    assert (expected < 1).tolist() == [True, True, False, False, False, False]
    torch.testing.assert_close(ratio, expected, rtol=1e-3, atol=0)  # as_v divides by s, down to 0.01, and squares


def test_wrong_channels_are_refused() -> None:
    given = batch(OBJECTIVES[0])
    with pytest.raises(ValueError, match="channels"):
        OBJECTIVES[0].losses(**(given | {"model_output": given["model_output"][:, :, :5]}))


@pytest.mark.parametrize(
    ("objective", "schedule"),
    [
        (EpsilonLearnedSigma, Straight),
        (VPrediction, Straight),
        (X0Prediction, Straight),
        (FlowMatching, Linear),
        (FlowMatching, Cosine),
    ],
)
def test_illegal_noise_schedules_are_refused_by_name(objective: Any, schedule: Any) -> None:
    with pytest.raises(SpecError) as refusal:
        objective(schedule())
    for word in (objective.part_name, schedule.part_name, objective.because, *objective.noise_schedules):
        assert word in str(refusal.value)


@pytest.mark.parametrize("drawn", [0.0, 1.0])
def test_flow_times_never_reach_the_ends(drawn: float) -> None:
    t = FlowMatching(Straight()).times_at(torch.full((3,), drawn))
    assert 0 < t.min() <= t.max() < 1


def test_a_flow_tells_thousandths() -> None:
    assert OBJECTIVES[-1].network_time(torch.tensor([0.25, 1.0])).tolist() == [250.0, 1000.0]
