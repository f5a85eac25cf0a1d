"""The identity: equal for equal science however it is written, other for any other science."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from experiments.record.recording import create
from registry import strict_yaml
from registry.experiment.arm import Arm
from registry.experiment.resolve import resolve
from registry.parts.catalogue import catalogue
from registry.runs.orphans import orphans
from registry.runs.replicate import Replicate, open_replicate, replicate_of
from registry.schema.spec import SCIENCE, WITHOUT_EFFECT, SamplingSpec, Spec
from tests.fixtures.networks import resolved
from tests.fixtures.writing import TOY, arms, write

BASE: dict[str, Any] = {
    "model": {"width": 16, "heads": 2, "depth": 2, "classes": 2},
    "data": {"resolution": 16, "frames": 4, "interval": 1, "autoencoder": {"name": "pixels", "factor": 4}},
}


def test_pinned() -> None:
    """A changed default, or another way of hashing, re-labels every run that was ever made: do it knowingly.

    If this fails and the change is meant, count up SCHEMA_VERSION of registry.schema.spec, say so in CHANGELOG.md, and
    pin anew.
    """
    assert resolved(BASE).identity == "d01ba1bc9c"
    assert resolved({"model": {"size": "XL"}, "data": {"path": "videos"}}).identity == "ce7766fc68"


@pytest.mark.parametrize(
    "other",
    [
        {"learning": {"learning_rate": 0.0001}},
        {"learning": {"optimiser": {"name": "adamw", "weight_decay": 0}}},  # 0 and 0.0
        {"sampling": {"guidance": 1}},
        {"model": {"blocks": "variant_1"}},
        {"model": {"blocks": {"name": "variant_1"}}},
        {"diffusion": {"noise_schedule": {"name": "linear", "beta_end": 0.02}}},
        {"diffusion": {"objective": {"name": "epsilon_learned_sigma", "vb_weight": 1}}},
        {"scoring": {"real_interval": 1}},
        {"scoring": {"protocol": "clean", "metrics": ["fvd", {"name": "kvd"}]}},
        {"learning": {"label_drop": 0.1}},
        {"data": {"path": "/somewhere/else"}},
        {"runtime": {"precision": "bf16", "compile": True, "device": "cpu", "log_every": 1, "sampling_batch": 3}},
    ],
)
def test_writing_style_and_runtime_do_not_matter(other: dict[str, Any]) -> None:
    raw = copy.deepcopy(BASE)
    for section, fields in other.items():
        raw.setdefault(section, {}).update(fields)
    assert resolved(raw).identity == resolved(BASE).identity


def test_a_size_is_its_numbers() -> None:
    free = resolved({"model": {"width": 384, "heads": 6, "depth": 12}})
    assert resolved({"model": {"size": "S"}}).identity == free.identity


def leaves(value: Any, prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*prefix, key))]
    return [(prefix, value)]


SCIENCE_LEAVES = leaves(resolved(BASE).model_dump(include=set(SCIENCE)))


def another(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, tuple):
        return (*value, "png")
    return value + "x" if isinstance(value, str) else value + 1


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize(("key", "value"), SCIENCE_LEAVES, ids=[".".join(key) for key, _ in SCIENCE_LEAVES])
def test_every_science_field_counts(key: tuple[str, ...], value: Any) -> None:
    spec = resolved(BASE)
    same = ".".join(key) in WITHOUT_EFFECT  # a place, and the names of numbers that are there as well
    assert (changed(spec, key, another(value)).identity == spec.identity) == same


def changed(model: BaseModel, key: tuple[str, ...], value: Any) -> Any:
    """A copy with one value changed, valid or not: the identity must see it all the same."""
    first, *rest = key
    return model.model_copy(update={first: changed(getattr(model, first), tuple(rest), value) if rest else value})


def test_every_section_is_science_or_not_on_purpose() -> None:
    assert set(Spec.model_fields) == {*SCIENCE, "runtime", "plugins"}


def test_a_spec_survives_its_file() -> None:
    for raw in (BASE, {"model": {"size": "B"}, "learning": {"learning_rate": 1e-5, "clip_norm": None}}):
        spec = resolved(raw)
        stored = strict_yaml.parse(strict_yaml.dump(spec.model_dump(mode="json")), "spec.yaml").value
        assert Spec.model_validate(stored) == spec
        again, problems = resolve(stored, catalogue())
        assert not problems
        assert again == spec


def stored_run(runs: Path, arm: str, spec: Spec) -> Replicate:
    replicate = replicate_of("toy", Arm(arm, {}, spec), 0, runs)
    create(replicate, {})
    return replicate


def test_orphans_tell_which_keys_differ(tmp_path: Path) -> None:
    path = write(tmp_path, TOY + "ablate: {model.blocks: [variant_2]}\n")
    now = arms(path)
    for arm in now.values():
        stored_run(tmp_path / "runs", arm.name, arm.spec)
    assert orphans("toy", now.values(), tmp_path / "runs") == []
    then = arms(path, "learning.learning_rate=3e-4", "sampling.sampler={name: ddim, steps: 9}", "data.path=/old")
    stored_run(tmp_path / "runs", "baseline", then["baseline"].spec)
    stored_run(tmp_path / "runs", "gone", arms(path, "model.depth=4")["baseline"].spec)
    found = {orphan.arm: orphan for orphan in orphans("toy", now.values(), tmp_path / "runs")}
    assert set(found) == {"baseline", "gone"}
    told = found["baseline"].differences
    assert "learning.learning_rate: 0.0003 then, 0.0001 now" in told
    assert "sampling.sampler.name: ddim then, ddpm now" in told
    assert not any(line.startswith(("data", "model")) for line in told)
    assert found["gone"].differences == []


def test_orphans_of_an_earlier_layout_are_told(tmp_path: Path) -> None:
    """Schema versions 1 and 2 had a folder a replicate, which nothing reads any more."""
    now = arms(write(tmp_path, TOY))
    run = tmp_path / "runs" / "toy" / "baseline-373a63308d" / "seed-0"
    run.mkdir(parents=True)
    (run / "replicate.json").write_text(json.dumps({"experiment": "toy", "arm": "baseline", "axes": {}, "seed": 0}))
    (found,) = orphans("toy", now.values(), tmp_path / "runs")
    assert (found.folder, found.arm) == (run.parent, "baseline")
    assert found.differences == ["written by an earlier version of the workbench, with other run folders"]
    with pytest.raises(RuntimeError, match="was written by an earlier version of the workbench"):
        open_replicate(run)


@pytest.mark.parametrize("through", ["the link", "the folder"])
def test_an_edited_spec_is_not_taken_for_the_old_one(tmp_path: Path, through: str) -> None:
    spec = resolved(BASE)
    replicate = stored_run(tmp_path, "baseline", spec)
    folder = replicate.link if through == "the link" else replicate.folder
    assert open_replicate(folder).spec == spec
    text = (folder / "spec.yaml").read_text()
    (folder / "spec.yaml").write_text(text.replace("batch_size: ", "batch_size: 1"))
    with pytest.raises(RuntimeError, match="was edited"):
        open_replicate(folder)
    (folder / "spec.yaml").write_text(text.replace("batch_size: ", "batch_sise: "))
    with pytest.raises(RuntimeError, match="is no spec of this version"):
        open_replicate(folder)
    with pytest.raises(RuntimeError, match="no run folder"):
        open_replicate(tmp_path)


def test_a_copy_has_its_own_identity() -> None:
    spec = Spec()
    told = spec.identity, spec.training, spec.evaluation
    same, later = spec.model_copy(), spec.model_copy(update={"sampling": SamplingSpec(step=3)})
    assert (same, (same.identity, same.training, same.evaluation)) == (spec, told)
    assert later != spec
    assert (later.identity, later.evaluation) == (Spec(sampling=SamplingSpec(step=3)).identity, later.evaluation)
    assert later.training == told[1]
    assert len({told[0], later.identity}) == len({told[2], later.evaluation}) == 2
    assert later.model_dump() == Spec(sampling=SamplingSpec(step=3)).model_dump()


def test_a_spec_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[dict[str, Any]] = []
    monkeypatch.setattr("registry.schema.spec._hash", lambda science: hashed.append(science) or "abc")
    spec = Spec()
    assert [spec.training for _ in range(3)] == ["abc"] * 3
    assert len(hashed) == 1
