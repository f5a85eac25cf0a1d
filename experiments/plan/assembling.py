"""Trying to assemble arms without memory: each thing that can be wrong with a part is found, whatever else is wrong."""

from collections.abc import Callable, Sequence
from typing import Any

from components.assembly import Assembly
from components.data.datasets import mirrored_labels
from components.network_counts import count_network
from registry.errors import RunError, SpecError, shortened
from registry.experiment.arm import Arm
from registry.experiment.compatibility import any_below
from registry.experiment.experiment_file import ExperimentFile
from registry.paths import expanded
from registry.schema.values import NETWORK, values_at
from registry.strict_yaml import Key


def assemble(
    file: ExperimentFile, arms: Sequence[tuple[Arm, Sequence[Key]]], with_data: bool = False
) -> tuple[list[tuple[Arm, Any]], list[str]]:
    """Try to assemble the parts of arms without memory.

    Args:
        file: the experiment.
        arms: each with the keys whose values nobody wrote; what depends on them is not tried.
        with_data: whether the data must be named by now; a `data.path` may also come later, on the command line.

    Returns:
        Each arm whose network could be made, with its counts; and a line for each problem.
    """
    answers: dict[tuple[Any, str], tuple[Any, list[str]]] = {}
    found: list[tuple[Arm, Any]] = []
    arms_of: dict[str, list[str]] = {}
    for arm, unknown in arms:
        own: dict[str, None] = {}
        for attempt, keys in ATTEMPTS.items():
            if any_below(unknown, keys):
                continue
            same = (attempt, values_at(arm.spec, keys))
            if same not in answers:
                answers[same] = _tried(attempt, Assembly(arm.spec, file.parts), with_data)
            counts, problems = answers[same]
            own |= dict.fromkeys(problems)
            if counts is not None:
                found.append((arm, counts))
        for text in own:
            arms_of.setdefault(text, []).append(arm.name)
    return found, [file.line(text, names, len(arms)) for text, names in arms_of.items()]


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
    if weights and weights.startswith(("/", ".", "~")) and not expanded(weights).exists():
        raise SpecError(f"data.autoencoder.weights: there is no file or folder {weights!r}")


def _text(assembly: Assembly, with_data: bool) -> None:
    if assembly.spec.data.text_encoder is not None:
        assembly.text_encoder()


def _start(assembly: Assembly, with_data: bool) -> None:
    assembly.initialisation().refuse(assembly.model("meta"), with_data)


# What is assembled, and the keys of a spec that decide it: arms that agree in them are checked once.
ATTEMPTS: dict[Callable[[Assembly, bool], Any], tuple[str, ...]] = {
    _network: NETWORK,
    _sampler: ("diffusion", "sampling.sampler"),
    _metrics: ("scoring.detector", "scoring.second_opinions", "scoring.metrics"),
    _dataset: ("data.dataset", "data.path", "data.resolution", "data.flip"),
    _weights: ("data.autoencoder",),
    _text: ("data.text_encoder", "model.conditioning"),
    _start: ("learning.initialisation", *NETWORK),
}
