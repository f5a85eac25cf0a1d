"""Parts from outside on the command line: nothing runs that was only read, and what fails is told with its line."""

from pathlib import Path

import pytest

from tests.cli.command import Told, run
from tests.fixtures.toy_replicates import TOY, write

PART = '''\
import os
import sys

import torch

from components.model.temporal_positions import TemporalPosition
from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveFloat
{at_import}


@part("temporal_position", "ramp")
class Ramp(TemporalPosition):
    """A straight ramp over the frames.

    Source: none, an example
    Official code: no
    """

    def __init__(self, frames: int, width: int, *, height: {annotation} = 1.0) -> None:
        super().__init__()
        {in_constructor}

    def add(self, tokens):
        {in_forward}
        return tokens
'''


def plugin(folder: Path, name: str, **pieces: str) -> tuple[Path, Path]:
    """An experiment with an arm of a plug-in, and the plug-in; `pieces` are lines of its source."""
    given = {"at_import": "", "annotation": "PositiveFloat", "in_constructor": "pass", "in_forward": "pass", **pieces}
    (folder / f"{name}.py").write_text(PART.format(**given))
    text = TOY.replace("model.blocks: [variant_1, variant_4]", "model.temporal_position: [absolute, ramp]")
    return write(folder, text.split("claim:")[0] + f"plugins: [{name}]\n"), folder / f"{name}.py"


def refused(told: Told) -> str:
    """The one line of a verb that ended with 2."""
    assert told.code == 2, told
    assert "Traceback" not in told.err
    (line,) = told.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("where", "line", "code", "told"),
    [
        ("at_import", 9, "import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("at_import", 9, "os._exit(0)", "RuntimeError: os._exit(0) would end the workbench"),
        ("in_constructor", 22, "raise KeyError('height')", "KeyError: 'height'"),
        ("in_constructor", 22, "sys.exit(0)", "SystemExit: 0"),
        ("in_forward", 25, "raise ValueError(tuple(tokens.shape))", "ValueError: (1, 4, 4, 16)"),
    ],
)
def test_a_part_that_fails(tmp_path: Path, where: str, line: int, code: str, told: str) -> None:
    experiment, source = plugin(tmp_path, f"toy_failing_{where}_{line}", **{where: code})
    found = refused(run("check", experiment, "--runs", tmp_path / "runs"))
    place = f"{experiment}:17: arm temporal_position=ramp: model.temporal_position: "
    assert found.startswith(f"{place}part 'ramp' fails at {source}:{line}: {told}"), found
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "annotation",
    [
        "PositiveFloat[[c for c in ().__class__.__base__.__subclasses__()"
        " if c.__name__ == 'catch_warnings'][0]()._module.__builtins__['open']({touched!r}, 'w')]",
        "Literal[().__class__.__base__.__subclasses__()]",
        "(lambda: 0)()",
        "'PositiveFloat'",
    ],
)
def test_annotations_are_looked_up_and_never_evaluated(tmp_path: Path, annotation: str) -> None:
    touched = tmp_path / "touched"
    experiment, source = plugin(tmp_path, "toy_evil_annotation", annotation=annotation.format(touched=str(touched)))
    line = refused(run("check", experiment, "--runs", tmp_path / "runs"))
    assert line.startswith(f"{experiment}:19: {source}:13: parameter 'height': ")
    assert not touched.exists()
    line = refused(run("parts", "--plugin", "toy_evil_annotation", PYTHONPATH=str(tmp_path)))
    assert line.startswith(f"{source}:13: parameter 'height': ")
    assert not touched.exists()


def test_reading_a_part_imports_no_package_around_it(tmp_path: Path) -> None:
    package = tmp_path / "toy_package" / "inner"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text(f"open({str(tmp_path / 'touched')!r}, 'w')\n")
    plugin(package, "toy_inside")
    for module in ("toy_package.inner.toy_inside", "toy_package.inner"):
        told = run("parts", "--plugin", module, "--slot", "temporal_position", PYTHONPATH=str(tmp_path))
        assert told.code == 0, told
        assert ("ramp" in told.out) == module.endswith("toy_inside")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"x = (", "{path}:1: is not valid Python: '(' was never closed"),
        (b"x = '\xff'", "is not valid Python: (unicode error) 'utf-8' codec can't decode byte 0xff"),
        (b"x = 1\0", "source code"),
        (b"x = " + b"(" * 10_000 + b")" * 10_000, "{path}"),
        (b"x = " + b"-" * 100_000 + b"1", "{path}"),
        (b'@part("blocks", {[]: 1})\nclass A: ...', "{path}:2: write @part(slot, name) with two plain strings"),
        (b'@part("blocks")\nclass A: ...', "{path}:2: write @part(slot, name) with two plain strings"),
        (b'@part(["blocks"], "a")\nclass A: ...', "{path}:2: write @part(slot, name) with two plain strings"),
    ],
    ids=["open", "bytes", "null", "brackets", "minuses", "mapping", "one", "list"],
)
def test_a_plugin_that_cannot_be_read(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "toy_unreadable.py"
    path.write_bytes(content)
    line = refused(run("parts", "--plugin", "toy_unreadable", PYTHONPATH=str(tmp_path)))
    assert told.format(path=path) in line
