"""A linear layer with the tanh-form GELU behind it: 0.5 y (1 + tanh(sqrt(2 / pi) (y + 0.044715 y^3)))."""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

AT_ONCE = 2**17  # numbers that are looked up at once


def gelu_of(layer: nn.Linear, x: Tensor) -> Tensor:
    """Return GELU(layer(x)) for x (…, D), on a CPU in less time than torch's kernel takes.

    That kernel takes longer for the hyperbolic tangent than the product in front of it takes in bfloat16. Where nothing
    is trained, oneDNN applies the GELU to the product's tiles as it writes them. Training needs the layer's output
    itself, for the derivative; in bfloat16 that has 65,536 values, whose GELU and derivative are looked up.
    docs/performance.md has the measurements.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():  # what is compiled is fused anyway
        return F.gelu(layer(x), approximate="tanh")
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else layer.weight.dtype
    if torch.is_inference_mode_enabled() and _onednn_has(dtype):
        weight, bias = layer.weight.to(dtype), layer.bias.to(dtype)
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x.to(dtype), weight, bias, "gelu", [], "tanh")
        return result
    y: Tensor = layer(x)
    return looked_up(y) if y.dtype == torch.bfloat16 else F.gelu(y, approximate="tanh")


def looked_up(y: Tensor) -> Tensor:
    """Return GELU(y) of a bfloat16 tensor on a CPU: the very numbers of torch's kernel; the derivative is rounded."""
    made: Tensor = _LookedUp.apply(y)
    return made


class _LookedUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        return _entries(0, y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return _entries(1, y).mul_(gradients[0])


def _entries(table: int, y: Tensor) -> Tensor:
    """Return what a table has for each number of y; the places of a part at a time, which need twice y's memory."""
    made = torch.empty_like(y, memory_format=torch.contiguous_format)
    if isinstance(y, FakeTensor):  # a step that is traced for its memory: there is no content to look up
        return made
    bits = y.reshape(-1).view(torch.uint16)
    for some, out in zip(bits.split(AT_ONCE), made.view(-1).split(AT_ONCE), strict=True):
        torch.index_select(_tables()[table], 0, some.to(torch.int32), out=out)
    return made


@cache
def _tables() -> tuple[Tensor, Tensor]:
    """GELU and its derivative of every bfloat16 number, in the order of their bits as unsigned ones: 128 kB each."""
    numbers = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    with torch.inference_mode(False), torch.autocast("cpu", enabled=False):
        one = torch.ones_like(numbers)
        return (
            F.gelu(numbers, approximate="tanh"),
            torch.ops.aten.gelu_backward(one, numbers, approximate="tanh"),
        )


def _onednn_has(dtype: torch.dtype) -> bool:
    """Whether oneDNN is there and multiplies this precision on this processor."""
    if not torch.backends.mkldnn.is_available():
        return False
    half: bool = dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return half or dtype == torch.float32
