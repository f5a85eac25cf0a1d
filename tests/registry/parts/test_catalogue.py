"""Parts: read from source as they really are, taken from outside as well, and cheap to ask for."""

import inspect
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from components.assembly import Assembly
from registry.errors import SpecError
from registry.parts import catalogue as catalogue_module
from registry.parts.catalogue import Catalogue, PartInfo, catalogue
from registry.parts.discovery import ENTRY_POINT_GROUP, built_in
from registry.runs.machine import ROOT
from registry.schema.spec import slot_fields
from tests.fixtures.writing import TOY, arms, one, problems, write

PARTS = catalogue().parts()

# What the paper and the issue ask for; more parts are welcome.
ASKED_FOR = {
    "patch_embedding": {"uniform_frame", "compression_frame"},
    "blocks": {"variant_1", "variant_2", "variant_3", "variant_4", "full_attention"},
    "conditioning": {"s_adaln", "all_tokens"},
    "temporal_position": {"absolute", "rotary", "learned", "none"},
    "objective": {"epsilon_learned_sigma", "v_prediction", "flow_matching"},
    "noise_schedule": {"linear", "cosine"},
    "sampler": {"ddpm", "ddim", "dpm_solver_pp", "unipc"},
    "lr_schedule": {"constant", "warm_up", "cosine"},
    "initialisation": {"scratch"},
    "autoencoder": {"sd_vae", "taesd", "pixels"},
    "dataset": {"moving_shapes", "video_folder"},
    "detector": {"i3d", "random_r3d"},
    "metric": {"fvd"},
}


@pytest.mark.parametrize("slot", ASKED_FOR)
def test_what_was_asked_for_is_there(slot: str) -> None:
    assert set(catalogue().names(slot)) >= ASKED_FOR[slot]


def test_every_slot_of_the_spec_has_parts_and_every_part_a_slot() -> None:
    assert set(slot_fields().values()) == set(catalogue().slots)


@pytest.mark.parametrize("info", PARTS, ids=lambda info: f"{info.slot}-{info.name}")
def test_a_part_is_what_its_source_says(info: PartInfo) -> None:
    cls = info.load()
    assert (cls.slot, cls.part_name) == (info.slot, info.name)  # type: ignore[attr-defined]
    signature = inspect.signature(cls.__init__).parameters.values()
    own = {p.name: p.default for p in signature if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert {name: field.default for name, field in info.parameters.model_fields.items()} == own
    assert not [p for p in signature if p.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)]
    info.parameters.model_validate(own)  # defaults are of their own type
    for name, value in info.facts.items():
        assert getattr(cls, name) == value or name == "requires"
    said = {rule[:2] for base in cls.__mro__ for rule in vars(base).get("requires", ())}  # of base classes as well
    assert {rule[:2] for rule in info.facts.get("requires", ())} == said


@pytest.mark.parametrize("info", PARTS, ids=lambda info: f"{info.slot}-{info.name}")
def test_a_part_says_where_it_comes_from(info: PartInfo) -> None:
    doc = inspect.getdoc(info.load()) or ""
    lines = [line.split(":")[0] for line in doc.splitlines()]
    assert lines.count("Source") == 1
    assert lines.count("Official code") == 1
    official = next(line for line in doc.splitlines() if line.startswith("Official code:"))
    word = official.removeprefix("Official code:").strip().lower()
    assert word.startswith(("yes", "no"))
    assert info.official_code == word.startswith("yes")
    assert len(info.source) > 5
    assert info.summary.endswith(".")
    described = info.describe()
    assert set(described) == {"slot", "name", "summary", "source", "official_code", "parameters"}
    assert all(set(about) == {"type", "default"} for about in described["parameters"].values())


PLUGIN = '''
import torch

from registry.parts.catalogue import part
from registry.schema.parameter_types import PositiveFloat
from components.model.temporal_positions import TemporalPosition


@part("temporal_position", "ramp")
class Ramp(TemporalPosition):
    """A straight line over the frames, added once.

    Source: none, an example
        on two lines
    Official code: no, an example
    """

    def __init__(self, frames: int, width: int, *, slope: PositiveFloat = 0.5) -> None:
        super().__init__()
        self.register_buffer("table", slope * torch.arange(frames)[None, :, None].expand(1, frames, width).float())

    def add(self, tokens):
        return tokens + self.table[:, :, None]
'''


def test_a_plugin_beside_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "toy_ramp_plugin.py").write_text(PLUGIN)
    path = write(
        tmp_path,
        TOY
        + """\
plugins: [toy_ramp_plugin]
ablate:
  model.temporal_position: [absolute, ramp, {name: ramp, slope: 2}]
match: {parameters: 1%}
""",
    )
    found = arms(path)
    assert list(found) == ["baseline", "temporal_position=ramp", "temporal_position=ramp(slope=2)"]
    spec = found["temporal_position=ramp(slope=2)"].spec
    assert repr(spec.model.temporal_position.slope) == "2.0"
    assert spec.plugins == ("toy_ramp_plugin",)  # a stored spec says what it needs
    model = Assembly(spec).model()
    assert type(model.temporal_position).__name__ == "Ramp"
    assert float(model.temporal_position.table[0, 3, 0]) == 6.0
    info = catalogue(spec.plugins).find("temporal_position", "ramp")
    assert (info.source, info.official_code) == ("none, an example on two lines", False)
    lines = problems(path, "model.temporal_position.slope=-1", "model.temporal_position.name=ramp")
    one(lines, "command line: model.temporal_position.slope: expected greater than 0")


def test_two_plugins_of_one_name_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """One command may read several experiments, and Python knows one module a name."""
    text = TOY + "plugins: [toy_same_name]\n"
    for folder, slope in (("a", "0.5"), ("b", "0.5"), ("c", "5.0")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "toy_same_name.py").write_text(PLUGIN.replace("0.5", slope))
        write(tmp_path / folder, text)
    assert problems(tmp_path / "a" / "toy.yaml") == []
    assert problems(tmp_path / "b" / "toy.yaml") == []  # the same code
    line = one(problems(tmp_path / "c" / "toy.yaml"), "toy_same_name stands for")
    assert line.startswith(f"{tmp_path / 'c' / 'toy.yaml'}:5: plugins: toy_same_name stands for {tmp_path / 'a'}/")
    assert "two commands, or rename" in line


def test_an_installed_package_brings_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_installed_parts.py").write_text(PLUGIN.replace('"ramp"', '"installed_ramp"'))
    about = tmp_path / "toy_installed-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-installed\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\ntoy = toy_installed_parts\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert any(point.module == "toy_installed_parts" for point in metadata.entry_points(group=ENTRY_POINT_GROUP))
    catalogue_module._made.clear()
    try:
        spec = arms(write(tmp_path, TOY), "model.temporal_position=installed_ramp")["baseline"].spec
        assert spec.model.temporal_position.slope == 0.5
        assert spec.plugins == ()
    finally:
        catalogue_module._made.clear()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def __init__(self, *, size: PositiveInt) -> None: ...", "parameter 'size' needs a default"),
        ("def __init__(self, *, size=3) -> None: ...", "parameter 'size' needs a type"),
        ("def __init__(self, *, size: Path = 3) -> None: ...", "parameter 'size': there is no type 'Path'; valid: "),
        ("def __init__(self, *, size: int = max(1, 2)) -> None: ...", "parameter 'size': "),
        ("def __init__(self, **more) -> None: ...", r"\*\*more hides them"),
    ],
)
def test_a_part_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: str) -> None:
    mark = "from registry.parts.catalogue import part\n\n\n"
    text = f'{mark}@part("blocks", "odd")\nclass Odd:\n    """Odd."""\n\n    {body}\n'
    (tmp_path / "toy_odd_part.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SpecError, match=words) as refused:
        Catalogue(["toy_odd_part"])
    assert f"{tmp_path / 'toy_odd_part.py'}:5: " in str(refused.value)


def test_two_parts_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_taken_name.py").write_text(PLUGIN.replace('"ramp"', '"rotary"'))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SpecError, match=r"temporal_position 'rotary' is already taken by .*temporal_positions\.py:\d+"):
        Catalogue([*built_in(), "toy_taken_name"])
    assert Catalogue(["toy_taken_name", "toy_taken_name"]).names("temporal_position") == ["rotary"]


@pytest.mark.parametrize("module", ["no_such_module_here", "no.such.module", "math", ""])
def test_a_plugin_that_is_no_python_source(module: str) -> None:
    with pytest.raises(SpecError, match="no Python module"):
        Catalogue([module])


def test_planning_names_needs_no_torch(tmp_path: Path) -> None:
    path = write(
        tmp_path, TOY + "ablate: {model.blocks: [variant_1, variant_2]}\nclaim: {axis: blocks, better: variant_2}\n"
    )
    code = f"""
import sys
from pathlib import Path
from registry.experiment import arms as resolved
from registry.parts import catalogue
from registry.runs import replicate
from registry.experiment.experiment_file import load_experiment
catalogue.catalogue().parts()[0].describe()
arms, claims = resolved.resolve_experiment(load_experiment(Path({str(path)!r})))
replicate.replicate_of("toy", arms[0], 0, Path("runs")).state
assert len(arms) == 2 and len(claims) == 1
heavy = {{"torch", "pandas", "diffusers", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
