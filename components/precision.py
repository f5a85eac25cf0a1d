"""Whether float32 products on a GPU are rounded to TF32. On a CPU nothing here changes anything."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def tf32(allowed: bool, device: torch.device) -> Iterator[None]:
    """Let a GPU round the factors of float32 products to TF32 inside the block, or keep it from doing so.

    TF32 has 10 bits of mantissa in place of 23; sums stay in float32. The setting is about matrix products and
    convolutions of all threads of this process. What was set before comes back behind the block.
    """
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
