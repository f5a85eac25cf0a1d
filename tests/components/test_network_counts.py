"""One count and one check a network: what they read of a spec is what they are filed under."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components import network_counts
from components.assembly import Assembly
from components.network_counts import count_network
from experiments.plan import assembling, check
from experiments.plan.assembling import ATTEMPTS
from experiments.plan.loading import load_plan
from registry.runs.remembered import CodeState
from registry.schema.spec import Spec
from tests.fixtures.writing import TOY, write


class Watched:
    """A section that notes which keys were read of it."""

    def __init__(self, values: Any, prefix: str, read: set[str]) -> None:
        self._values, self._prefix, self._read = values, prefix, read

    def __getattr__(self, name: str) -> Any:
        key, value = f"{self._prefix}{name}", getattr(self._values, name)
        if not self._prefix and name in Spec.model_fields and name != "plugins":
            return Watched(value, f"{key}.", self._read)
        if isinstance(derived := getattr(type(self._values), name, None), property) and derived.fget:
            return derived.fget(self)  # what it reads of the section
        self._read.add(key)
        return value


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.__name__)
@pytest.mark.parametrize("classes", [0, 3])
def test_a_check_reads_only_the_keys_it_is_filed_under(
    attempt: Callable[[Any, bool], Any], classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembling, "count_network", lambda spec: Assembly(spec).counts())
    spec = load_plan(write(tmp_path, TOY), [f"model.classes={classes}"]).arms[0].spec
    read: set[str] = set()
    attempt(Assembly(Watched(spec, "", read)), True)  # type: ignore[arg-type]
    keys = ATTEMPTS[attempt]
    assert read
    assert {key for key in read - {"plugins"} if not any(f"{key}.".startswith(f"{own}.") for own in keys)} == set()


@pytest.fixture
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without remembered counts, and a process that has counted nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(network_counts, "_counted", {})
    return tmp_path / "cache" / "latte-workbench" / "counts"


def test_a_count_is_remembered_until_the_sources_change(
    tmp_path: Path, forgotten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_plan(write(tmp_path, TOY)).arms[0].spec
    first = count_network(spec)
    (file,) = forgotten.iterdir()
    file.write_text(json.dumps({**first._asdict(), "parameters": 7}))
    monkeypatch.setattr(network_counts, "_counted", {})
    assert count_network(spec).parameters == 7
    monkeypatch.setattr(network_counts, "_counted", {})
    monkeypatch.setattr(network_counts, "_imported", lambda folders: CodeState(folders, "other sources"))
    assert count_network(spec) == first
    file.write_text("half a fi")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(network_counts, "_counted", {})
    assert count_network(spec) == first


def test_parts_from_elsewhere_are_not_remembered(
    tmp_path: Path, forgotten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "narrow.py").write_text(
        "from components.model.blocks import Variant1\nfrom registry.parts.catalogue import part\n\n\n"
        "@part('blocks', 'narrow')\nclass Narrow(Variant1):\n    '''Variant 1 by another name.\n\n    Source: none\n"
        "    Official code: no\n    '''\n"
    )
    file = write(tmp_path, TOY + "plugins: [narrow]\n")
    count_network(load_plan(file, ["model.blocks=narrow"]).arms[0].spec)
    assert not forgotten.exists()


def test_arms_that_share_a_network_are_counted_once(
    tmp_path: Path, forgotten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, real = [], network_counts._count

    def count(spec: Spec) -> network_counts.NetworkCounts:
        counted.append(spec.model.depth)
        return real(spec)

    monkeypatch.setattr(network_counts, "_count", count)
    text = "grid: {learning.learning_rate: [1e-3, 2e-3, 3e-3], model.depth: [2, 4]}\n"
    lines = check.check(load_plan(write(tmp_path, TOY + text)))
    assert len(lines) == 6
    assert set(counted) == {2, 4}
    assert len(counted) == 2
