"""Parameters and MACs of networks: each network is counted once, and remembered in the user's cache.

Counting needs torch, which takes seconds to import; with remembered counts `status`, `table` and `verdict` of an
experiment with `match` do without. A count follows from the code, so it is filed under a digest of this repository's
sources; where parts come from elsewhere nothing is remembered.
"""

import contextlib
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

from registry.parts.catalogue import catalogue
from registry.runs.files import write_atomically
from registry.runs.machine import ROOT
from registry.schema.spec import Spec
from registry.schema.values import NETWORK, values_at

SOURCES = ("components", "registry")  # folders of this repository whose code decides a count


class NetworkCounts(NamedTuple):
    """What `components.model.counting.Counts` says of a network, as numbers."""

    parameters: int
    paper_convention: int
    per_clip: int
    evaluated: int
    trained: int  # as `evaluated`, of a sample of training: a clip and the stills behind it


_counted: dict[str, NetworkCounts] = {}  # by this process


def count_for_matching(spec: Spec) -> dict[str, float]:
    """What `match` may bring arms together in, by its name there (`registry.experiment.experiment_file.Match`).

    Raises:
        SpecError: shapes that do not go together.
    """
    counts = count_network(spec)
    return {
        "parameters": counts.parameters,
        "macs": counts.evaluated,
        "macs_per_clip": counts.per_clip,
        "macs_paper_convention": counts.paper_convention,
    }


def count_network(spec: Spec) -> NetworkCounts:
    """Assemble and count a spec's network without memory, or recall what was counted before.

    Raises:
        SpecError: shapes that do not go together.
    """
    network = values_at(spec, (*NETWORK, "plugins"))
    if network not in _counted:
        _counted[network] = _recall(spec, network)
    return _counted[network]


def _recall(spec: Spec, network: str) -> NetworkCounts:
    if not all(info.module.startswith("components.") for info in catalogue(spec.plugins).parts()):
        return _count(spec)  # code that the digest does not see
    file = _cache() / f"{hashlib.sha256((_digest() + network).encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return NetworkCounts(**json.loads(file.read_text(encoding="utf-8")))
    counted = _count(spec)
    with contextlib.suppress(OSError):  # a home that cannot be written forgets, and that is all
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(counted._asdict()))
    return counted


def _count(spec: Spec) -> NetworkCounts:
    from components.assembly import Assembly  # torch, which a remembered count does without

    assembly, stills = Assembly(spec), spec.learning.joint_images
    counts = assembly.counts()
    trained = assembly.counts(stills).evaluated if stills else counts.evaluated
    return NetworkCounts(counts.parameters, counts.paper_convention, counts.per_clip, counts.evaluated, trained)


def _cache() -> Path:
    return user_cache_path("latte-workbench") / "counts"


@cache
def _digest() -> str:
    """Of every source that may decide a count."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
