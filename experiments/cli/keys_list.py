"""The keys of an experiment file as people and programs read them."""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from experiments.cli import console
from registry.experiment.keys import EXPERIMENT, REQUIRED, KeyInfo, keys_at, section_of
from registry.parts.catalogue import catalogue
from registry.schema.labels import label_of

HEADERS = ("key", "type", "default", "meaning")
PAGE = """\
# Keys

Every key of an experiment file. Printed by `python run.py keys --format md`; `keys learning` prints one section, `keys
model.blocks` one key, and `--format json` is for programs.

- Keys of the spec (`model.…` to `runtime.…`) stand under `base` in a file. Axes, `set`, `search.space` and the command
  line name them without it: `learning.steps=100`.
- A part is written as its name, or with parameters: `{name: ddim, steps: 25}` or `ddim(steps=25)`. `parts` lists them.
- A value of an axis may have a label, which names its arm in tables, figures and claims: `{value: …, label: short}`.
- A relative path is relative to the file that holds it, and on the command line to the current folder: `data.path`,
  `base`, and every text that begins with `./` or `../`, such as `weights: ./vae`.
- KEY stands for a name: of a key of the spec in `search.space`, of arms in `resources.arms` (a pattern).
- Numbers are finite, integers have at most 64 bits, and a file at most 100,000 values, in 100 levels.
"""


def rows(path: str | None, plugins: Iterable[str]) -> list[KeyInfo]:
    """Every key, or those at a dotted path.

    Raises:
        SpecError: no such key, or a plugin that cannot be read.
    """
    return keys_at(path, catalogue(tuple(plugins)))


def show(found: Sequence[KeyInfo]) -> None:
    """A table."""
    console.table(HEADERS, map(_cells, found))


def as_json(found: Sequence[KeyInfo]) -> str:
    """A list of mappings."""
    return json.dumps([info.describe() for info in found], indent=1) + "\n"


def as_markdown(found: Sequence[KeyInfo]) -> str:
    """A page with a table a section; docs/keys.md is this of all keys."""
    pieces = [PAGE]
    for section, infos in groupby(found, key=lambda info: info.section):
        about = (section_of(section).__doc__ or "") if section != EXPERIMENT else ""
        pieces.append(f"## {section or 'The file'}\n")
        pieces += [f"{' '.join(about.split())}\n"] if about else []
        lines = [HEADERS, tuple("---" for _ in HEADERS), *(_markdown_cells(info) for info in infos)]
        pieces.append("".join(f"| {' | '.join(line)} |\n" for line in lines))
    return "\n".join(pieces)


def _cells(info: KeyInfo) -> list[str]:
    return [info.key, info.type, default_text(info.default), info.meaning]


def _markdown_cells(info: KeyInfo) -> list[str]:
    key, kind, default, meaning = (cell.replace("|", r"\|") for cell in _cells(info))
    return [f"`{key}`", kind, f"`{default}`" if default != "required" else default, meaning]


def default_text(default: Any) -> str:
    """A default as a file would have it."""
    if default is REQUIRED:
        return "required"
    if isinstance(default, list | dict) or default == "":
        return json.dumps(default)
    return label_of(default)
