"""What noise schedules, objectives and samplers may expect of each other, and the refusal of illegal pairs."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from components.diffusion.tables import DiffusionTables
from registry.errors import SpecError

# (x (B, F, C, H, W), network time (B,)) -> model output (B, F, C_out, H, W)
Denoise = Callable[[Tensor, Tensor], Tensor]
# () -> Gaussian noise like x
StepNoise = Callable[[], Tensor]
# (k-th executed step, x after it, network time (B,) at which the network was asked)
OnStep = Callable[[int, Tensor, Tensor], None]


class Objective(Protocol):
    """What a network is trained to predict; see `objectives.py` for shapes."""

    part_name: str
    prediction_type: str

    def output_channels(self, latent_channels: int) -> int: ...
    def draw_times(self, batch: int, generator: torch.Generator) -> Tensor: ...
    def times_at(self, fractions: Tensor) -> Tensor: ...
    def shares(self, t: Tensor) -> tuple[Tensor, Tensor]: ...
    def x0_weight(self, t: Tensor) -> Tensor: ...
    def band_times(self, bands: int, per_band: int) -> Tensor: ...
    def network_time(self, t: Tensor) -> Tensor: ...
    def noised(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor: ...
    def losses(self, model_output: Tensor, x0: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]: ...


class LossWeighting(Protocol):
    """How much each timestep counts in the training loss; see `loss_weightings.py`."""

    def factors(self, objective: Objective, t: Tensor) -> Tensor | None: ...


class TimestepSampling(Protocol):
    """Which times are trained on how often; see `timestep_samplings.py`."""

    def draw(self, objective: Objective, uniform: Tensor, generator: torch.Generator) -> Tensor: ...


class DiscreteObjective(Objective, Protocol):
    """An objective over integer timesteps, whose predictions hold for any respacing of its process."""

    tables: DiffusionTables

    def predicted_x0(self, tables: DiffusionTables, model_output: Tensor, x_t: Tensor, t: Tensor) -> Tensor: ...
    def step_log_variance(self, tables: DiffusionTables, model_output: Tensor, t: Tensor) -> Tensor: ...


class Sampler(Protocol):
    """How latents are drawn with a trained network; see `samplers.py` for the steps."""

    part_name: str

    def sample(
        self, denoise: Denoise, noise: Tensor, step_noise: StepNoise | None = None, on_step: OnStep | None = None
    ) -> Tensor: ...


def refuse_unless_legal(what: Any, given: Any, given_slot: str, legal: tuple[str, ...]) -> None:
    """Refuse the part `given` where neither `what` (a part with a reason `because`) lists it, nor it lists `what`.

    A part from outside joins by listing the built-in parts that it goes with: `samplers` on an objective, `objectives`
    on a noise schedule.

    Raises:
        SpecError: naming both parts, the reason, and what would be legal.
    """
    if given.part_name not in legal and what.part_name not in getattr(given, f"{what.slot}s", ()):
        raise SpecError(
            f"{what.slot} {what.part_name!r} does not go with {given_slot} {given.part_name!r}: {what.because}; "
            f"legal: {', '.join(legal)}"
        )
