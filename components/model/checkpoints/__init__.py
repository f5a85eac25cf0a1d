"""Checkpoints of every layout, one module a layout: what they are, the network in them, and one layout from another.

`contents` reads files, `layout` is the contract, `official`, `dit` and `ours` are layouts, `opening` is the door. A
further layout is a further module, and a line in `opening.LAYOUTS`.
"""

from components.model.checkpoints.description import Assumed, Description, digest_of
from components.model.checkpoints.official import from_official, load_official, read_official, to_official
from components.model.checkpoints.opening import Checkpoint, export, inspect, open_network, refusals, suffixes, whole

__all__ = [
    "Assumed",
    "Checkpoint",
    "Description",
    "digest_of",
    "export",
    "from_official",
    "inspect",
    "load_official",
    "open_network",
    "read_official",
    "refusals",
    "suffixes",
    "to_official",
    "whole",
]
