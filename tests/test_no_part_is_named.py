"""No core file names a part: what is to be known of a part, the part says itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from registry.parts.catalogue import catalogue
from registry.runs.machine import ROOT

CORE = ("registry", "analysis", "experiments", "components/assembly.py")
# The study of what named detectors see of corrupted clips of a named data set.
STUDIES = "experiments/validity/"
# Parts whose names are words of English or of other libraries: only a text that is nothing else counts.
WORDS = {
    "absolute",
    "checkpoint",
    "constant",
    "cosine",
    "euler",
    "learned",
    "linear",
    "none",
    "pixels",
    "scratch",
    "straight",
    "uniform",
}
# (file, part) -> why it may stand there.
DEFAULT, EXAMPLE, HOMONYM = "what holds where nothing is written", "an example in a hint or a help text", "a homonym"
ALLOWED = {
    **{
        ("registry/schema/spec.py", name): DEFAULT
        for name in (
            *("uniform_frame", "variant_1", "s_adaln", "absolute", "moving_shapes", "sd_vae"),
            *("epsilon_learned_sigma", "scratch", "constant", "adamw", "uniform"),
        )
    },
    **{("registry/schema/protocol.py", name): "presets" for name in ("moving_shapes_r3d", "i3d", "fvd", "kvd")},
    ("registry/schema/claim.py", "fvd"): DEFAULT,
    ("experiments/scores/protocols.py", "i3d"): EXAMPLE,
    ("experiments/search/goals.py", "fvd"): EXAMPLE,
    ("analysis/studies/simulations.py", "fvd"): "the name of a score that is made up",
    ("registry/schema/protocol.py", "uniform"): HOMONYM,  # where clips start
    ("registry/schema/protocol.py", "pixels"): HOMONYM,  # a key of a bound protocol
    ("experiments/scores/scoring.py", "pixels"): HOMONYM,
    ("experiments/search/results.py", "linear"): HOMONYM,  # a scale of an axis
    ("analysis/figures/searches.py", "linear"): HOMONYM,
    ("experiments/tracking/arms_view.py", "linear"): HOMONYM,  # a scale of an axis
    ("analysis/figures/searches.py", "none"): HOMONYM,  # no colour
    ("analysis/figures/arm_figures.py", "none"): HOMONYM,
    ("experiments/cli/score_view.py", "none"): HOMONYM,  # an empty list
    ("experiments/launch/importing.py", "checkpoint"): "what a training of no steps starts from",
    ("experiments/cli/checkpoints.py", "checkpoint"): HOMONYM,  # a verb
    ("registry/schema/search.py", "none"): HOMONYM,  # no pruner
    ("registry/schema/spec.py", "none"): HOMONYM,  # no samples are kept
    ("experiments/scores/floors.py", "none"): HOMONYM,
    ("experiments/cli/keys_list.py", "ddim"): EXAMPLE,
}


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every string in a file's code; docstrings are not code."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def named(text: str, names: set[str]) -> set[str]:
    """The parts that a text names."""
    words = {name for name in names - WORDS if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)}
    return words | (names & WORDS & {text})


def test_core_files_name_no_part() -> None:
    names = {info.name for info in catalogue().parts()}
    found: dict[tuple[str, str], list[int]] = {}
    for room in CORE:
        for file in sorted((ROOT / room).rglob("*.py")) or [ROOT / room]:
            path = file.relative_to(ROOT).as_posix()
            for line, text in () if path.startswith(STUDIES) else texts(file):
                for name in named(text, names):
                    found.setdefault((path, name), []).append(line)
    told = {f"{path}:{lines}": name for (path, name), lines in found.items() if (path, name) not in ALLOWED}
    assert told == {}
    assert {key for key, why in ALLOWED.items() if why != HOMONYM} <= set(found)  # what is allowed is still there


def test_names_are_seen_alone_and_within_texts() -> None:
    names = {"rotary", "i3d", "none"}
    assert named("rotary", names) == named("write detector=i3d, or rotary", names) - {"i3d"} == {"rotary"}
    assert named("[i3d] orders", names) == {"i3d"}
    assert named("none", names) == {"none"}
    assert named("none of them, clean-i3d, i3d_network", names) == set()
