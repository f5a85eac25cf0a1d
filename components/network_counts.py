"""Parameters and MACs of networks: each network is counted once, and remembered in the user's cache.

Counting needs torch, which takes seconds to import; with remembered counts `status`, `table` and `verdict` of an
experiment with `match` do without, and trainings without torch's compiler, which counting imports. A count follows from
the code (`registry.runs.remembered`); where parts come from elsewhere nothing is remembered.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from registry.parts.catalogue import catalogue
from registry.runs.remembered import CodeState, remembered, state_of
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
        _counted[network] = NetworkCounts(
            **remembered_of("counts", names, network, spec, lambda: _count(spec)._asdict())
        )
    return _counted[network]


def remembered_of(
    what: str,
    names: Sequence[str],
    key: str,
    spec: Spec,
    make: Callable[[], dict[str, int]],
    folders: Sequence[str] = SOURCES,
) -> dict[str, int]:
    """Return numbers that follow from a spec and from this repository's code alone, made once for each user.

    Args:
        what: the kind of numbers.
        names: of the numbers.
        key: all that decides them beside the code.
        spec: whose parts they are of; nothing is remembered of parts from elsewhere, which the digest does not see.
        make: makes them.
        folders: of this repository, whose code decides them.
    """
    if not all(info.module.startswith("components.") for info in catalogue(spec.plugins).parts()):
        return make()
    code = _imported(tuple(folders))
    return remembered(what, code, key, make, lambda found: {name: int(found[name]) for name in names})


@cache
def _imported(folders: tuple[str, ...]) -> CodeState:
    """The sources as they were when this process first asked: what it has imported, whatever is edited since."""
    return state_of(folders)


def _count(spec: Spec) -> NetworkCounts:
    from components.assembly import Assembly  # torch, which a remembered count does without

    assembly, stills = Assembly(spec), spec.learning.joint_images
    counts = assembly.counts()
    trained = assembly.counts(stills).evaluated if stills else counts.evaluated
    return NetworkCounts(counts.parameters, counts.paper_convention, counts.per_clip, counts.evaluated, trained)
