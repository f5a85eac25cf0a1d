"""softmax(Q K^T / sqrt(E)) V, by the kernel that is faster for the shape at hand."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Most tokens whose attention matrix is written out; it is kept for the backward pass, two bytes a number.
MOST_WRITTEN_OUT = 512


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Queries, keys and values (R, H, L, E) of R rows of L tokens -> (R, H, L, E), each row by itself.

    torch's fused kernel works through a matrix of any size in little memory. On a CPU in bfloat16 it is several times
    slower than two batched products where a row has few tokens, as one frame or one place of all frames has:
    docs/performance.md has the measurements. (float16 is left to it: logits may exceed 65,504.)
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[-2] <= MOST_WRITTEN_OUT:
        return by_products(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def by_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`attend` by two batched products, the matrix (R H, L, L) between them rounded to the precision of `q`."""
    rows, heads = q.shape[:2]
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    logits = torch.baddbmm(q.new_empty(()), q, k.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5)
    return torch.bmm(logits.softmax(dim=-1), v).unflatten(0, (rows, heads))
