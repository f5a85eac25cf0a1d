"""The exponential moving average of the weights, which is what gets sampled and scored."""

import torch
from torch import Tensor, nn


def own_share(tensor: Tensor) -> Tensor:
    """This process's share of a tensor, all of it where it is not shared out; writing to it writes to the tensor."""
    share: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor  # the import of DTensor takes a while
    return share


class EMA:
    """A copy of a model's learned parameters that follows them: ema = decay * ema + (1 - decay) * parameter.

    Fixed position tables are buffers here and stay out of it (in the reference they drift by rounding). Of a model
    whose weights are shared out over processes, each averages its own share.

    Args:
        model: the averaged network; the copy starts equal to it.
        decay: weight of the old average, 0.9999 in the paper.

    Source: paper, section 4.1; golden README, 10.1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters = [parameter.detach().clone() for parameter in model.parameters()]

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Follow the model by one optimiser step."""
        torch._foreach_lerp_(
            [own_share(average) for average in self.parameters],
            [own_share(parameter) for parameter in model.parameters()],
            1 - self.decay,
        )

    def state_dict(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.parameters, strict=True))

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over an average; of a model that is shared out, each process gives its share of it."""
        for name, parameter in zip(self.names, self.parameters, strict=True):
            parameter.copy_(state[name])

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Overwrite the model's parameters with the average."""
        for parameter, average in zip(model.parameters(), self.parameters, strict=True):
            parameter.copy_(average)
