"""A digest of code: it changes with whatever the code is made of, and with nothing else."""

import ast
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.errors import SpecError
from registry.experiment.experiment_file import load_experiment
from registry.parts.definitions import unit_of
from registry.parts.source_digest import digest_of_modules, digests
from registry.parts.sources import module_at
from registry.runs.machine import ROOT
from registry.schema.spec import Spec, slot_fields
from tests.fixtures.writing import TOY, arms, write

NUMBERS = itertools.count(1)
POSITION = "model.temporal_position"

PLUGIN = '''
import torch

import {helper}
from {base} import Base
from registry.parts.catalogue import part


def unused(x):
    return x


@part("temporal_position", "ramp")
class Ramp(Base):
    """A ramp.

    Source: none
    Official code: no
    """

    def add(self, tokens):
        return tokens + {helper}.ramp(tokens)
'''
HELPER = """
import math

HEIGHT = 2.0
DEPTH = 3.0


def ramp(tokens):
    return HEIGHT * line(tokens.shape[1])


def line(frames):
    from {deep} import curve

    return curve([k / math.pi for k in range(frames)])
"""
BASE = """
from components.model.temporal_positions import TemporalPosition


class Base(TemporalPosition):
    rotates = False

    def __init__(self, frames, width):
        super().__init__()
"""
DEEP = """
def curve(x):
    return x


def other(x):
    return x
"""


class Plugin:
    """A part beside an experiment, in modules whose names no other test has, with a base class and helpers."""

    def __init__(self, folder: Path) -> None:
        number = next(NUMBERS)
        self.names = {name: f"digest_{name}_{number}" for name in ("part", "helper", "base", "deep")}
        self.files = {name: folder / f"{module}.py" for name, module in self.names.items()}
        for name, text in {"part": PLUGIN, "helper": HELPER, "base": BASE, "deep": DEEP}.items():
            for other, module in self.names.items():
                text = text.replace(f"{{{other}}}", module)
            self.files[name].write_text(text)
        file = write(folder, TOY + f"plugins: [{self.names['part']}]\n")
        self.parts = load_experiment(file).parts
        self.spec: Spec = arms(file, f"{POSITION}=ramp")["baseline"].spec

    def digests(self) -> dict[str, str]:
        return digests(self.spec, self.parts)

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file, as an editor does some time later."""
        file, before = self.files[name], self.files[name].stat().st_mtime_ns
        text = file.read_text().replace("HELPER", self.names["helper"])
        old = old.replace("HELPER", self.names["helper"])
        assert old in text
        file.write_text(text.replace(old, new.replace("HELPER", self.names["helper"])))
        os.utime(file, ns=(before + 10**9, before + 10**9))


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


def test_every_part_in_use_has_a_digest(plugin: Plugin) -> None:
    found = plugin.digests()
    left_out = {"data.text_encoder", "scoring.second_opinions"}
    slots = {f"{section}.{key}" for section, key in slot_fields()} - left_out
    assert {name.rpartition(".")[0] for name in found} == slots
    assert {f"{POSITION}.ramp", "scoring.metrics.fvd", "scoring.metrics.kvd"} <= set(found)
    assert all(len(digest) == 12 and set(digest) <= set("0123456789abcdef") for digest in found.values())
    assert len(set(found.values())) == len(found)
    assert plugin.digests() == found


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("part", "tokens + HELPER.ramp", "tokens + 100 * HELPER.ramp"),
        ("part", '"ramp")\n', '"ramp")\n@torch.compile\n'),
        ("part", "def unused", "torch.set_flush_denormal(True)\n\n\ndef unused"),
        ("part", "def unused", "@torch.compile\ndef unused"),
        ("part", "def unused", "Base.rotates = True\n\n\ndef unused"),
        ("part", "def unused", "handle = torch.use_deterministic_algorithms(True)\n\n\ndef unused"),
        ("part", "def unused", "if torch.cuda.is_available():\n    Base.rotates = True\n\n\ndef unused"),
        ("helper", "HEIGHT = 2.0", "HEIGHT = 2.5"),
        ("helper", "HEIGHT = 2.0", "HEIGHT = 2"),
        ("helper", "tokens.shape[1]", "tokens.shape[2]"),
        ("helper", "math.pi", "math.e"),
        ("helper", "import math", "import cmath as math"),
        ("helper", "import curve", "import other as curve"),
        ("helper", "DEPTH = 3.0", "DEPTH = print(3.0)"),
        ("base", "rotates = False", "rotates = True"),
        ("base", "super().__init__()", "super().__init__()\n        self.frames = frames"),
        ("deep", "return x\n\n\ndef other", "return x * 2\n\n\ndef other"),
        ("deep", "def other", "print('imported')\n\n\ndef other"),
    ],
)
def test_an_edit_changes_the_digest_of_that_part_alone(plugin: Plugin, name: str, old: str, new: str) -> None:
    before = plugin.digests()
    plugin.edit(name, old, new)
    after = plugin.digests()
    assert {key for key in before if before[key] != after[key]} == {f"{POSITION}.ramp"}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (
            "part",
            "return tokens + HELPER.ramp(tokens)",
            "return (  # a comment\n\n            tokens + HELPER.ramp(tokens))",
        ),
        ("part", "A ramp.", "A straight ramp."),
        ("part", "import torch\n", "import torch\nimport json\n"),
        ("part", '"temporal_position"', "'temporal_position'"),
        ("part", "def unused(x):\n    return x", "def unused(x):\n    return 2 * x"),
        ("part", "def unused", '@part("blocks", "another")\nclass Another: ...\n\n\ndef unused'),
        ("part", "def unused", 'if __name__ == "__main__":\n    print(Ramp(4, 8))\n\n\ndef unused'),
        ("helper", "DEPTH = 3.0", "DEPTH = 4.0\nNEW: int = 5"),
        ("helper", "HEIGHT = 2.0", "HEIGHT = 2.00  # metres"),
        ("deep", "def other(x):\n    return x", "def other(x):\n    return -x"),
    ],
)
def test_what_says_the_same_has_the_same_digest(plugin: Plugin, name: str, old: str, new: str) -> None:
    before = plugin.digests()
    plugin.edit(name, old, new)
    assert plugin.digests() == before


def test_a_helper_that_is_not_python_counts_by_its_bytes(plugin: Plugin) -> None:
    before = plugin.digests()
    plugin.edit("deep", "def curve", "def curve(")
    broken = plugin.digests()
    plugin.edit("deep", "def curve(", "def curve((")
    assert len({found[f"{POSITION}.ramp"] for found in (before, broken, plugin.digests())}) == 3


def test_digests_are_made_without_importing_anything(plugin: Plugin) -> None:
    folder = plugin.files["part"].parent
    for name in plugin.files:
        plugin.files[name].write_text(plugin.files[name].read_text() + "\nraise SystemExit('was imported')\n")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from registry.experiment.arms import resolve_experiment\n"
        "from registry.experiment.experiment_file import load_experiment\n"
        "from registry.parts.source_digest import digests\n"
        f"file = load_experiment(Path({str(folder / 'toy.yaml')!r}), [{POSITION + '=ramp'!r}])\n"
        "digests(resolve_experiment(file)[0][0].spec, file.parts)\n"
        f"assert not {{'torch', 'components.model', {plugin.names['part']!r}}} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- packages and whole modules


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes files of a package whose name no other test has, and gives the digest of its module `loop`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    top = f"digest_package_{next(NUMBERS)}"

    def digest(without: tuple[str, ...] = (), **files: str) -> str:
        for name, text in files.items():
            path = tmp_path / top / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.stat().st_mtime_ns if path.exists() else 0
            path.write_text(text.replace("TOP", top))
            os.utime(path, ns=(before + 10**9, before + 10**9))
        return digest_of_modules([f"{top}.loop"], [f"{top}.{name}" for name in without])

    return digest


@pytest.mark.parametrize(
    "loop",
    [
        "from .inner.steps import step\n\n\ndef train():\n    step()\n",
        "from .inner import steps\n\n\ndef train():\n    steps.step()\n",
        "from .inner import *\n\n\ndef train():\n    steps.step()\n",
        "from .inner.steps import *\n\n\ndef train():\n    step()\n",
        "import TOP.inner.steps\n\n\ndef train():\n    TOP.inner.steps.step()\n",
        "import TOP.inner.steps as s\n\n\ndef train():\n    s.step()\n",
        "from TOP.again import step\n\n\ndef train():\n    step()\n",
        "from .inner import steps\n\n\ndef train(name):\n    getattr(steps, name)()\n",
        "def train():\n    from .inner.steps import step\n\n    step()\n",
        "def train():\n    import TOP.inner.steps\n\n    TOP.inner.steps.step()\n",
        "try:\n    from nowhere import step\nexcept ImportError:\n    from .inner.steps import step\n\nstep()\n",
        "class Loop:\n    from .inner.steps import step\n\n    default = step\n",
    ],
)
@pytest.mark.parametrize("init", ["", "from . import steps\n"])
def test_code_is_followed_through_packages(package: Callable[..., str], loop: str, init: str) -> None:
    steps = "def step():\n    return size()\n\n\ndef size():\n    return 1\n"
    if "import *" in loop and "steps.step" in loop and not init:
        init = "from . import steps\n"
    before = package(loop=loop, inner____init__=init, inner__steps=steps, again="from .inner.steps import step\n")
    assert package(loop=loop) == before
    assert package(inner__steps=steps.replace("return 1", "return 2")) != before
    assert package(inner__steps=steps) == before


def test_folders_without_init_are_packages_too(package: Callable[..., str]) -> None:
    loop = "import TOP.a.b.steps\n\nTOP.a.b.steps.step()\n"
    before = package(loop=loop, a__b__steps="def step(): ...\n")
    assert package(a__b__steps="def step(): return 1\n") != before


def test_all_of_the_modules_counts_and_what_is_left_out_does_not(package: Callable[..., str]) -> None:
    loop = "from . import notes\n\n\ndef unused():\n    notes.write()\n"
    before = package(loop=loop, notes="def write(): ...\n")
    assert package(notes="def write(): return 1\n") != before
    left_out = package(("notes",))
    assert package(("notes",), notes="def write(): return 2\n") == left_out
    assert package(("note",)) != left_out  # not a package's name cut short
    assert package(loop=loop.replace("write()", "write(1)")) != before


def test_what_is_imported_for_type_checkers_does_not_count(package: Callable[..., str]) -> None:
    loop = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from .notes import Note\n\n\ndef train(): ...\n"
    before = package(loop=loop, notes="print('imported')\n\n\nclass Note: ...\n")
    assert package(notes="print('imported again')\n\n\nclass Note: ...\n") == before
    for condition in ("if not TYPE_CHECKING", "if __name__ != '__main__'"):
        runs = loop.replace("if TYPE_CHECKING", condition)
        assert package(loop=runs, notes="print(1)\n") != package(loop=runs, notes="print(2)\n")


def test_modules_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"there is no Python module .no\.such\.module"):
        digest_of_modules(["no.such.module"])


def test_a_circle_of_imports_ends(package: Callable[..., str]) -> None:
    files = {"loop": "from . import a\n\na.x()\n", "a": "from . import loop\n\n\ndef x(): return loop.a\n"}
    assert package(**files) == package(**files)


# ---------------------------------------------------------------- this repository

EDITS = """
import json, os, sys
from pathlib import Path

from registry.experiment.resolve import resolve
from registry.parts.catalogue import catalogue
from registry.parts.source_digest import digest_of_modules, digests
from registry.parts.sources import modules_below

root = Path(sys.argv[1])
specs = [resolve({"model": {"size": "S", "blocks": name}}, catalogue())[0] for name in ("variant_1", "variant_2")]


def now():
    found = {}
    for spec in specs:
        found |= {f"{spec.model.blocks.name}: {key}": digest for key, digest in digests(spec, catalogue()).items()}
    return {**found, "training": digest_of_modules(modules_below("experiments.training.trainer"))}


changed = []
for name, old, new in json.loads(sys.argv[2]):
    before, file = now(), root / name
    text, stamp = file.read_text(), file.stat().st_mtime_ns
    assert old in text, (name, old)
    for content in (text.replace(old, new), text):
        file.write_text(content)
        stamp += 10**9
        os.utime(file, ns=(stamp, stamp))
        after = now()
        changed.append(sorted(key for key in before if before[key] != after[key]))
assert "torch" not in sys.modules
print(json.dumps(changed))
"""


def test_edits_of_the_workbench_change_what_is_made_of_them(tmp_path: Path) -> None:
    for room in ("registry", "components", "experiments"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    edits = {
        # a block that both variants are made of
        ("components/model/blocks.py", "self.mlp = MLP(width)", "self.mlp = MLP(2 * width)"): {
            "variant_1: model.blocks.variant_1",
            "variant_2: model.blocks.variant_2",
        },
        # one of the two variants
        ("components/model/blocks.py", "if index % 2 == 0:", "if index % 2 == 1:"): {
            "variant_1: model.blocks.variant_1"
        },
        # the network that the parts are put into
        ("components/model/latte.py", "class Latte(nn.Module):", "class Latte(nn.Module):\n    more = 1\n"): {
            "training",
            *(f"{name}: learning.initialisation.scratch" for name in ("variant_1", "variant_2")),
            *(f"{name}: learning.optimiser.adamw" for name in ("variant_1", "variant_2")),
        },
        ("experiments/training/validation.py", "BANDS = ", "BANDS = 1 + "): {"training"},
        ("registry/schema/sizes.py", "384", "385"): set(),
        ("experiments/cli/console.py", "WIDTH = 160", "WIDTH = 150"): set(),
        # what runs when it is imported, by those for whom `experiments` names the doors of notebooks
        ("experiments/cli/console.py", "WIDTH = 160", "WIDTH = int(150)"): set(),
    }
    done = subprocess.run(
        [sys.executable, "-c", EDITS, str(tmp_path), json.dumps(list(edits))],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [set(keys) for keys in found[::2]] == list(edits.values())
    assert not any(found[1::2])  # and back


SAMPLE = '''
@decorated(1, key="é")
async def sample(a: int, /, b=2.5, *rest, c: str | None = None, **more) -> list[int]:
    """Docstring."""
    async with a as x, b: ...
    for k, (v, *w) in more.items():
        yield f"{v!r:>{a}} {k=} {{}}" "more" f"{b}"
    match a:
        case {"k": [1, *_], **left} if (n := len(left)) > 0x10: return lambda q=1j: not -q
        case Point(x=0) | None: del a.b[1:2, ::3]
    try: assert a < b <= c, b"bytes"
    except (A, B) as error: raise error from None
    else: global g
    return [*rest, {**more}, {1, 2}, (yield), await x, ..., True] if a else {k: v async for k in a if v}
'''


def test_a_statements_digest_stays_what_it_is_in_run_folders() -> None:
    """The number was the same with Python 3.11, 3.12 and 3.13; if it must change, all recorded digests change."""
    unit = unit_of(ast.parse(SAMPLE).body[0], "")
    assert unit.digest[:12] == "aa0626969674"
    assert {("a",), ("decorated",), ("more", "items"), ("Point",), ("left",)} <= unit.reads


def test_long_and_deep_expressions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "deep.py"
    path.write_text(f"x = {' + '.join('1' * 900)}\ny = 0x{'f' * 5000}\n")
    module = module_at("deep", path)
    assert len({unit_of(statement, "").digest for statement in module.tree.body}) == 2
