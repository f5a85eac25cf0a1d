"""Assembling every arm without memory, so that what does not go together is told before anything runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.assembly import Assembly
from components.data.datasets import mirrored_labels
from experiments.plan.network_counts import NETWORK, count_network
from experiments.plan.plan import Plan
from registry.errors import RunError, SpecError, shortened
from registry.experiment.arms import Arm
from registry.schema.values import values_at


def check(plan: Plan, with_data: bool = False) -> list[str]:
    """Assemble every selected arm without memory; one line an arm.

    Args:
        plan: what to check.
        with_data: whether the data must be named by now; a `data.path` may also come later, on the command line.

    Raises:
        SpecError: shapes that do not go together, or files that are not there; one line each.
    """
    checked = counted(plan, with_data)
    return [f"{arm.name}: {n.parameters:,} parameters, identity {arm.identity}" for arm, n in checked]


def counted(plan: Plan, with_data: bool = False) -> list[tuple[Arm, Any]]:
    """What `check` does, with the counts of each selected arm's network."""
    answers: dict[tuple[Any, str], tuple[Any, list[str]]] = {}
    found: list[tuple[Arm, Any]] = []
    arms_of: dict[str, list[Arm]] = {}
    for arm in plan.selected:
        own: dict[str, None] = {}
        for attempt, keys in ATTEMPTS.items():
            same = (attempt, values_at(arm.spec, keys))
            if same not in answers:
                answers[same] = _tried(attempt, Assembly(arm.spec, plan.file.parts), with_data)
            counts, problems = answers[same]
            own |= dict.fromkeys(problems)
            if counts is not None:
                found.append((arm, counts))
        for text in own:
            arms_of.setdefault(text, []).append(arm)
    if arms_of:
        raise SpecError([located(plan, arms, text) for text, arms in arms_of.items()])
    return found


def _tried(attempt: Callable[[Assembly, bool], Any], assembly: Assembly, with_data: bool) -> tuple[Any, list[str]]:
    try:
        return attempt(assembly, with_data), []
    except SpecError as error:
        return None, error.problems
    except RunError:
        return None, []  # weights that are not on this machine are a matter of launching


def _network(assembly: Assembly, with_data: bool) -> Any:
    return count_network(assembly.spec)


def _sampler(assembly: Assembly, with_data: bool) -> None:
    assembly.sampler(assembly.objective())


def _metrics(assembly: Assembly, with_data: bool) -> None:
    assembly.metrics()


def _dataset(assembly: Assembly, with_data: bool) -> None:
    data = assembly.spec.data
    needs_path = assembly.parts.find("dataset", data.dataset.name).fact("needs_path")
    if with_data or data.path is not None or not needs_path:
        try:
            dataset = assembly.dataset()  # a path that is still to come on the command line is no mistake of the file
        except OSError as error:
            raise SpecError(f"data.path: {shortened(str(error.filename))}: {error.strerror}") from None
        if data.flip:
            mirrored_labels(dataset)


def _weights(assembly: Assembly, with_data: bool) -> None:
    weights = assembly.spec.data.autoencoder.parameters.get("weights")
    if weights and weights.startswith(("/", ".", "~")) and not Path(weights).expanduser().exists():
        raise SpecError(f"data.autoencoder.weights: there is no file or folder {weights!r}")


# What is assembled, and the keys of a spec that decide it: arms that agree in them are checked once.
ATTEMPTS: dict[Callable[[Assembly, bool], Any], tuple[str, ...]] = {
    _network: NETWORK,
    _sampler: ("diffusion", "sampling.sampler"),
    _metrics: ("scoring.detector", "scoring.metrics"),
    _dataset: ("data.dataset", "data.path", "data.resolution", "data.flip"),
    _weights: ("data.autoencoder",),
}


def located(plan: Plan, arms: list[Arm], text: str) -> str:
    """A problem that a part found, with the place of the key that it names, and the arms where not all have it."""
    key = tuple(text.split(":")[0].strip().split("."))
    named = "" if len(arms) == len(plan.selected) else f"arm {', '.join(arm.name for arm in arms)}: "
    return f"{plan.file.place(('base', *key))}: {named}{text}"
