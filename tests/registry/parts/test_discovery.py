"""Built-in parts are found by their mark, in an order that is stated."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import components
from registry.parts import discovery
from registry.parts.catalogue import Catalogue, catalogue
from registry.schema.spec import slot_fields

PART = '''
from registry.parts.catalogue import part


@part("blocks", "{name}")
class {name}:
    """A part."""
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that stands in for `components`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(discovery, "PACKAGE", "rooms_of_parts")
    folder = tmp_path / "rooms_of_parts"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    return folder


def test_every_module_that_registers_a_part_is_found() -> None:
    registered = set()
    for found in pkgutil.walk_packages(components.__path__, "components."):
        module = importlib.import_module(found.name)
        own = [value for value in vars(module).values() if getattr(value, "__module__", "") == found.name]
        if any("part_name" in vars(value) for value in own if isinstance(value, type)):
            registered.add(found.name)
    assert set(discovery.built_in()) == registered


def test_a_new_file_is_there_at_once(package: Path) -> None:
    assert discovery.built_in() == []
    (package / "inner" / "later.py").write_text(PART.format(name="later"))
    (package / "early.py").write_text(PART.format(name="early").replace("@part", "@catalogue.part"))
    (package / "helper.py").write_text("# not a mark: @part(\ndef part(slot, name): ...\n")
    assert discovery.built_in() == ["rooms_of_parts.early", "rooms_of_parts.inner.later"]
    assert Catalogue(discovery.built_in()).names("blocks") == ["early", "later"]


@pytest.mark.parametrize("name", ["later-old.py", ".hidden/later.py", "later copy.py", "later.py.orig", "later.txt"])
def test_files_that_cannot_be_imported_by_name_are_not_parts(package: Path, name: str) -> None:
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_text(PART.format(name="later"))
    assert discovery.built_in() == []


def test_the_order_is_that_of_the_schemas_slots_then_of_modules_and_lines() -> None:
    infos = catalogue().parts()
    slots = list(dict.fromkeys(slot_fields().values()))
    places = [(slots.index(info.slot), info.module, int(info.where.rpartition(":")[2])) for info in infos]
    assert places == sorted(places)
    assert catalogue().slots == slots
