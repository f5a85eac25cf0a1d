"""Parameters and MACs of networks: each network is counted once, and remembered in the user's cache.

Counting needs torch, which takes seconds to import; with remembered counts `status`, `table` and `verdict` of an
experiment with `match` do without, and trainings without torch's compiler, which counting imports. A count follows from
the code, so it is filed under a digest of this repository's sources; where parts come from elsewhere nothing is
remembered.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
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
        names = NetworkCounts._fields
        _counted[network] = NetworkCounts(**remembered("counts", names, network, spec, lambda: _count(spec)._asdict()))
    return _counted[network]


def remembered(
    what: str,
    names: Sequence[str],
    key: str,
    spec: Spec,
    make: Callable[[], dict[str, int]],
    sources: Sequence[str] = SOURCES,
) -> dict[str, int]:
    """Return numbers that follow from a spec and from this repository's code alone, made once for each user.

    Args:
        what: the kind of numbers, which names their folder.
        names: of the numbers.
        key: all that decides them beside the code.
        spec: whose parts they are of; nothing is remembered of parts from elsewhere, which the digest does not see.
        make: makes them.
        sources: folders of this repository whose code decides them.
    """
    if not all(info.module.startswith("components.") for info in catalogue(spec.plugins).parts()):
        return make()
    file = _cache(what) / f"{hashlib.sha256((_digest(tuple(sources)) + key).encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(file.read_text(encoding="utf-8"))
        return {name: int(found[name]) for name in names}
    made = make()
    with contextlib.suppress(OSError):  # a home that cannot be written forgets, and that is all
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(made))
    return made


def _count(spec: Spec) -> NetworkCounts:
    from components.assembly import Assembly  # torch, which a remembered count does without

    assembly, stills = Assembly(spec), spec.learning.joint_images
    counts = assembly.counts()
    trained = assembly.counts(stills).evaluated if stills else counts.evaluated
    return NetworkCounts(counts.parameters, counts.paper_convention, counts.per_clip, counts.evaluated, trained)


def _cache(what: str) -> Path:
    return user_cache_path("latte-workbench") / what


@cache
def _digest(folders: tuple[str, ...]) -> str:
    """Of every source in folders of this repository."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
