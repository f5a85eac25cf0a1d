"""What other code than the present one has made, of a plan's replicates: read from their files and from source text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis.results.mixed_code import named
from experiments.plan.plan import Plan
from experiments.record import code_digests
from registry.runs.code_used import made_by, other_than
from registry.runs.replicate import Replicate


@dataclass(frozen=True)
class Outdated:
    """A replicate that other code has made, or begun.

    Args:
        replicate: the one.
        training: the parts and loops of the training that are other ones now.
        evaluation: those of the evaluation.
    """

    replicate: Replicate
    training: tuple[str, ...]
    evaluation: tuple[str, ...]

    @property
    def parts(self) -> list[str]:
        """The parts and loops, each once."""
        return list(dict.fromkeys([*self.training, *self.evaluation]))


def outdated(plan: Plan, replicates: Iterable[Replicate]) -> list[Outdated]:
    """Return those of a plan's replicates that other code than the present one has made, or begun.

    Args:
        plan: whose parts are the present ones.
        replicates: of its arms, perhaps at earlier steps.
    """
    present: dict[str, tuple[dict[str, str], dict[str, str]]] = {}  # by arm
    found = []
    for replicate in replicates:
        made = made_by(replicate)
        if not made.training and not made.evaluation:
            continue  # nothing was made yet
        if replicate.arm not in present:
            spec, parts = replicate.spec, plan.file.parts
            present[replicate.arm] = code_digests.of_training(spec, parts), code_digests.of_evaluation(spec, parts)
        of_training, of_evaluation = present[replicate.arm]
        one = Outdated(
            replicate,
            tuple(other_than(made.training, of_training)),
            tuple(other_than(made.evaluation, of_evaluation)),
        )
        if one.parts:
            found.append(one)
    return found


def summary(found: Sequence[Outdated]) -> str:
    """Return which parts and loops made what, on one line; empty where there is nothing to say."""
    seeds: dict[tuple[str, ...], dict[str, list[int]]] = {}
    for one in found:
        own = seeds.setdefault(tuple(one.parts), {}).setdefault(one.replicate.arm, [])
        if one.replicate.seed not in own:
            own.append(one.replicate.seed)
    told = []
    for parts, by_arm in seeds.items():
        told.append(f"{', '.join(parts)}: {named(by_arm)}")
    return "; ".join(told)
