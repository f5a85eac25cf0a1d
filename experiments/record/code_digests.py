"""Digests of the code that makes trainings and evaluations, worked out from its source: nothing is imported.

Those of the built-in parts and of the loops follow from this repository's sources. They are worked out once for each
user (`registry.runs.remembered`), so that a job does not parse what the jobs before it have parsed.
"""

import sys
from typing import Any

from experiments.record.snapshot import place_of
from registry.parts.catalogue import Catalogue, catalogue
from registry.parts.source_digest import digest_of_modules, digests, digests_of_parts, files_of
from registry.parts.sources import INSTALLED, ROOMS, file_of
from registry.runs.machine import ROOT
from registry.runs.records import CodeUsed
from registry.runs.remembered import CodeState, remembered, state_of
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


_known: dict[CodeState, dict[str, str]] = {}  # by this process


def of_this_repository() -> dict[str, str]:
    """Return the digest of every built-in part, by the dotted name of its class, and of every loop.

    Forks of a process that has asked for it need not work it out.
    """
    state = state_of(ROOMS)
    if state not in _known:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        installed = not INSTALLED.isdisjoint(ROOT.parts)
        key = f"Python {python}, {'installed' if installed else 'not installed'}"
        _known[state] = remembered("code_digests", state, key, _work_out, _read)
    return _known[state]


def _work_out() -> dict[str, str]:
    """All digests; none where code from elsewhere counts in them, of which the repository's sources say nothing."""
    parts = catalogue()
    found = digests_of_parts(parts, [info for info in parts.parts() if not info.from_outside])
    for loops in (TRAINING, EVALUATION):
        found |= {name: _of_loop(name, module) for name, module in loops.items()}
    return found if all(file.resolve().is_relative_to(ROOT) for file in files_of(found.values())) else {}


def _read(found: Any) -> dict[str, str]:
    return {name: str(found[name]) for name in found}


def _of_loop(name: str, module: str) -> str:
    return digest_of_modules([module], NOT_COUNTED[name], ("components",))


def _digests(spec: Spec, parts: Catalogue | None, without: tuple[str, ...], loops: dict[str, str]) -> dict[str, str]:
    known = of_this_repository()
    of_parts = digests(spec, parts or catalogue(spec.plugins), known)
    found = {name: digest for name, digest in of_parts.items() if name.split(".")[0] not in without}
    return found | {name: known.get(name) or _of_loop(name, module) for name, module in loops.items()}
