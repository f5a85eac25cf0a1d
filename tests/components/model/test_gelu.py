"""The feed-forward layer's first half, in one pass and in two."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.model.attention import MLP
from components.model.gelu import gelu_of


def layer_and_tokens() -> tuple[nn.Linear, Tensor]:
    torch.manual_seed(0)
    return nn.Linear(48, 192), 3 * torch.randn(2, 3, 5, 48)


@pytest.mark.parametrize("half", [False, True])
def test_one_pass_is_two_passes(half: bool) -> None:
    """Against float64: a sum of D products is off by D roundings of its largest terms at most, and GELU adds a few."""
    layer, x = layer_and_tokens()
    exact = F.gelu(F.linear(x.double(), layer.weight.double(), layer.bias.double()), approximate="tanh")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        own = gelu_of(layer, x)
    assert own.dtype == (torch.bfloat16 if half else torch.float32)
    largest = (x.abs() @ layer.weight.abs().T).max().item()  # of the sums of magnitudes
    # In bfloat16 factors and result are rounded by half a unit each, sums are not; in float32 every sum is.
    roundings = 2 if half else x.shape[-1]
    torch.testing.assert_close(own.double(), exact, rtol=0, atol=roundings * torch.finfo(own.dtype).eps * largest)


def test_training_goes_through_the_layer_and_has_gradients() -> None:
    mlp, called = MLP(48), list[int]()
    mlp.fc1.register_forward_hook(lambda *_: called.append(1))
    _, x = layer_and_tokens()
    mlp(x).sum().backward()
    assert called
    assert all(p.grad is not None for p in mlp.parameters())


def test_without_onednn_there_are_two_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    layer, x = layer_and_tokens()
    called: list[int] = []
    layer.register_forward_hook(lambda *_: called.append(1))
    with torch.inference_mode():
        gelu_of(layer, x)
    assert called
