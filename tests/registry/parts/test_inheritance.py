"""Parts inherit parameters and facts as Python classes do, read from source across modules."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.errors import SpecError
from registry.parts.catalogue import Catalogue, PartInfo
from registry.runs.machine import ROOT
from tests.cli.command import run
from tests.fixtures.writing import arms, write

MARK = "from registry.parts.catalogue import part\nfrom registry.schema.parameter_types import PositiveInt\n"
ABOUT = '"""A part.\n\n    Source: none\n    Official code: no\n    """'
Write = Callable[..., Catalogue]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes modules (`a_b` is `a/b.py`) below a folder that is importable, and reads the parts of the first one."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write_and_read(**modules: str) -> Catalogue:
        for name, text in modules.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Catalogue([next(iter(modules)).replace("__", ".")])

    return write_and_read


def twist(base: str, body: str = "pass") -> str:
    """A module's end: a part of the slot `blocks` named `twist` with the given base classes."""
    return f'{MARK}\n\n@part("blocks", "twist")\nclass Twist({base}):\n    {ABOUT}\n\n    {body}\n'


def of(parts: Catalogue) -> PartInfo:
    return parts.find("blocks", "twist")


BASE = "class Base:\n    branches = 3\n\n    def __init__(self, depth: int, *, rank: PositiveInt = 4) -> None: ...\n"


def test_a_part_derived_from_variant_1_keeps_its_rule_and_depth(tmp_path: Path) -> None:
    (tmp_path / "twisted.py").write_text("from components.model.blocks import Variant1\n" + twist("Variant1"))
    file = write(tmp_path, "plugins: [twisted]\nbase: {model: {size: XL, blocks: twist}}\n")
    told = run("check", file, "model.depth=27")
    assert told.code == 2
    assert "model.depth: twist has as many spatial as temporal blocks: depth must be even, got 27" in told.err
    assert arms(file)["baseline"].spec.model.depth == 28  # by the paper's rule, from the inherited block_parameters


@pytest.mark.parametrize(
    ("imports", "base"),
    [
        ("from bases import Base\n", "Base"),
        ("from bases import Base as B\n", "B"),
        ("import bases\n", "bases.Base"),
        ("import bases as b\n", "b.Base"),
        ("import bases\n\nB = bases.Base\n", "B"),
        ("from bases import *\n", "Base"),
        ("from through import Base\n", "Base"),
        ("from through import *\n", "Base"),
        ("try:\n    from nowhere import Base\nexcept ImportError:\n    from bases import Base\n", "Base"),
        ("from typing import Generic, TypeVar\nfrom bases import Base\n\nT = TypeVar('T')\n", "Base, Generic[T]"),
        ("from bases import Base\nfrom torch import nn\n", "nn.Module, Base"),
        ("from collections import namedtuple\nfrom bases import Base\n", "namedtuple('P', 'a'), Base"),
    ],
)
def test_bases_are_found_however_they_are_imported(read: Write, imports: str, base: str) -> None:
    through = "from bases import Base\n"
    info = of(read(parts_here=imports + twist(base), bases=MARK + BASE, through=through))
    assert info.fact("branches") == 3
    assert info.parameters().model_dump() == {"rank": 4}


def test_bases_within_a_package_are_found(read: Write) -> None:
    own = "from . import bases\nfrom .inner.deep import Deep\n" + twist("Deep, bases.Base")
    deep = "from ..bases import Base\n\n\nclass Deep(Base):\n    depth_multiple = 2\n"
    info = of(read(pack__parts=own, pack__bases=MARK + BASE, pack__inner__deep=deep))
    assert (info.fact("branches"), info.fact("depth_multiple")) == (3, 2)
    assert info.parameters().model_dump() == {"rank": 4}


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        ("pass", {"branches": 3}),
        ("branches = 5", {"branches": 5}),
        ("branches: int = 5", {"branches": 5}),
        ("branches: int", {"branches": 3}),
        ("branches = max(2, 1)", {}),
        ("def branches(self) -> int: ...", {}),
    ],
)
def test_what_a_class_says_hides_what_its_bases_say(read: Write, body: str, facts: dict[str, int]) -> None:
    info = of(read(parts_here="from bases import Base\n" + twist("Base", body), bases=MARK + BASE))
    assert info.facts == facts


RULED = (
    "class Root:\n    strict = True\n"
    "    requires = (('model.depth', 'not strict or model.depth > rank', 'too flat'),)\n\n"
    "    def __init__(self, depth: int, *, rank: PositiveInt = 4) -> None: ...\n\n\n"
    "class Base(Root):\n    requires = (('model.heads', 'model.heads > 1', 'one head'),)\n"
)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("pass", ["too flat", "one head"]),
        ("requires = (('model.width', 'model.width > 9', 'thin'),)", ["too flat", "one head", "thin"]),
        ("requires = (('model.heads', 'model.heads > 1', 'too few'),)", ["too flat", "too few"]),
        ("strict = False", ["one head"]),
    ],
)
def test_rules_of_bases_hold(read: Write, body: str, told: list[str]) -> None:
    info = of(read(parts_here="from bases import Base\n" + twist("Base", body), bases=MARK + RULED))
    values = {"model.depth": 2, "model.heads": 1, "model.width": 4, "strict": info.facts["strict"]}
    values |= info.parameters().model_dump()

    messages = [rule.broken(lambda name: values[".".join(name)]) for rule in info.rules]
    assert [message for message in messages if message] == told


def test_an_own_constructor_hides_the_inherited_one(read: Write) -> None:
    body = "def __init__(self, depth: int, *, turns: PositiveInt = 2) -> None: ..."
    info = of(read(parts_here="from bases import Base\n" + twist("Base", body), bases=MARK + BASE))
    assert info.parameters().model_dump() == {"turns": 2}


def test_several_bases_are_looked_up_in_pythons_order(read: Write) -> None:
    bases = (
        "class Root:\n    a = 'root'\n    b = 'root'\n    c = 'root'\n\n\nclass Left(Root):\n    b = 'left'\n\n\n"
        "class Right(Root):\n    b = 'right'\n    c = 'right'\n"
    )
    info = of(read(parts_here="from bases import Left, Right\n" + twist("Left, Right"), bases=bases))
    python: dict[str, type] = {}
    exec(bases + "\n\nclass Twist(Left, Right): pass\n", python)
    assert info.facts == {name: getattr(python["Twist"], name) for name in "abc"}
    assert info.facts == {"a": "root", "b": "left", "c": "right"}


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ({"parts_here": twist("Bse") + BASE}, "parts_here neither defines nor imports 'Bse'; did you mean 'Base'?"),
        ({"parts_here": "from bases import Bse\n" + twist("Bse"), "bases": MARK + BASE}, "did you mean 'Base'?"),
        ({"parts_here": "import bases\n" + twist("bases.Bse"), "bases": MARK + BASE}, "no base 'bases.Bse': bases"),
        (
            {"pack__parts": "from pack.bses import Base\n" + twist("Base"), "pack__bases": MARK + BASE},
            "no base 'Base': there is no Python module 'pack.bses'",
        ),
        (
            {"parts_here": "from bases import Base\n" + twist("Base"), "bases": "from parts_here import Base\n"},
            "the imports of 'Base' go round in a circle",
        ),
        (
            {
                "parts_here": "from bases import Base\n" + twist("Base"),
                "bases": "from parts_here import Twist\n\n\nclass Base(Twist): ...\n",
            },
            "class Twist inherits from itself: parts_here.Twist -> bases.Base -> parts_here.Twist",
        ),
        (
            {"parts_here": "class A: ...\n\n\nclass B(A): ...\n\n\n" + twist("A, B")},
            "Python finds no order of lookup for its bases A, B",
        ),
        ({"parts_here": "from bases import Base\n" + twist("Base"), "bases": "class Base(\n"}, "is not valid Python"),
        ({"parts_here": "from bases import Base\n" + twist("Base"), "bases": "a = '\0'\n"}, "is not valid Python"),
        (
            {"parts_here": "from bases import Base\n" + twist("Base"), "bases": BASE.replace("PositiveInt", "Path")},
            "parameter 'rank': ",
        ),
    ],
)
def test_bases_that_are_not_there_are_told_with_their_place(
    read: Write, modules: dict[str, str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as refused:
        read(**modules)
    assert words in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path}/")


@pytest.mark.parametrize(
    "text",
    [
        "from torch.nn import *\n" + twist("Module"),
        "from nowhere_at_all import Base\n" + twist("Base"),
        "import torch\n" + twist("torch.nn.Module"),
        twist("Exception"),
        twist("type('Base', (), {})"),
        "class Outer:\n    class Base: ...\n\n\n" + twist("Outer.Base"),
        "def __getattr__(name): ...\n\n\n" + twist("Base"),
    ],
)
def test_bases_that_are_not_read_add_nothing(read: Write, text: str) -> None:
    info = of(read(parts_here=text))
    assert info.facts == {}
    assert not info.parameters.model_fields


def test_installed_packages_are_read_only_where_they_hold_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages"
    (installed / "pack").mkdir(parents=True)
    (installed / "lib.py").write_text(BASE.replace("3", "7"))
    (installed / "pack" / "bases.py").write_text(MARK + BASE)
    own = "import lib\nfrom pack.bases import Base\n" + twist("lib.Base, Base")
    (installed / "pack" / "parts.py").write_text(own)
    monkeypatch.syspath_prepend(str(installed))
    assert of(Catalogue(["pack.parts"])).facts == {"branches": 3}
    assert of(Catalogue(["pack.parts", "lib"])).facts == {"branches": 7}


def test_looking_for_bases_imports_nothing(tmp_path: Path) -> None:
    for folder in ("pack", "pack/inner"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("raise SystemExit('was imported')\n")
    (tmp_path / "pack/inner/bases.py").write_text(MARK + BASE + "raise SystemExit('was imported')\n")
    own = "import torch\nfrom pack.inner.bases import Base\nfrom components.model.blocks import Variant1\n"
    (tmp_path / "pack/parts.py").write_text(own + twist("Base, Variant1, torch.nn.Module"))
    code = (
        "import sys\nfrom registry.parts.catalogue import catalogue\n"
        "info = catalogue(['pack.parts']).find('blocks', 'twist')\n"
        "assert info.fact('branches') == 3 and info.fact('depth_multiple') == 2\n"
        "assert not {'torch', 'pack', 'components.model'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
