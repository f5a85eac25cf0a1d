"""Where replicates that are compared were made by different code: which parts and loops, and which arms and seeds.

Held against each other are the digests of one and the same part, or loop, in several replicates. That arms use
different parts is what they are compared for. What was not recorded says nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.experiment.claims import VALIDATION_LOSS

if TYPE_CHECKING:  # `status` does without it
    import pandas as pd

COLUMN = "made_by"  # of a frame: what a result says of the code that made it
MOST_ARMS, MOST_SEEDS = 4, 8  # that a line names, and of each arm

Group = Mapping[str, Sequence[int]]  # arm -> its seeds
Made = tuple[str, int, Mapping[str, Any] | None]  # arm, seed, what it was made by


@dataclass(frozen=True)
class MixedCode:
    """Parts and loops of which different versions made the replicates.

    Args:
        digests: by part or loop, one a group.
        groups: the replicates that each version made; one that was resumed by changed code is in several.
    """

    digests: Mapping[str, tuple[str, ...]]
    groups: tuple[Group, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.digests)}: {' / '.join(map(named, self.groups))}"

    def as_json(self) -> dict[str, Any]:
        """Return the digests, and the replicates of each, as plain values."""
        groups = [{arm: list(seeds) for arm, seeds in group.items()} for group in self.groups]
        return {"digests": {name: list(digests) for name, digests in self.digests.items()}, "made": groups}


def mixed_code(replicates: Iterable[Made], *, training_only: bool = False) -> list[MixedCode]:
    """Return what of the code differs among replicates; parts that divide them alike are told together.

    Args:
        replicates: arm, seed, and the digests of a `made_by`.
        training_only: leave out what sampled and scored them.
    """
    versions: dict[str, dict[str, dict[tuple[str, int], None]]] = {}  # part or loop -> digest -> replicates
    for arm, seed, made in replicates:
        for stage in ("training",) if training_only else ("training", "evaluation"):
            digests_of = (made or {}).get(stage)
            for name, digests in (digests_of or {}).items():
                for digest in digests:
                    versions.setdefault(name, {}).setdefault(str(digest), {})[arm, seed] = None
    alike: dict[tuple[tuple[tuple[str, int], ...], ...], dict[str, tuple[str, ...]]] = {}
    for name, by_digest in versions.items():
        if len(by_digest) > 1:
            alike.setdefault(tuple(map(tuple, by_digest.values())), {})[name] = tuple(by_digest)
    return [MixedCode(digests, tuple(map(_by_arm, groups))) for groups, digests in alike.items()]


def mixed_code_of(frame: "pd.DataFrame", arms: Sequence[str] | None = None, metric: str = "") -> list[MixedCode]:
    """Return what of the code differs among the replicates of a frame that have a result.

    Args:
        frame: as `analysis.results.results_frame.load` gives it.
        arms: only these.
        metric: that is compared; the validation loss is of the training alone.
    """
    if COLUMN not in frame:
        return []
    rows, wanted = zip(frame["arm"], frame["seed"], frame[COLUMN], strict=True), set(arms or ())
    made: list[Made] = [
        (str(arm), int(seed), own)
        for arm, seed, own in rows
        if isinstance(own, Mapping) and (arms is None or arm in wanted)
    ]
    return mixed_code(made, training_only=metric == VALIDATION_LOSS)


def lines(mixed: Iterable[MixedCode]) -> list[str]:
    """Return a line for each difference of code."""
    return [f"made by different code: {one}" for one in mixed]


def _by_arm(replicates: Iterable[tuple[str, int]]) -> Group:
    found: dict[str, tuple[int, ...]] = {}
    for arm, seed in replicates:
        found[arm] = (*found.get(arm, ()), seed)
    return found


def named(group: Group) -> str:
    """`baseline seeds 0, 1, blocks=variant_4 seed 0`; of many arms and seeds the first ones."""
    shown = []
    for arm, seeds in list(group.items())[:MOST_ARMS]:
        listed = ", ".join(map(str, seeds[:MOST_SEEDS])) + (", …" if len(seeds) > MOST_SEEDS else "")
        shown.append(f"{arm} seed{'' if len(seeds) == 1 else 's'} {listed}")
    more = len(group) - len(shown)
    return ", ".join(shown) + (f" and {more} more arm{'' if more == 1 else 's'}" if more else "")
