"""Digests of the code that makes trainings and evaluations, worked out from its source: nothing is imported."""

from experiments.record.snapshot import place_of
from registry.parts.catalogue import Catalogue, catalogue
from registry.parts.source_digest import digest_of_modules, digests
from registry.parts.sources import file_of, modules_below
from registry.runs.machine import ROOT
from registry.runs.records import CodeUsed
from registry.schema.spec import Spec

# What a loop is made of is followed from these modules; how runs are recorded is no part of it.
TRAINING = {"training loop": "experiments.training.trainer"}
EVALUATION = {"sampling loop": "experiments.sampling.trainings", "scoring loop": "experiments.scores.scoring"}
NOT_COUNTED = {
    "training loop": ("experiments.record", "components.scoring"),
    "sampling loop": ("experiments.record", "components.scoring"),
    "scoring loop": ("experiments.record",),
}
# Sections of a spec without effect on the one or the other: a network is sampled by the code that it was trained with.
NOT_OF_TRAINING, NOT_OF_EVALUATION = ("sampling", "scoring"), ("learning",)


def of_training(spec: Spec, parts: Catalogue | None = None) -> dict[str, str]:
    """Return the digest of every part and loop that a training is made by.

    Args:
        spec: of an arm.
        parts: the catalogue; left out, the one of the spec's plug-ins.
    """
    return _digests(spec, parts, NOT_OF_TRAINING, TRAINING)


def of_evaluation(spec: Spec, parts: Catalogue | None = None) -> dict[str, str]:
    """Return the digest of every part and loop that samples and scores a training; the arguments are as above."""
    return _digests(spec, parts, NOT_OF_EVALUATION, EVALUATION)


def read_all() -> None:
    """Read all that digests may be of, so that this process and its forks work out each of them quickly."""
    for name, module in (TRAINING | EVALUATION).items():
        digest_of_modules([module], NOT_COUNTED[name], ("components",))
    digest_of_modules(modules_below("components"))


def used_now(spec: Spec, digests: dict[str, str], attempt: int, begun_at: int) -> CodeUsed:
    """Return what this process notes of its code before it goes on with a training or an evaluation.

    Args:
        spec: of the arm.
        digests: of the parts and loops that are about to work.
        attempt: its number.
        begun_at: how much is there already.
    """
    files = {"workbench": ROOT, **{name: file_of(name) for name in spec.plugins}}
    frozen = {name: place for name, file in files.items() if file is not None and (place := place_of(file))}
    return CodeUsed(attempt=attempt, begun_at=begun_at, frozen=frozen, digests=digests)


def _digests(spec: Spec, parts: Catalogue | None, without: tuple[str, ...], loops: dict[str, str]) -> dict[str, str]:
    of_parts = digests(spec, parts or catalogue(spec.plugins))
    found = {name: digest for name, digest in of_parts.items() if name.split(".")[0] not in without}
    return found | {
        name: digest_of_modules([module], NOT_COUNTED[name], ("components",)) for name, module in loops.items()
    }
