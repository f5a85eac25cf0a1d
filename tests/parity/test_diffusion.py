"""Section 4 of the golden specification: tables, process, losses and sampling trajectories of the reference.

Every size, timestep, spacing and name comes from the fixtures.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from components.diffusion import process
from components.diffusion.guidance import classifier_free_guidance, guided
from components.diffusion.hybrid_loss import Target, bound_loss, hybrid_loss
from components.diffusion.likelihood import discretized_gaussian_log_likelihood, normal_kl, prior_bpd
from components.diffusion.noise_schedules import Cosine, Linear
from components.diffusion.objectives import EpsilonLearnedSigma
from components.diffusion.respacing import respaced_timesteps
from components.diffusion.samplers import DDIM, DDPM
from components.diffusion.tables import DiffusionTables


@pytest.fixture(scope="module")
def tables(golden: Any) -> dict[str, Tensor]:
    return golden.tensors("diffusion_tables")


@pytest.fixture(scope="module")
def fixture(golden: Any) -> dict[str, Tensor]:
    return golden.tensors("diffusion_process")


@pytest.fixture(scope="module")
def sampling(golden: Any) -> dict[str, Tensor]:
    return golden.tensors("diffusion_sampling")


@pytest.fixture(scope="module")
def objective() -> EpsilonLearnedSigma:
    return EpsilonLearnedSigma(Linear())


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def assert_tables(ours: DiffusionTables, reference: dict[str, Tensor]) -> None:
    assert reference
    for name, expected in reference.items():
        np.testing.assert_allclose(getattr(ours, name), expected.numpy(), rtol=1e-12, atol=0, err_msg=name)


# -- tables ------------------------------------------------------------------------------------------------------------


def test_full_tables(tables: dict[str, Tensor]) -> None:
    steps = len(tables["full/betas"])
    assert_tables(DiffusionTables.from_betas(Linear(steps=steps).betas()), under(tables, "full/"))
    assert_tables(DiffusionTables.from_betas(Cosine(steps=steps).betas()), under(tables, "cosine/"))


def test_spaced_tables(tables: dict[str, Tensor], golden: Any) -> None:
    full = DiffusionTables.from_betas(Linear(steps=len(tables["full/betas"])).betas())
    for spec, facts in golden.config("diffusion_tables")["spacings"].items():
        spaced = full.respaced(spec)
        assert_tables(spaced, under(tables, f"spaced_{spec.replace(',', '-')}/"))
        assert (spaced.num_timesteps, spaced.timestep_map[0], spaced.timestep_map[-1]) == (
            facts["steps"],
            facts["first"],
            facts["last"],
        )


def test_timestep_maps(tables: dict[str, Tensor]) -> None:
    maps = under(tables, "maps_only/")
    assert maps
    for spec, expected in maps.items():
        assert respaced_timesteps(len(tables["full/betas"]), spec.replace("-", ",")) == expected.tolist()


# -- process -----------------------------------------------------------------------------------------------------------


def assert_values(ours: Tensor, expected: Tensor, rtol: float = 1e-5, atol: float = 2e-6) -> None:
    torch.testing.assert_close(ours.reshape(expected.shape), expected, rtol=rtol, atol=atol)


def test_q_sample_and_posterior(fixture: dict[str, Tensor], objective: EpsilonLearnedSigma) -> None:
    x0, noise, t = fixture["x0"], fixture["noise"], fixture["t"]
    x_t = objective.noised(x0, t, noise)
    assert_values(x_t, fixture["q_sample"])
    posterior = process.q_posterior(objective.tables, x0, x_t, t)
    assert_values(posterior.mean, fixture["q_posterior/mean"])
    assert_values(posterior.log_variance, fixture["q_posterior/log_variance"])
    assert_values(objective.tables.gather("posterior_variance", t), fixture["q_posterior/variance"], atol=1e-12)


def reverse_step(
    objective: EpsilonLearnedSigma, tables: DiffusionTables, output: Tensor, x_t: Tensor, t: Tensor, clip: bool
) -> dict[str, Tensor]:
    x0 = objective.predicted_x0(tables, output, x_t, t)
    x0 = x0.clamp(-1, 1) if clip else x0
    log_variance = objective.step_log_variance(tables, output, t)
    return {
        "pred_xstart": x0,
        "mean": process.q_posterior(tables, x0, x_t, t).mean,
        "log_variance": log_variance,
        "variance": log_variance.exp(),
    }


@pytest.mark.parametrize("clip", [False, True])
def test_p_mean_variance(fixture: dict[str, Tensor], objective: EpsilonLearnedSigma, clip: bool) -> None:
    ours = reverse_step(objective, objective.tables, fixture["model_output"], fixture["q_sample"], fixture["t"], clip)
    for name, expected in under(fixture, f"p_mean_variance/clip_{clip}/").items():
        assert_values(ours[name], expected)


def test_respaced_step_tells_the_network_the_original_timestep(
    fixture: dict[str, Tensor], objective: EpsilonLearnedSigma, golden: Any
) -> None:
    spaced = objective.tables.respaced(golden.config("diffusion_process")["respacing"])
    index = fixture["respaced/t_index"]
    assert spaced.timestep_map[index.numpy()].tolist() == fixture["respaced/t_seen_by_model"].tolist()
    ours = reverse_step(objective, spaced, fixture["model_output"], fixture["q_sample"], index, clip=False)
    for name in ("mean", "pred_xstart", "variance"):
        assert_values(ours[name], fixture[f"respaced/{name}"])


def loss_variant(options: dict[str, Any], tables: DiffusionTables, channels: int) -> Callable[..., dict[str, Tensor]]:
    """The call of ours that a variant of the reference's options asks for."""
    learned = options.get("learn_sigma", True)

    def call(output: Tensor, x0: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
        if options.get("use_kl"):
            return bound_loss(tables, output, x0, x_t, t)
        target: Target = "x0" if options.get("predict_xstart") else "epsilon"
        weight = tables.num_timesteps / 1000 if options.get("rescale_learned_sigmas") else 1.0
        kept = output if learned else output[:, :, :channels]
        return hybrid_loss(tables, kept, x0, x_t, t, noise, target=target, vb_weight=weight)

    return call


def _named(what: str) -> Callable[[str], str]:
    return lambda message: f"{what}: {message}"


def test_losses_and_their_gradients(fixture: dict[str, Tensor], objective: EpsilonLearnedSigma, golden: Any) -> None:
    x0, noise, t, x_t = (fixture[name] for name in ("x0", "noise", "t", "q_sample"))
    for variant, options in golden.config("diffusion_process")["loss_variants"].items():
        expected = under(fixture, f"loss/{variant}/")
        gradient = expected.pop("grad_of_mean_loss_wrt_model_output", None)
        output = fixture["model_output"].clone()
        if gradient is not None:
            output = output[:, :, : gradient.shape[2]]
        output.requires_grad_(True)
        ours = loss_variant(options, objective.tables, x0.shape[2])(output, x0, x_t, t, noise)
        assert "loss" in expected
        for name, value in expected.items():
            torch.testing.assert_close(
                ours[name].detach(), value, rtol=2e-5, atol=1e-6, msg=_named(f"{variant}/{name}")
            )
        if gradient is not None:
            ours["loss"].mean().backward()
            assert output.grad is not None
            scale = gradient.abs().max().item()
            torch.testing.assert_close(output.grad, gradient, rtol=1e-4, atol=1e-6 * scale)


def test_parts_train_what_the_reference_trains(fixture: dict[str, Tensor], objective: EpsilonLearnedSigma) -> None:
    given = [fixture[name] for name in ("model_output", "x0", "q_sample", "t", "noise")]
    assert_values(objective.losses(*given)["loss"], fixture["loss/default/loss"], rtol=2e-5)
    bound = EpsilonLearnedSigma(Linear(), loss="bound")
    assert_values(bound.losses(*given)["loss"], fixture["loss/use_kl/loss"], rtol=2e-5)


def test_likelihood_helpers(fixture: dict[str, Tensor], objective: EpsilonLearnedSigma) -> None:
    given = under(fixture, "discretized_ll/")
    ours = discretized_gaussian_log_likelihood(given["x"], given["means"], given["log_scales"])
    assert_values(ours, given["out"], atol=1e-5)
    kl = normal_kl(given["x"], given["log_scales"], given["means"], given["log_scales"].flip(0))
    assert_values(kl, fixture["normal_kl/out"])
    assert_values(prior_bpd(objective.tables, fixture["x0"]), fixture["prior_bpd"], atol=1e-8)


# -- samplers ----------------------------------------------------------------------------------------------------------


def network(golden: Any, name: str) -> Callable[..., Tensor]:
    from tests.fixtures.networks import official_network

    return official_network(golden.config(name)["config"], under(golden.tensors(name), "sd/"))


class Trajectory:
    """What a sampler shows at every step, beside the estimates of x0 that its network implies."""

    def __init__(self, denoise: Callable[[Tensor, Tensor], Tensor], objective: EpsilonLearnedSigma) -> None:
        self.samples: list[Tensor] = []
        self.times: list[int] = []
        self.x0: list[Tensor] = []
        self._denoise, self._objective = denoise, objective

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        output = self._denoise(x, t)
        self.x0.append(self._objective.predicted_x0(self._objective.tables, output, x, t))
        return output

    def on_step(self, k: int, x: Tensor, network_time: Tensor) -> None:
        assert k == len(self.samples)
        self.samples.append(x)
        self.times.append(int(network_time[0]))


def assert_trajectory(ours: list[Tensor], expected: Tensor, clip: bool = False) -> None:
    assert len(ours) == len(expected)
    for k, (sample, reference) in enumerate(zip(ours, expected, strict=True)):
        worst = (sample - reference).abs().max().item()
        limit = 1e-3 if clip else 2e-5 * reference.abs().max().item()
        assert worst <= limit, f"entry {k}: off by {worst:.3g}, allowed {limit:.3g}"


def sampler_of(name: str, objective: EpsilonLearnedSigma, facts: dict[str, Any]) -> DDPM | DDIM:
    clipping = name.endswith("_clip")
    kind = name.removesuffix("_clip")
    if kind == "ddpm":
        return DDPM(objective, steps=facts["respacing"], clip_denoised=clipping)
    eta = {"ddim_eta0": 0.0, "ddim_eta": facts["eta_stochastic_ddim"]}[kind]
    return DDIM(objective, steps=facts["respacing"], eta=eta, clip_denoised=clipping)


@pytest.mark.parametrize("name", ["ddpm", "ddpm_clip", "ddim_eta0", "ddim_eta0_clip", "ddim_eta"])
def test_unconditional_trajectories(
    name: str, sampling: dict[str, Tensor], objective: EpsilonLearnedSigma, golden: Any
) -> None:
    facts = golden.config("diffusion_sampling")
    model = network(golden, "latte_uncond")
    noises = iter(sampling["uncond/step_noise"])
    trajectory = Trajectory(lambda x, t: model(x, t, None), objective)
    sampler = sampler_of(name, objective, facts)
    final = sampler.sample(trajectory.denoise, sampling["uncond/z"], noises.__next__, trajectory.on_step)
    assert trajectory.times == sampling["timesteps_seen_by_model"].tolist()
    assert torch.equal(final, trajectory.samples[-1])
    assert next(noises, None) is None, "a noise is drawn at every step"
    expected = under(sampling, f"uncond/{name}/")
    assert_trajectory(trajectory.samples, expected["samples"], clip=name.endswith("_clip"))
    if "pred_xstart" in expected:
        assert_trajectory(trajectory.x0, expected["pred_xstart"])


@pytest.mark.parametrize("name", ["ddpm", "ddim_eta0"])
def test_guided_trajectories(
    name: str, sampling: dict[str, Tensor], objective: EpsilonLearnedSigma, golden: Any
) -> None:
    facts = golden.config("diffusion_sampling")
    model = network(golden, "latte_class")
    z, labels = sampling["cfg/z"], sampling["cfg/y"]
    batch = len(labels) // 2
    null_label = golden.config("latte_class")["null_label"]
    channels = z.shape[2]

    # As the reference does it: a doubled batch throughout, whose halves drift apart.
    def doubled(x: Tensor, t: Tensor) -> Tensor:
        return classifier_free_guidance(model, x, t, labels[:batch], null_label, facts["cfg_scale"], channels)

    # As we do it: the second half is never computed.
    single = guided(model, labels[:batch], null_label, facts["cfg_scale"], channels)
    for denoise, rows in ((doubled, 2 * batch), (single, batch)):
        noises = iter(sampling["cfg/ddpm/step_noise"][:, :rows])
        trajectory = Trajectory(denoise, objective)
        sampler_of(name, objective, facts).sample(trajectory.denoise, z[:rows], noises.__next__, trajectory.on_step)
        expected = under(sampling, f"cfg/{name}/")
        kept = expected["kept_steps"].tolist()
        assert_trajectory([trajectory.samples[k] for k in kept], expected["samples"][:, :rows])
        assert_trajectory([trajectory.x0[k] for k in kept], expected["pred_xstart"][:, :rows])


def test_guidance_of_the_class_network(golden: Any) -> None:
    tensors, facts = golden.tensors("latte_class"), golden.config("latte_class")
    model = network(golden, "latte_class")
    labels = tensors["cfg/y"][: len(tensors["cfg/y"]) // 2]
    x = tensors["cfg/x"]
    for scale in facts["cfg_scales"]:
        with torch.no_grad():
            ours = classifier_free_guidance(model, x, tensors["cfg/t"], labels, facts["null_label"], scale, x.shape[2])
            half = guided(model, labels, facts["null_label"], scale, x.shape[2])(
                x[: len(labels)], tensors["cfg/t"][: len(labels)]
            )
        torch.testing.assert_close(ours, tensors[f"cfg/out_scale{scale}"], rtol=0, atol=5e-5)
        torch.testing.assert_close(half, ours[: len(labels)], rtol=0, atol=1e-6)
