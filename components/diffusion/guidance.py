"""Classifier-free guidance: two predictions, with the label and with the null label, extrapolated."""

from collections.abc import Callable

import torch
from einops import rearrange, repeat
from torch import Tensor

from components.diffusion.contracts import Denoise

# (x (B, F, C, H, W), t (B,), labels (B,)) -> (B, F, C_out, H, W)
Network = Callable[[Tensor, Tensor, Tensor], Tensor]


def classifier_free_guidance(
    network: Network, x: Tensor, t: Tensor, labels: Tensor, null_label: int, scale: float, channels: int
) -> Tensor:
    """The guided output of a doubled batch, both halves (2B, F, C_out, H, W), as the reference returns it.

    Args:
        x: (2B, F, C, H, W); its second half is ignored and replaced by the first.
        t: (2B,), used as given.
        labels: (B,), the labels of the first half; the second half gets `null_label`.
        scale: 0 is the unconditional, 1 the conditional prediction.
        channels: how many leading channels of axis 2 are guided, the latents' number (4 in the reference); the
            others (variance values) stay each half's own.

    Raises:
        ValueError: the batch of `x` or `t` is not twice the number of labels.
    """
    batch = len(labels)
    if len(x) != 2 * batch or len(t) != 2 * batch:
        raise ValueError(f"{batch} labels guide a batch of {2 * batch}; x has {len(x)} and t {len(t)}")
    doubled = repeat(x[:batch], "b f c h w -> (two b) f c h w", two=2)
    output = network(doubled, t, torch.cat([labels, torch.full_like(labels, null_label)]))
    conditional, null = rearrange(output[:, :, :channels], "(two b) f c h w -> two b f c h w", two=2)
    guided = null + scale * (conditional - null)
    return torch.cat([repeat(guided, "b f c h w -> (two b) f c h w", two=2), output[:, :, channels:]], dim=2)


def guided(network: Network, labels: Tensor, null_label: int, scale: float, channels: int) -> Denoise:
    """The denoiser that a sampler calls with a plain batch (B, F, C, H, W), guided towards `labels` (B,).

    At scale 1 the null prediction has no weight and is not computed.
    """

    def denoise(x: Tensor, network_time: Tensor) -> Tensor:
        if scale == 1.0:
            return network(x, network_time, labels)
        doubled_x, doubled_t = (torch.cat([x, x]), torch.cat([network_time, network_time]))
        both = classifier_free_guidance(network, doubled_x, doubled_t, labels, null_label, scale, channels)
        return both[: len(x)]

    return denoise
