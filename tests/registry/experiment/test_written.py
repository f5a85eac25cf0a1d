"""Parts in one word, values with labels, and paths that are relative to their file."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.experiment.written import FilePath, labelled, part_choice, rooted
from registry.schema.labels import label_of
from tests.fixtures.writing import TOY, arms, one, problems, resolved, write


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("ddim", {"name": "ddim"}),
        ("ddim(steps=25)", {"name": "ddim", "steps": 25}),
        ("ddim(steps=ddim25, eta=1e-1,x=true)", {"name": "ddim", "steps": "ddim25", "eta": 0.1, "x": True}),
        ("odd(sizes=[1,[2,3]],map={a: 1, b: 2})", {"name": "odd", "sizes": (1, (2, 3)), "map": {"a": 1, "b": 2}}),
        ("vae(weights=./a=b)", {"name": "vae", "weights": "./a=b"}),
        ("ddim()", {"name": "ddim()"}),
        ("ddim(25)", {"name": "ddim(25)"}),
        ("ddim(steps=25", {"name": "ddim(steps=25"}),
        ("ddim(steps=[1)", {"name": "ddim(steps=[1)"}),
        ("ddim(steps=1,steps=2)", {"name": "ddim(steps=1,steps=2)"}),
        (f"ddim(steps={2**64})", {"name": f"ddim(steps={2**64})"}),
    ],
)  # fmt: skip
def test_a_part_in_one_word(text: str, choice: dict[str, Any]) -> None:
    assert part_choice(text) == choice


@pytest.mark.parametrize("choice", [{"name": "a"}, {"name": "a", "b": 0.25, "c": "x", "d": False, "e": (1, 2)}])
def test_a_label_is_read_back(choice: dict[str, Any]) -> None:
    assert part_choice(label_of(choice)) == choice


def test_labelled() -> None:
    assert labelled({"value": {"name": "a", "b": 1}, "label": "short"}) == ({"name": "a", "b": 1}, "short")
    assert labelled({"value": 1, "label": 2.0}) == (1, "2")
    for value in (3, {"name": "a", "b": 1}, {"value": 1}, {"value": 1, "label": 2, "name": "a"}):
        assert labelled(value) == (value, label_of(value))


LABELLED = """\
ablate:
  model.patch_embedding:
    - {value: uniform_frame, label: uniform}
    - {value: compression_frame(temporal_stride=4), label: four}
    - {value: {name: compression_frame, temporal_stride: 2, channel_multiplier: 3}, label: wide}
    - compression_frame(temporal_stride=2)
claim: [{axis: patch_embedding, better: four, worse: uniform}, {axis: patch_embedding, better: wide}]
"""


def test_labels_name_arms_and_claims_and_change_no_identity(tmp_path: Path) -> None:
    path = write(tmp_path, TOY + LABELLED)
    found, claims = resolved(path)
    assert [arm.name for arm in found] == [
        "baseline",
        "patch_embedding=four",
        "patch_embedding=wide",
        "patch_embedding=compression_frame(temporal_stride=2)",
    ]
    assert [arm.axes["patch_embedding"] for arm in found][:3] == ["uniform", "four", "wide"]
    assert found[2].spec.model.patch_embedding.channel_multiplier == 3
    others = ("uniform", "four", "compression_frame(temporal_stride=2)")
    texts = ["four better than uniform", *(f"wide better than {label}" for label in others)]
    assert [claim.text for claim in claims] == texts
    assert claims[0].arms == ("patch_embedding=four", "baseline")
    plain = arms(path, "claim=[]", "ablate={model.patch_embedding: [{name: compression_frame, temporal_stride: 4}]}")
    assert plain["patch_embedding=compression_frame(temporal_stride=4)"].identity == found[1].identity


@pytest.mark.parametrize("section", ["grid", "zip"])
def test_labels_of_other_axes(tmp_path: Path, section: str) -> None:
    axes = "model.width: [{value: 32, label: wide}], model.heads: [{value: 4, label: many}]"
    (arm,) = arms(write(tmp_path, TOY + f"{section}: {{{axes}}}\n"))
    assert arm == "width=wide,heads=many"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ("[{value: 4, label: a}, {value: 6, label: a}]", "two values have the label 'a'"),
        ("[{value: 4, label: ''}]", "'' cannot be a label"),
        (f"[{{value: 4, label: {'x' * 301}}}]", "cannot be a label: one line of 1 to 300 characters"),
        ('[{value: 4, label: "a\\nb"}]', "cannot be a label"),
    ],
)
def test_labels_that_name_nothing(tmp_path: Path, entries: str, words: str) -> None:
    one(problems(write(tmp_path, TOY + f"ablate: {{model.depth: {entries}}}\n")), ":5: ablate.model.depth: ", words)


def test_overrides_reach_into_a_part_in_one_word(tmp_path: Path) -> None:
    path = write(tmp_path, TOY + "  sampling: {sampler: 'ddim(steps=5,eta=0.5)'}\n")
    sampler = arms(path, "sampling.sampler.steps=7")["baseline"].spec.sampling.sampler
    assert sampler is not None
    assert (sampler.name, sampler.steps, sampler.eta) == ("ddim", 7, 0.5)
    words = "scoring.detector=random_r3d(width=4)", "scoring.metrics=[fvd, kvd(subsets=5)]"
    claim = "claim: {axis: depth, better: 4, metric: kvd}\nablate: {model.depth: [2, 4]}\n"
    assert resolved(write(tmp_path, TOY + claim), *words)[1][0].metric == "kvd[random_r3d]"


def test_relative_paths_are_relative_to_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    base = TOY.replace("frames: 4,", "frames: 4, path: videos,").replace("pixels, factor: 4", "sd_vae, weights: ./vae")
    write(tmp_path / "deep", base + "ablate: {model.depth: [2]}\n", "common.yaml")
    path = write(
        tmp_path / "deep" / "er",
        """\
        base: ../common.yaml
        ablate:
          data.autoencoder: [{name: sd_vae, weights: ../other}, {value: {name: taesd, weights: ./tiny}, label: tiny}]
        arms: {moved: {data.autoencoder.weights: ./moved}}
        """,
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    found = arms(path)
    assert list(found) == ["baseline", "autoencoder=sd_vae(weights=../other)", "autoencoder=tiny", "moved"]
    weights = [Path(arm.spec.data.autoencoder.weights).relative_to(tmp_path) for arm in found.values()]
    assert list(map(str, weights)) == ["deep/vae", "deep/other", "deep/er/tiny", "deep/er/moved"]
    assert {arm.spec.data.path for arm in found.values()} == {str(tmp_path / "deep" / "videos")}
    words = ("data.path=here", "data.autoencoder.weights=./there", "ablate={}", "arms={}")
    data = arms(path, *words)["baseline"].spec.data
    assert (data.path, data.autoencoder.weights) == (str(elsewhere / "here"), str(elsewhere / "there"))
    words = ("data.path=~/videos", "data.autoencoder.weights=owner/name", "ablate={}", "arms={}")
    data = arms(path, *words)["baseline"].spec.data
    assert (data.path, data.autoencoder.weights) == ("~/videos", "owner/name")


def test_a_rooted_path_is_text_and_keeps_its_label() -> None:
    value = rooted({"name": "sd_vae", "weights": "./vae", "sizes": ("../a", "b", 3)}, Path("/base"))
    assert json.loads(json.dumps(value)) == {"name": "sd_vae", "weights": "/base/vae", "sizes": ["/a", "b", 3]}
    assert label_of(value) == "sd_vae(weights=./vae,sizes=[../a,b,3])"
    assert isinstance(value["weights"], FilePath)
    assert rooted(value, Path("/other")) == value
