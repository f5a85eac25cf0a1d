"""The feed-forward layer's first half, in one pass and in two."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.model import gelu
from components.model.attention import MLP
from components.model.gelu import gelu_of, looked_up


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


def test_looked_up_is_what_torch_computes_for_every_number() -> None:
    """The derivative as well, but that it is rounded to bfloat16 before it is multiplied, which rounds once more."""
    every = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    every = every[every.isfinite()].flip(0)
    gradients = torch.linspace(-2, 2, len(every)).bfloat16()
    own, theirs = (every.clone().requires_grad_() for _ in range(2))
    found, expected = looked_up(own), F.gelu(theirs, approximate="tanh")
    assert torch.equal(found, expected)
    found.backward(gradients)
    expected.backward(gradients)
    assert own.grad is not None
    assert theirs.grad is not None
    finite = theirs.grad.isfinite()
    assert finite.sum() > 0.7 * len(every)  # beyond 1e19, torch's is infinity times zero
    eps = torch.finfo(torch.bfloat16).eps
    torch.testing.assert_close(own.grad[finite], theirs.grad[finite], rtol=2 * eps, atol=1e-37)


def test_looking_up_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gelu, "AT_ONCE", 7)
    y = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)).bfloat16().transpose(0, 2)
    assert torch.equal(looked_up(y), F.gelu(y, approximate="tanh"))


@pytest.mark.parametrize("half", [False, True])
def test_training_in_float32_is_torchs_own_gelu_and_in_bfloat16_the_table(half: bool) -> None:
    """Bit for bit in float32, gradients included; in bfloat16 the output, and gradients to two roundings of each."""
    layer, x = layer_and_tokens()
    found = list[list[Tensor]]()
    for function in (gelu_of, lambda own, tokens: F.gelu(own(tokens), approximate="tanh")):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = function(layer, x)
        output.float().square().mean().backward()
        found.append([output.detach(), *(p.grad.clone() for p in layer.parameters() if p.grad is not None)])
    (own, *gradients), (theirs, *others) = found
    assert torch.equal(own, theirs)
    assert len(gradients) == len(others) == 2
    for gradient, other in zip(gradients, others, strict=True):
        if half:
            off = 2 * torch.finfo(torch.bfloat16).eps * other.abs().max().item()
            torch.testing.assert_close(gradient, other, rtol=0, atol=off)
        else:
            assert torch.equal(gradient, other)
