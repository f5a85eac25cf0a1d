"""`keys` and `show`: what may be written, and what was resolved."""

from pathlib import Path

import pytest

from registry import strict_yaml
from registry.experiment.keys import all_keys
from registry.parts.catalogue import catalogue
from registry.schema.spec import Spec
from tests.cli.command import ROOT, run
from tests.fixtures.toy_replicates import write


def test_every_key_has_a_type_and_a_meaning() -> None:
    for info in all_keys(catalogue()):
        assert info.meaning.endswith("."), info.key
        assert info.type, info.key


def test_keys_are_those_of_the_schema() -> None:
    keys = {info.key: info for info in all_keys(catalogue())}
    for name, section in Spec.model_fields.items():
        if name != "plugins":
            assert {f"{name}.{key}" for key in section.annotation.model_fields} <= keys.keys()  # type: ignore[union-attr]
    assert {"set", "seeds", "claim.margin", "search.space.KEY.low", "resources.arms", "screen.rungs"} <= keys.keys()
    assert "resources.arms.KEY.time" not in keys


def test_the_page_of_keys_is_current() -> None:
    told = run("keys", "--format", "md")
    assert told.code == 0, told
    current = (ROOT / "docs" / "keys.md").read_text(encoding="utf-8")
    assert told.out == current, "write it anew: python run.py keys --format md > docs/keys.md"


def test_keys_of_a_section() -> None:
    told = run("keys", "learning", "--format", "json")
    assert told.code == 0, told
    assert all(row["key"].startswith("learning.") for row in told.json)
    steps = next(row for row in told.json if row["key"] == "learning.steps")
    assert steps.pop("meaning") == "Optimiser steps; 0: the initial weights are evaluated as they are."
    about = {"key": "learning.steps", "type": "int (>= 0)", "choices": [], "required": False, "default": 150000}
    assert steps == about
    picking = next(iter(run("keys", "data.picking", "--format", "json").json))
    assert picking["choices"] == ["stride", "linspace"]
    (axis,) = run("keys", "claim.axis", "--format", "json").json
    assert axis["required"]
    assert "default" not in axis
    table = run("keys", "base.sampling")
    assert "part: ddpm, ddim, dpm_solver_pp, unipc, euler | null" in table.out
    assert "learning" not in table.out


def test_a_key_that_is_none() -> None:
    told = run("keys", "lerning")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("no key 'lerning'; did you mean 'learning'")


def test_show_is_the_spec_that_a_run_folder_would_have(tmp_path: Path) -> None:
    path = write(tmp_path)
    told = run("show", path, "--only", "blocks=*", "learning.steps=7", "--runs", tmp_path / "runs")
    assert told.code == 0, told
    assert told.out.startswith("# toy: blocks=variant_4, identity ")
    stored = strict_yaml.parse(told.out, "shown").value
    spec = Spec.model_validate(stored)
    assert (spec.model.blocks.name, spec.learning.steps, spec.learning.ema_decay) == ("variant_4", 7, 0.5)
    assert spec.identity == told.out.splitlines()[0].split()[-1]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_show_all_arms(tmp_path: Path, form: str) -> None:
    told = run("show", write(tmp_path), "--format", form)
    assert told.code == 0, told
    if form == "json":
        assert [arm["arm"] for arm in told.json["arms"]] == ["baseline", "blocks=variant_4"]
        assert all(Spec.model_validate(_tuples(arm["spec"])).identity == arm["identity"] for arm in told.json["arms"])
    else:
        documents = told.out.split("---\n")
        names = [document.splitlines()[0].split(", ")[0] for document in documents]
        assert names == ["# toy: baseline", "# toy: blocks=variant_4"]


def _tuples(value: object) -> object:
    """JSON's lists as the tuples that a spec has."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
