"""A linear layer with the tanh-form GELU behind it: 0.5 y (1 + tanh(sqrt(2 / pi) (y + 0.044715 y^3)))."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def gelu_of(layer: nn.Linear, x: Tensor) -> Tensor:
    """Return GELU(layer(x)) for x (…, D); where nothing is trained on a CPU, in one pass.

    torch's own kernel takes longer for the hyperbolic tangent than the product in front of it takes in bfloat16, while
    oneDNN applies the GELU to the product's tiles as it writes them. Training needs the layer's output itself, for the
    derivative, so that this is for inference mode alone. docs/performance.md has the measurements.
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else layer.weight.dtype
    trained = not torch.is_inference_mode_enabled() or torch.compiler.is_compiling()  # what is compiled is fused anyway
    if trained or x.device.type != "cpu" or not _onednn_has(dtype):
        return F.gelu(layer(x), approximate="tanh")
    weight, bias = layer.weight.to(dtype), layer.bias.to(dtype)
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x.to(dtype), weight, bias, "gelu", [], "tanh")
    return result


def _onednn_has(dtype: torch.dtype) -> bool:
    """Whether oneDNN is there and multiplies this precision on this processor."""
    if not torch.backends.mkldnn.is_available():
        return False
    half: bool = dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return half or dtype == torch.float32
