"""A part's own rules: told at their key with file and line, for plug-ins too, and never more than arithmetic."""

import itertools
import re
from pathlib import Path

import pytest

from registry.errors import SpecError
from registry.experiment.resolve import resolve_protocol
from registry.parts.catalogue import Catalogue, catalogue
from tests.cli.command import run
from tests.fixtures.writing import TOY, one, problems, write

PLUGIN = '''
from components.model.temporal_positions import TemporalPosition
from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveInt


@part("temporal_position", "windows")
class Windows(TemporalPosition):
    """Windows of frames, an example.

    Source: none
    Official code: no
    """

    shortest = 2
    requires = (%s,)

    def __init__(self, frames: int, width: int, *, window: PositiveInt = 2) -> None:
        super().__init__()
'''
NUMBERS = itertools.count()
FRAMES = '("window", "data.frames % window == 0", "windows of {window} frames do not divide {data.frames}")'


def plugged(folder: Path, *rules: str) -> Path:
    """An experiment with the part `windows` and its rules, in a module of a name that no other test has."""
    module = f"windows_{next(NUMBERS)}"
    (folder / f"{module}.py").write_text(PLUGIN % ", ".join(rules))
    return write(folder, TOY + f"plugins: [{module}]\n")


def broken(folder: Path, rule: str, *overrides: str) -> list[str]:
    """What an experiment whose part has one rule is refused with."""
    return problems(plugged(folder, rule), "model.temporal_position=windows", *overrides)


def test_a_plug_in_carries_its_own_rule(tmp_path: Path) -> None:
    file = plugged(tmp_path, FRAMES)
    told = run("check", file, "model.temporal_position={name: windows, window: 3}")
    assert told.code == 2
    assert told.err == "command line: model.temporal_position.window: windows of 3 frames do not divide 4\n"
    assert problems(file, "model.temporal_position={name: windows, window: 4}") == []
    assert problems(file) == []  # where the part is not chosen, its rule does not matter


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("window == 2", True),
        ("name == 'windows' and shortest == 2", True),
        ("model.blocks == 'variant_1'", True),
        ("model.blocks in ('variant_1', 'variant_4')", True),
        ("model.blocks not in ['variant_1', 'variant_4']", False),
        ("'fvd' in scoring.metrics", True),
        ("model.blocks.depth_multiple == 2", True),
        ("model.blocks.branches == 1", True),
        ("diffusion.noise_schedule.steps >= 1000", True),
        ("diffusion.noise_schedule.nonsense > 5", True),  # does not apply
        ("data.path is None", True),
        ("not (data.frames + 1 > 4 or False)", False),
        ("data.frames // 2 - 1 == 1 if data.antialias else False", True),
        ("1 < window < 2", False),
        ("-data.frames * 0.5 / 1 <= -2", True),
    ],
)
def test_conditions(tmp_path: Path, condition: str, holds: bool) -> None:
    lines = broken(tmp_path, f'("", "{condition}", "no")')
    assert lines == ([] if holds else ["command line: model.temporal_position: no"])


def test_the_message_shows_expressions_by_their_value(tmp_path: Path) -> None:
    rule = '("data.frames", "data.frames < window", "{name}: {data.frames // window} windows of {model.blocks}")'
    assert broken(tmp_path, rule) == [f"{tmp_path / 'toy.yaml'}:4: data.frames: windows: 2 windows of variant_1"]


def test_what_a_message_cannot_show_stands_as_it_is_written(tmp_path: Path) -> None:
    """Blocks without `nonsense` are no reason to let the rule go."""
    rule = '("", "data.frames > 4", "{data.frames} frames of {model.blocks.nonsense * 2}")'
    assert broken(tmp_path, rule) == ["command line: model.temporal_position: 4 frames of model.blocks.nonsense * 2"]


def test_a_condition_that_cannot_be_judged_is_told_with_its_part(tmp_path: Path) -> None:
    line = one(broken(tmp_path, '("", "data.frames % (window - 2) == 0", "no")'), "cannot be judged")
    assert re.search(r"temporal_position windows \(.*/windows_\d+\.py:8\): the rule", line)
    one(broken(tmp_path, '("", "learning.lr_schedule < 3", "no")'), "cannot be judged")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('"data.frames"', "three texts; got 'data.frames'"),
        ('("", "window > 1")', "three texts"),
        ('("", "window > 1", 3)', "three texts"),
        ('("", "windw > 1", "no")', "the part has no 'windw'; did you mean 'window'?"),
        ('("", "data.frmaes > 1", "no")', "data has no key 'frmaes'; did you mean 'frames'?"),
        ('("", "dat.frames > 1", "no")', "the spec has no section 'dat'; did you mean 'data'?"),
        ('("data.frame", "window > 1", "no")', "data has no key 'frame'; did you mean 'frames'?"),
        ('("longest", "window > 1", "no")', "the key 'longest': the part has no 'longest'; valid: "),
        ('("", "data.frames.real > 1", "no")', "only a slot's part has parameters and facts"),
        ('("", "model.blocks.branches.real > 1", "no")', "only a slot's part has parameters and facts"),
        ('("", "window >", "no")', "'window >' is not an expression"),
        ('("", "window > 1", "{windw}")', "the part has no 'windw'"),
        ('("", "max(window, 1) > 1", "no")', "'max(window, 1)' is not arithmetic"),
        ('("", "().__class__", "no")', "is not arithmetic"),
        ('("", "10 ** 10 ** 10 > 1", "no")', "an operator that rules do not have"),
        ('("", "[x for x in (1, 2)]", "no")', "is not arithmetic"),
        ('("", "f\'{window}\'", "no")', "is not arithmetic"),
        ('("", "(window := 3) > 1", "no")', "is not arithmetic"),
    ],
)
def test_rules_that_are_none_are_told_with_file_and_line(tmp_path: Path, rule: str, words: str) -> None:
    line = one(broken(tmp_path, rule), words)
    assert re.search(r"/windows_\d+\.py:8: temporal_position windows: requires: ", line)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("temporal_stride = 3", "command line: model.patch_embedding: tubelets of 3 frames do not divide a clip of 4"),
        ("temporal_stride = 2", None),
        ("pass", "the part has no 'temporal_stride'; valid: name, requires, takes_stills; the class can say as a fact"),
    ],
)
def test_a_rule_is_inherited_also_where_its_parameter_is_fixed(tmp_path: Path, body: str, told: str | None) -> None:
    module = f"windows_{next(NUMBERS)}"
    (tmp_path / f"{module}.py").write_text(
        "from components.model.patch_embeddings import CompressionFrame\nfrom registry.parts.catalogue import part\n\n"
        f'@part("patch_embedding", "fixed")\nclass Fixed(CompressionFrame):\n    """Fixed."""\n\n    {body}\n\n'
        "    def __init__(self, latents, patch, width, out_channels) -> None: ...\n"
    )
    lines = problems(write(tmp_path, TOY + f"plugins: [{module}]\n"), "model.patch_embedding=fixed")
    assert [line for line in lines if told is None or told not in line] == []
    assert len(lines) == (told is not None)


def test_text_is_not_multiplied(tmp_path: Path) -> None:
    one(broken(tmp_path, '("", "name * 1000000000000 == name", "no")'), "name is 'windows', not a number")


def test_a_preset_of_a_data_set_names_keys_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = 'from registry.parts.catalogue import part\n\n\n@part("dataset", "odd")\nclass Odd:\n    """Odd."""\n\n'
    (tmp_path / "toy_odd_preset.py").write_text(f"{mark}    preset = {{'resolutoin': 256}}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SpecError, match=r"dataset odd: fact 'preset': expected 'resolution', .* got 'resolutoin'"):
        Catalogue(["toy_odd_preset"])


def test_a_detectors_rule_holds_for_two_folders_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = ('("", "scoring.frames >= 8", "sees {scoring.frames} frames of 8")', '("", "data.frames > 99", "skipped")')
    text = (PLUGIN % ", ".join(rules)).replace('"temporal_position"', '"detector"')
    (tmp_path / "seeing.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    parts = Catalogue(["seeing", *(info.module for info in catalogue().parts())])
    _, wrong = resolve_protocol({"frames": 4, "detector": "windows"}, parts)
    assert wrong == [(("detector",), "sees 4 frames of 8")]
    assert resolve_protocol({"frames": 8, "detector": "windows"}, parts)[1] == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("depth_multiple = 0", "fact 'depth_multiple': expected greater than 0, got 0"),
        ("branches = 'two'", "fact 'branches': expected a valid integer, got 'two'"),
        ("block_parameters = None", "fact 'block_parameters': expected a valid number, got None"),
        ("requires = 'even'", "requires: write a tuple of rules"),
    ],
)
def test_facts_that_the_workbench_reads_have_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: str
) -> None:
    mark = 'from registry.parts.catalogue import part\n\n\n@part("blocks", "odd")\nclass Odd:\n    """Odd."""\n\n'
    (tmp_path / "toy_odd_facts.py").write_text(f"{mark}    {body}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SpecError) as refused:
        Catalogue(["toy_odd_facts"])
    assert str(refused.value).startswith(f"{tmp_path / 'toy_odd_facts.py'}:5: blocks odd: {words}")
