"""Slot `qk_norm`: how queries and keys are normed before they meet, so that attention logits cannot grow without bound.

Contract: constructed with the part's parameters alone; `norm(channels)` gives a module for queries or keys (…, E) of
one head's E channels, or None. The heads of an attention share it; queries and keys have one each.
"""

from torch import nn

from registry.parts.catalogue import part


@part("qk_norm", "none")
class NoNorm:
    """Queries and keys as they are projected.

    Source: golden README, 1 "Block"
    Official code: yes (models/latte.py)
    """

    def __init__(self) -> None:
        pass

    def norm(self, channels: int) -> nn.Module | None:
        """None."""
        return None


@part("qk_norm", "rms_norm")
class RMSNorm:
    """Root mean square norm with a learned scale.

    Source: none in the paper; Esser et al. 2024, arXiv 2403.03206, section 5.3.2
    Official code: no, our addition
    """

    def __init__(self) -> None:
        pass

    def norm(self, channels: int) -> nn.Module | None:
        """The norm of one head's channels."""
        return nn.RMSNorm(channels, eps=1e-6)


@part("qk_norm", "layer_norm")
class LayerNorm:
    """Layer norm with a learned scale and shift.

    Source: none in the paper; Dehghani et al. 2023, arXiv 2302.05442, section 2
    Official code: no, our addition
    """

    def __init__(self) -> None:
        pass

    def norm(self, channels: int) -> nn.Module | None:
        """The norm of one head's channels."""
        return nn.LayerNorm(channels, eps=1e-6)
