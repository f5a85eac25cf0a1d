"""Which modules are read, and where they lie."""

import ast
import sys
from pathlib import Path

import pytest

from registry.parts.sources import THIRD_PARTIES, Sources, file_of
from registry.runs.machine import ROOT

ROOMS = ("registry", "components", "experiments", "analysis")


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")


def test_own_is_what_lies_beside_and_the_package_of_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed, beside = tmp_path / "lib" / "site-packages", tmp_path / "beside"
    put(installed, "s_pack/__init__.py", "s_pack/parts.py", "s_other/__init__.py", "s_single.py")
    put(beside, "s_mine.py", "s_folder/inner/module.py", "torch_like/__init__.py")
    for folder in (installed, beside):
        monkeypatch.syspath_prepend(str(folder))
    sources = Sources(["s_pack.parts", "s_mine"])
    own = ("s_pack", "s_pack.parts", "s_mine", "s_folder.inner.module", "torch_like", "components.model.blocks")
    assert [name for name in own if not sources.is_own(name)] == []
    others = ("s_other", "s_single", "os.path", "torch.nn", "sys", "not_there_at_all")
    assert [name for name in others if sources.is_own(name)] == []
    assert sources.read("s_other") is None
    found = sources.read("s_folder.inner.module")
    assert found is not None
    assert (found.path, found.package) == (beside / "s_folder" / "inner" / "module.py", "s_folder.inner")


def test_what_the_workbench_is_built_on_is_a_third_party_wherever_it_lies() -> None:
    """Built from a checkout, torch would otherwise be read, and count as code of the parts."""
    tops = set()
    for file in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                tops |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                tops.add((node.module or "").split(".")[0])
    assert tops - sys.stdlib_module_names - set(ROOMS) <= THIRD_PARTIES


def test_a_package_stands_before_a_module_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "s_top/__init__.py", "s_top/twice.py", "s_top/twice/__init__.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert file_of("s_top.twice") == tmp_path / "s_top" / "twice" / "__init__.py"
    assert file_of("s_top.none") is None
    assert file_of("") is None
