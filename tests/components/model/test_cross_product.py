"""Every legal combination assembles, trains a step and samples; an illegal one is refused by name."""

import itertools
from typing import Any

import pytest
import torch

from components.assembly import Assembly
from components.diffusion.guidance import guided
from experiments.training.losses import Batch, losses_of
from registry.experiment.resolve import resolve
from registry.parts.catalogue import catalogue
from tests.fixtures.toy_networks import BLOCKS, PARTS, POSITIONS, legal_diffusions, toy_spec

SPATIAL, NORMS = PARTS.names("spatial_position"), PARTS.names("qk_norm")
FEW_STEPS = {"ddpm": 2, "ddim": 2, "dpm_solver_pp": 2, "unipc": 2, "euler": 2}
OF_CLASSES = [name for name in PARTS.names("conditioning") if name != "text_cross_attention"]  # it has tests of its own
MODELS = list(
    itertools.product(PARTS.names("patch_embedding"), BLOCKS, OF_CLASSES, POSITIONS, [0, 2], PARTS.names("objective"))
)


def train_and_sample(spec: Any, seed: int) -> None:
    """One AdamW step from random weights, in which every learned weight has a part; then two steps of sampling."""
    generator = torch.Generator().manual_seed(seed)
    assembly = Assembly(spec, PARTS)
    model, objective = assembly.model(), assembly.objective()
    assembly.initialisation()(model, generator)
    for parameter in model.parameters():  # fresh zeros would hide weights from the gradient
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    shape = (2, *assembly.latent_shape())
    x0, noise = torch.randn(2, *shape, generator=generator)
    t = objective.draw_times(2, generator)
    labels = torch.tensor([0, 2]) if spec.model.classes else None  # one class, and the null label
    loss = losses_of(objective, model, Batch(x0, t, noise, labels))["loss"].mean()
    loss.backward()
    assert torch.isfinite(loss)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name
    torch.optim.AdamW(model.parameters(), lr=1e-4).step()

    model.eval()
    sampler = assembly.sampler(objective)

    def denoise(x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            out: torch.Tensor = model(x, at, labels)
        return out

    sampled = sampler.sample(denoise, noise, lambda: torch.randn(shape, generator=generator))
    assert sampled.shape == shape
    assert sampled.dtype == torch.float32
    assert torch.isfinite(sampled).all()


@pytest.mark.parametrize(("embedding", "blocks", "conditioning"), sorted({model[:3] for model in MODELS}))
def test_every_model_with_every_objective(embedding: str, blocks: str, conditioning: str) -> None:
    own = [model for model in MODELS if model[:3] == (embedding, blocks, conditioning)]
    assert len(own) == len(POSITIONS) * 2 * len(PARTS.names("objective"))
    for number, (*_, position, classes, objective) in enumerate(own):
        model = {"patch_embedding": embedding, "blocks": blocks, "conditioning": conditioning,
                 "temporal_position": position, "classes": classes,
                 "spatial_position": SPATIAL[number % len(SPATIAL)],
                 "qk_norm": NORMS[number // 2 % len(NORMS)]}  # fmt: skip
        suits = [sampler for of, _, sampler in legal_diffusions() if of == objective]
        name = suits[number % len(suits)]
        sampler = {"name": name, "steps": FEW_STEPS[name]}
        train_and_sample(toy_spec(model, diffusion={"objective": objective}, sampling={"sampler": sampler}), number)


@pytest.mark.parametrize(("objective", "schedule", "sampler"), list(legal_diffusions()))
def test_every_legal_diffusion(objective: str, schedule: str, sampler: str) -> None:
    diffusion = {"objective": objective, "noise_schedule": schedule}
    spec = toy_spec(diffusion=diffusion, sampling={"sampler": {"name": sampler, "steps": FEW_STEPS[sampler]}})
    train_and_sample(spec, 0)


@pytest.mark.parametrize("objective", PARTS.names("objective"))
def test_defaults_of_every_objective_are_legal(objective: str) -> None:
    spec = toy_spec(diffusion={"objective": objective})
    assert (objective, spec.diffusion.noise_schedule.name, spec.sampling.sampler.name) in set(legal_diffusions())


ALL_DIFFUSIONS = itertools.product(*[PARTS.names(slot) for slot in ("objective", "noise_schedule", "sampler")])


def test_every_illegal_diffusion_is_refused_by_name() -> None:
    legal, refused = set(legal_diffusions()), 0
    for objective, schedule, sampler in ALL_DIFFUSIONS:
        raw = {"model": {"width": 16, "heads": 2, "depth": 2}, "sampling": {"sampler": sampler},
               "diffusion": {"objective": objective, "noise_schedule": schedule}}  # fmt: skip
        spec, problems = resolve(raw, catalogue())
        if (objective, schedule, sampler) in legal:
            assert spec is not None
            continue
        refused += 1
        assert spec is None
        told = " ".join(text for _, text in problems)
        assert objective in told
        assert schedule in told or sampler in told
    assert refused > 5


@pytest.mark.parametrize("loss", ["hybrid", "bound"])
def test_both_losses_of_the_learned_variance_train(loss: str) -> None:
    train_and_sample(toy_spec(diffusion={"objective": {"name": "epsilon_learned_sigma", "loss": loss}},
                              sampling={"sampler": {"name": "ddpm", "steps": 2}}), 3)  # fmt: skip


def test_guided_sampling_with_odd_channels() -> None:
    """Guided channels follow the latents' count, not the official code's fixed four."""
    spec = toy_spec({"classes": 2}, sampling={"sampler": {"name": "ddim", "steps": 2}, "guidance": 4.0})
    assembly = Assembly(spec)
    model = assembly.model().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(0))
    shape = (2, *assembly.latent_shape())
    noise, labels = torch.randn(shape, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1])
    t = torch.tensor([10, 500])
    with torch.no_grad():
        out = guided(model, labels, model.null_label, 4.0, shape[2])(noise, t)
        with_label, without = model(noise, t, labels), model(noise, t, torch.tensor([2, 2]))
    channels = shape[2]
    expected = without[:, :, :channels] + 4.0 * (with_label - without)[:, :, :channels]
    torch.testing.assert_close(out[:, :, :channels], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sampling", PARTS.names("timestep_sampling"))
@pytest.mark.parametrize("weighting", PARTS.names("loss_weighting"))
@pytest.mark.parametrize("optimiser", PARTS.names("optimiser"))
def test_every_way_of_learning_trains_every_objective(optimiser: str, weighting: str, sampling: str) -> None:
    """One step of each optimiser on clips with stills, by each weighting and sampling of timesteps."""
    for number, objective in enumerate(PARTS.names("objective")):
        diffusion = {"objective": objective, "loss_weighting": weighting, "timestep_sampling": sampling}
        spec = toy_spec({"classes": 2}, diffusion=diffusion, learning={"optimiser": optimiser, "joint_images": 2})
        assembly, generator = Assembly(spec, PARTS), torch.Generator().manual_seed(number)
        model, of = assembly.model(), assembly.objective()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2, generator=generator)
        before = [parameter.detach().clone() for parameter in model.parameters()]
        frames, *frame = assembly.latent_shape()
        x0, noise = torch.randn(2, 3, frames + 2, *frame, generator=generator)
        t = assembly.timestep_sampling().draw(of, of.draw_times(3, generator), generator)
        batch = Batch(x0, t, noise, torch.tensor([0, 1, 2]), torch.tensor([[1, 0], [2, 2], [0, 1]]), stills=2)
        losses_of(of, model, batch, assembly.loss_weighting())["loss"].mean().backward()
        assembly.optimiser()(model, 1e-3).step()
        for (name, parameter), old in zip(model.named_parameters(), before, strict=True):
            assert torch.isfinite(parameter).all(), name
            assert not torch.equal(parameter, old), name
