"""Attention by two products is attention, to within the rounding of its precision."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from components.model import attending
from components.model.attending import attend, by_products


def given(dtype: torch.dtype, tokens: int = 17) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 2, tokens, 24, generator=generator).to(dtype).requires_grad_() for _ in range(3)]


def with_gradients(how: object, of: list[Tensor]) -> list[Tensor]:
    """What `how` makes of queries, keys and values, and the gradients of them; all in float64."""
    output = how(*of)  # type: ignore[operator]
    towards = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    return [part.detach().double() for part in (output, *torch.autograd.grad(output, of, towards))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_are_attention(dtype: torch.dtype) -> None:
    """Against float64: every product and sum is off by a few roundings of the largest number in it.

    Logits reach about 4 and are rounded by half a unit in the last place, which moves a weight by as much relative to
    itself; weights, output and gradients are each rounded once more. Sixteen units of the largest entry are an ample
    bound of these, and a wrong formula is off by the entries themselves.
    """
    parts = given(dtype)
    exact = with_gradients(F.scaled_dot_product_attention, [part.detach().double().requires_grad_() for part in parts])
    for own, true in zip(with_gradients(by_products, parts), exact, strict=True):
        torch.testing.assert_close(own, true, rtol=0, atol=16 * torch.finfo(dtype).eps * true.abs().max().item())


@pytest.mark.parametrize(
    ("dtype", "tokens", "written_out"),
    [
        (torch.bfloat16, 17, True),
        (torch.float32, 17, False),
        (torch.float16, 17, False),
        (torch.bfloat16, attending.MOST_WRITTEN_OUT + 1, False),
    ],
)
def test_the_kernel_is_chosen_by_shape_and_precision(
    dtype: torch.dtype, tokens: int, written_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(attending, "by_products", lambda q, k, v: asked.append(1) or q)
    attend(*given(dtype, tokens))
    assert bool(asked) == written_out
