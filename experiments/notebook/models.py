"""The network of a run, with the weights that its scores are of."""

from pathlib import Path

from components.model.checkpoints import open_network
from components.model.latte import Latte
from registry.parts.catalogue import read_edited_again
from registry.runs.replicate import Replicate


def open_model(run: str | Path | Replicate, weights: str | None = None) -> Latte:
    """Return the network of a run in eval mode, with the weights that were sampled.

    It is called as `network(latents (B, F, C, H, W), t (B,), labels=…)`.

    Args:
        run: a replicate (`analysis.load(…).replicates[0]`), or its folder among the runs.
        weights: `ema` or `model`; left out: those that its spec says are sampled.

    Raises:
        SpecError: there is no run at the path.
        RunError: it has no checkpoint yet, or a damaged one.
    """
    read_edited_again()
    network, _ = open_network(run.folder if isinstance(run, Replicate) else run, weights=weights)
    return network
