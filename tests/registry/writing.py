"""Experiment files written for a test, and what the registry says of them."""

import textwrap
from pathlib import Path

from registry.ablation import Arm, resolve_experiment
from registry.claims import ResolvedClaim
from registry.counting import count_for_matching
from registry.errors import SpecError
from registry.experiment import load_experiment

TOY = """
base:
  model: {width: 16, heads: 2, depth: 2}
  data: {resolution: 16, frames: 4, autoencoder: {name: pixels, factor: 4}}
"""


def write(folder: Path, text: str, name: str = "toy.yaml") -> Path:
    """An experiment file with dedented text."""
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def resolved(path: Path, *overrides: str) -> tuple[list[Arm], list[ResolvedClaim]]:
    """Arms and claims of a file."""
    return resolve_experiment(load_experiment(path, overrides), count_for_matching)


def arms(path: Path, *overrides: str) -> dict[str, Arm]:
    """The file's arms by name."""
    return {arm.name: arm for arm in resolved(path, *overrides)[0]}


def problems(path: Path, *overrides: str) -> list[str]:
    """Every line that a file is refused with; empty if it is not refused."""
    try:
        resolved(path, *overrides)
    except SpecError as error:
        return error.problems
    return []


def one(lines: list[str], *parts: str) -> str:
    """The only line that contains all parts; fails the test with all lines where there is not just one."""
    found = [line for line in lines if all(part in line for part in parts)]
    assert len(found) == 1, (parts, lines)
    return found[0]
