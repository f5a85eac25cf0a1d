"""What is wrong with seeds that are added until claims are decided, told before anything is run."""

from collections.abc import Sequence

from registry.experiment.experiment_file import ExperimentFile
from registry.experiment.starts import starts_of
from registry.schema.spec import Spec


def until_decided_problems(file: ExperimentFile, arms: Sequence[tuple[str, Spec]]) -> list[str]:
    """A line for everything that does not go with such seeds.

    Args:
        file: the experiment as read.
        arms: name and spec of each arm that is right.
    """
    experiment = file.experiment
    if experiment.until_decided is None:
        return []
    place, lines = f"{file.place(('seeds',))}: seeds", []
    if not experiment.claim and not any(": claim" in line for line in file.problems):
        lines.append(f"{place}: there is no claim to be decided: add `claim`, or list the seeds, such as [0, 1, 2]")
    if experiment.screen is not None:
        lines.append(
            f"{file.place(('screen',))}: screen: stops arms that claims need, so that seeds cannot be added until "
            "these are decided: take one of the two out"
        )
    for name, spec in arms:
        if any(start.seed is None for start in starts_of(spec)):
            lines.append(
                f"{place}: arm {name} starts from a training of its own seed in another experiment, and of seeds that "
                "are added later there is none: give its start a `seed`, or list the seeds"
            )
    return lines
