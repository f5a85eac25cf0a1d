"""Slot `initialisation`: what weights training starts from."""

import torch

from components.model.latte import Latte
from registry.parts.catalogue import part


@part("initialisation", "scratch")
class Scratch:
    """Fresh random weights, drawn from the replicate's seed.

    Source: golden README, 1 "Initialisation in the original"; DiT, arXiv 2212.09748, section 3.2
    Official code: yes (models/latte.py, initialize_weights)
    """

    def __init__(self) -> None:
        pass

    def __call__(self, model: Latte, generator: torch.Generator) -> None:
        """Set every learned weight of the network."""
        model.initialise(generator)
