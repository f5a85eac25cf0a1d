"""How samplers behave towards their callers: times told, noise drawn, refusals, determinism."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from components.diffusion.noise_schedules import Cosine, Linear, Straight
from components.diffusion.objectives import EpsilonLearnedSigma, FlowMatching, VPrediction, X0Prediction
from components.diffusion.samplers import DDIM, DDPM, DPMSolverPP, Euler, UniPC
from registry.errors import SpecError

EPSILON, V, FLOW = EpsilonLearnedSigma(Linear()), VPrediction(Linear()), FlowMatching(Straight())
X0 = X0Prediction(Linear())
SAMPLERS: list[Any] = [
    DDPM(EPSILON, steps=6),
    DDIM(EPSILON, steps=6),
    DDIM(V, steps="ddim5", eta=0.7),
    DPMSolverPP(EPSILON, steps=6),
    UniPC(V, steps=6),
    DDPM(X0, steps=6),
    DDIM(X0, steps=6),
    DPMSolverPP(X0, steps=6),
    UniPC(X0, steps=6),
    DPMSolverPP(FLOW, steps=6),
    UniPC(FLOW, steps=6),
    Euler(FLOW, steps=6),
]


def network_of(sampler: Any) -> Any:
    """A smooth stand-in for a network with as many output channels as the objective asks for."""
    repeats = sampler._objective.output_channels(4) // 4

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        assert t.shape == (len(x),)
        estimate = torch.tanh(x + 0.001 * t.float().view(-1, 1, 1, 1, 1))
        return torch.cat([estimate] * repeats, dim=2)

    return denoise


def noises(seed: int, batch: int) -> tuple[Tensor, Any]:
    """Start noise and step noise, each sample with its own random stream."""
    streams = [torch.Generator().manual_seed(seed + k) for k in range(batch)]

    def draw() -> Tensor:
        return torch.stack([torch.randn(2, 4, 3, 3, generator=stream) for stream in streams])

    return draw(), draw


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: f"{s.part_name}-{s._objective.part_name}")
def test_deterministic_and_independent_of_the_batch(sampler: Any) -> None:
    denoise = network_of(sampler)
    results = [sampler.sample(denoise, *noises(0, batch)) for batch in (3, 3, 1)]
    assert results[0].isfinite().all()
    assert torch.equal(results[0], results[1])
    torch.testing.assert_close(results[0][:1], results[2], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(results[0][0], results[0][1], atol=1e-2)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: f"{s.part_name}-{s._objective.part_name}")
def test_steps_are_reported_with_falling_times(sampler: Any) -> None:
    told: list[float] = []
    reported: list[tuple[int, float]] = []
    denoise = network_of(sampler)

    def watched(x: Tensor, t: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        told.append(float(t[0]))
        return denoise(x, t)

    last: list[Tensor] = []

    def on_step(k: int, x: Tensor, t: Tensor) -> None:
        reported.append((k, float(t[0])))
        last[:] = [x]

    final = sampler.sample(watched, *noises(0, 2), on_step=on_step)
    assert torch.equal(final, last[0])
    assert reported == list(enumerate(told))
    assert all(after < before for before, after in itertools.pairwise(told))
    assert told[0] > 700
    assert len(told) in (5, 6)


def test_noise_is_drawn_at_every_step_by_the_samplers_of_the_reference() -> None:
    noise, draw = noises(0, 2)
    for sampler, expected in ((DDPM(V, steps=7), 7), (DDIM(V, steps=7), 7), (DPMSolverPP(V, steps=7), 0)):
        drawn: list[Tensor] = []

        def count(drawn: list[Tensor] = drawn) -> Tensor:
            drawn.append(draw())
            return drawn[-1]

        sampler.sample(network_of(sampler), noise, count)
        assert len(drawn) == expected


def test_step_noise_does_not_matter_to_deterministic_ddim_and_is_needed_by_the_others() -> None:
    noise, draw = noises(0, 2)
    ddim = DDIM(V, steps=5)
    assert torch.equal(ddim.sample(network_of(ddim), noise), ddim.sample(network_of(ddim), noise, draw))
    for sampler in (DDPM(V, steps=5), DDIM(V, steps=5, eta=0.1)):
        with pytest.raises(ValueError, match="step_noise"):
            sampler.sample(network_of(sampler), noise)


@pytest.mark.parametrize("schedule", [Linear(), Cosine()])
@pytest.mark.parametrize("steps", [2, 25])
def test_ddim_as_noisy_as_ddpm_is_finite(schedule: Any, steps: int) -> None:
    """At eta 1 and few steps all of a step may be noise, and rounding puts what is left of the rest below zero."""
    noise, draw = noises(0, 2)
    sampler = DDIM(VPrediction(schedule), steps=steps, eta=1.0)
    assert sampler.sample(network_of(sampler), noise, draw).isfinite().all()


def test_the_last_step_adds_no_noise() -> None:
    noise, _ = noises(0, 2)
    sampler = DDPM(V, steps=3)
    values = iter([torch.zeros_like(noise), torch.zeros_like(noise), torch.full_like(noise, float("nan"))])
    assert sampler.sample(network_of(sampler), noise, values.__next__).isfinite().all()


@pytest.mark.parametrize("sampler", [DDPM, DDIM])
def test_clipping_keeps_the_result_in_range(sampler: Any) -> None:
    noise, draw = noises(0, 2)
    far = lambda x, t: -5.0 * torch.ones_like(x)  # noqa: E731  v that implies large x0
    free, clipped = (sampler(V, steps=10, clip_denoised=clip).sample(far, noise, draw) for clip in (False, True))
    assert free.abs().max() > 1.5
    assert clipped.abs().max() <= 1.0 + 1e-5


def test_half_precision_outputs_leave_float32_arithmetic() -> None:
    noise, draw = noises(0, 2)
    for sampler in SAMPLERS:
        denoise = network_of(sampler)
        half = sampler.sample(lambda x, t, d=denoise: d(x, t).bfloat16(), noise.bfloat16(), draw)
        assert half.dtype == torch.float32


@pytest.mark.parametrize("steps", [250, "250", " 250 "])
def test_steps_as_number_or_text(steps: int | str) -> None:
    times: list[int] = []
    noise, draw = noises(0, 1)
    sampler = DDPM(V, steps=steps)
    sampler.sample(network_of(sampler), noise, draw, on_step=lambda k, x, t: times.append(int(t[0])))
    assert (len(times), times[0], times[-1]) == (250, 999, 0)


@pytest.mark.parametrize(
    ("sampler", "objective"), [(DDPM, FLOW), (DDIM, FLOW), (Euler, EPSILON), (Euler, V), (Euler, X0)]
)
def test_illegal_pairs_are_refused_by_name(sampler: Any, objective: Any) -> None:
    with pytest.raises(SpecError) as refusal:
        sampler(objective)
    for word in (sampler.part_name, objective.part_name, sampler.because, *sampler.objectives):
        assert word in str(refusal.value)


def test_impossible_steps_are_refused_when_the_sampler_is_made() -> None:
    for make in (lambda: DDPM(V, steps=1001), lambda: DDIM(V, steps="ddim251"), lambda: DDIM(V, steps="ten")):
        with pytest.raises(SpecError, match="steps"):
            make()
    for solver in (DPMSolverPP, UniPC):
        with pytest.raises(SpecError, match="at most"):
            solver(VPrediction(Cosine(steps=30)), steps=31)


@pytest.mark.parametrize("solver", [DPMSolverPP, UniPC])
def test_solvers_take_any_possible_number_of_steps(solver: Any) -> None:
    noise, _ = noises(0, 1)
    few = VPrediction(Linear(steps=40, beta_end=0.015))  # all 40 hold data
    for steps in (1, 2, 3, 20, 40):
        times: list[int] = []
        sampler = solver(few, steps=steps)
        x = sampler.sample(network_of(sampler), noise, on_step=lambda k, x, t, seen=times: seen.append(int(t[0])))
        assert x.isfinite().all()
        assert len(set(times)) == steps
        assert times == sorted(times, reverse=True)
    assert times == list(range(39, -1, -1))


@pytest.mark.parametrize("objective", [EpsilonLearnedSigma, VPrediction])
@pytest.mark.parametrize("sampler_class", [DDPM, DDIM, DPMSolverPP, UniPC])
def test_the_noise_is_not_asked_for_where_it_says_nothing_of_the_data(objective: Any, sampler_class: Any) -> None:
    """The cosine schedule's last betas are capped at 0.999: hardly anything of x0 is left there."""
    cosine = objective(Cosine())
    times: list[int] = []
    noise, draw = noises(0, 1)
    sampler = sampler_class(cosine)
    sampler.sample(network_of(sampler), noise, draw, on_step=lambda k, x, t: times.append(int(t[0])))
    if objective is VPrediction and sampler_class in (DDPM, DDIM):  # x0 follows from v without a division
        assert times[0] == 999
    else:
        assert times[0] == 995
        assert cosine.tables.sqrt_alphas_cumprod[995] > 5e-3 > cosine.tables.sqrt_alphas_cumprod[996]
    assert times[-1] == 0
    linear = objective(Linear())
    assert linear.tables.with_data() is linear.tables  # the reference's process is walked as it is


def test_more_steps_than_hold_data_are_refused_with_the_number_that_do() -> None:
    cosine = EpsilonLearnedSigma(Cosine())
    assert DDPM(cosine, steps=996)
    for steps in (997, "ddim250"):
        with pytest.raises(SpecError, match="996 of this process's 1000 timesteps"):
            DDIM(cosine, steps=steps)
    ignored = np.errstate(all="ignore")  # so steep a process underflows in its later tables
    with ignored, pytest.raises(SpecError, match="the data are gone after its first step"):
        DDIM(EpsilonLearnedSigma(Linear(beta_start=0.99999, beta_end=0.99999)), steps=1)


@pytest.mark.parametrize("objective", [EPSILON, V, X0, FLOW], ids=lambda o: o.part_name)
@pytest.mark.parametrize("solver", [DPMSolverPP, UniPC])
def test_one_step_returns_the_estimate_of_x0(solver: Any, objective: Any) -> None:
    """With one step no multistep formula is left: the result is the x0 that the output implies at the first level."""
    noise, _ = noises(0, 1)
    seen: list[tuple[Tensor, Tensor]] = []
    sampler = solver(objective, steps=1)
    denoise = network_of(sampler)

    def watched(x: Tensor, t: Tensor) -> Tensor:
        seen.append((denoise(x, t), t))
        return seen[-1][0]

    x = sampler.sample(watched, noise)
    ((output, t),) = seen
    if objective is FLOW:
        expected = noise - (t / 1000) * output
    else:
        expected = objective.predicted_x0(objective.tables, output, noise, t)
    torch.testing.assert_close(x, expected, rtol=1e-3, atol=1e-3)


def test_euler_visits_even_times_from_pure_noise_and_is_exact_on_a_straight_path() -> None:
    noise, _ = noises(0, 2)
    times: list[float] = []
    x = Euler(FLOW, steps=4).sample(
        lambda x, t: torch.full_like(x, 0.25), noise, on_step=lambda k, x, t: times.append(float(t[0]))
    )
    assert times == [1000.0, 750.0, 500.0, 250.0]
    torch.testing.assert_close(x, noise - 0.25)
